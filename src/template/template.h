/*
 * template.h - chat templates: the Jinja of published models, rendered as transformers'
 * apply_chat_template does, byte for byte (docs name what is left out).
 *
 * A parsed template is immutable and may be rendered by any number of threads at once. Both calls
 * are bounded in memory, time and C stack by the limits in base/limits.h, whatever the template
 * and the data are: templates come with models from anywhere.
 */
#ifndef SLM_TEMPLATE_TEMPLATE_H
#define SLM_TEMPLATE_TEMPLATE_H

#include "base/buf.h"
#include "base/json.h"

#include <time.h>

struct slm_template;

/* Parse source[n] (UTF-8; copied). Errors: SLM_EFORMAT with line and column, SLM_ELIMIT (larger
 * than SLM_LIMIT_TEMPLATE or nested too deep), SLM_ENOMEM; *out is NULL then. */
int slm_template_parse(struct slm_template **out, const char *source, size_t n,
                       const slm_allocator *a);
void slm_template_free(struct slm_template *t); /* NULL is a no-op */

/* Render with the members of the document's root object as variables: messages,
 * add_generation_prompt, bos_token, eos_token... The caller passes tools and documents as null when
 * there are none, because transformers always defines them. As in transformers, members of a
 * message that are null are left out, and "reasoning_content" may also be called "thinking" or
 * "reasoning".
 *
 * The text is appended to *out. ranges (may be NULL) gets a pair of uint32_t {begin, end} for each
 * run of bytes of out->data that came from data, ascending and disjoint. Data is every variable
 * but those whose names end in "_token" or "_tokens", and whatever was made from it; a message's
 * "role" is not, if it holds nothing but letters, digits, '-' and '_', because templates make
 * special tokens from roles.
 *
 * Errors leave out and ranges as they were, and name line and column: SLM_EINVAL (the template
 * refuses with a message of its own, or the data does not suit it), SLM_ELIMIT, SLM_ENOMEM. */
int slm_template_render(const struct slm_template *t, const struct slm_json *variables,
                        struct slm_buf *out, struct slm_buf *ranges, const slm_allocator *a);

/* The same at a given time: what strftime_now tells, otherwise the local time now. */
int slm_template_render_at(const struct slm_template *t, const struct slm_json *variables,
                           const struct tm *now, struct slm_buf *out, struct slm_buf *ranges,
                           const slm_allocator *a);

#endif
