/*
 * stop.h - texts that end an answer, found in text that comes in pieces.
 *
 * What may be the beginning of a stop text is held back until it is clear what it is: text that
 * was released is never part of a stop text, and text that turned out to be none is released.
 * The result does not depend on where the pieces were cut: the first stop text to be complete
 * counts; of several that end there, the longest.
 */
#ifndef SLM_GEN_STOP_H
#define SLM_GEN_STOP_H

#include "base/buf.h"

struct slm_stop; /* n texts and the state of the search */

/* Copies the texts; n may be 0: then everything is released at once. Errors: SLM_EINVAL (an empty
 * text, or one that is not UTF-8), SLM_ENOMEM. */
int slm_stop_new(struct slm_stop **out, const char *const *texts, size_t n, const slm_allocator *a);
void slm_stop_free(struct slm_stop *stop); /* NULL is a no-op */

/* Add text[n]. *released and *n_released get what is free to go out now; it lives until the next
 * call. Returns 1 when a stop text is complete (what comes before it is released, the rest is
 * gone, and the search is over), 0 when not, SLM_ENOMEM. */
int slm_stop_push(struct slm_stop *stop, const char *text, size_t n, const char **released,
                  size_t *n_released);

/* No more text comes: what was held back is free. */
void slm_stop_finish(struct slm_stop *stop, const char **released, size_t *n_released);

#endif
