/*
 * fuzz_template.c - any bytes as a chat template, with a conversation that has a bit of everything.
 *
 * What comes out must be valid UTF-8, with ascending ranges inside of it.
 */
#include "base/utf8.h"
#include "template/template.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char variables_text[] =
    "{\"xs\": [3, 1, 2], \"d\": {\"b\": 1, \"a\": [2]}, \"s\": \"H\\u00e9llo <|im|>\", \"x\": 1, "
    "\"f\": 2.5, \"nul\": null, \"big\": 123456789012345678901, \"messages\": [{\"role\": "
    "\"user\", "
    "\"content\": \"a b\"}, {\"role\": \"assistant\", \"content\": [{\"type\": \"text\", \"text\": "
    "\"\\u4f60\"}], \"tool_calls\": [{\"function\": {\"name\": \"f\", \"arguments\": {\"a\": "
    "1}}}]}], "
    "\"tools\": null, \"bos_token\": \"<s>\", \"add_generation_prompt\": true}";

static void check(const struct slm_buf *out, const struct slm_buf *ranges)
{
    uint32_t c, before = 0;
    for (size_t i = 0, n; i < out->length; i += n)
        if ((n = slm_utf8_decode((const char *)out->data + i, out->length - i, &c)) == 0)
            abort();
    for (size_t i = 0; i < ranges->length / sizeof c; i++) {
        memcpy(&c, ranges->data + i * sizeof c, sizeof c);
        if (c > out->length || (i > 0 && c <= before))
            abort();
        before = c;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slm_json *variables;
    struct slm_template *template;
    struct slm_buf out = {0}, ranges = {0};
    if (slm_template_parse(&template, (const char *)data, size, NULL) != SLM_OK)
        return 0;
    if (slm_json_parse(&variables, variables_text, sizeof variables_text - 1, NULL) != SLM_OK)
        abort();
    if (slm_template_render(template, variables, &out, &ranges, NULL) == SLM_OK)
        check(&out, &ranges);
    else if (out.length || ranges.length)
        abort();
    slm_buf_free(&out);
    slm_buf_free(&ranges);
    slm_json_free(variables);
    slm_template_free(template);
    return 0;
}
