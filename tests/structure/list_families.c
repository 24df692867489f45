/* list_families.c - the converter's table of families as a table in Markdown. */
#include <slm/convert.h>

#include <stdio.h>

static void list(const char *const *names)
{
    for (size_t i = 0; names[i]; i++)
        printf("%s`%s`", i ? ", " : " ", names[i]);
    printf(" |");
}

int main(void)
{
    slm_convert_family family = {.size = sizeof family};
    printf("| family | models | class in `config.json` | architecture in GGUF |\n|---|---|---|---|\n");
    for (size_t i = 0; slm_convert_family_at(i, &family) == 0; i++) {
        printf("| %s | %s |", family.name, family.models);
        list(family.classes);
        list(family.architectures);
        putchar('\n');
    }
    return 0;
}
