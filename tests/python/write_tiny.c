/* write_tiny.c - the file of tests/unit/tiny_file.h under the name that is given. */
#include "unit/tiny_file.h"

#include <stdio.h>

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: write_tiny FILE.slm\n");
        return 2;
    }
    if (tiny_file_write(argv[1], false, true, 0) == SLM_OK)
        return 0;
    fprintf(stderr, "write_tiny: %s\n", slm_error_message());
    return 1;
}
