/*
 * weights.h - one tensor from its source into the file, panel by panel.
 */
#ifndef SLM_CONVERT_WEIGHTS_H
#define SLM_CONVERT_WEIGHTS_H

#include "convert/plan.h"
#include "format/format.h"

/* Called with the bytes of the source that were read since the last call; not 0: stop. */
struct slm_weight_progress {
    int (*advance)(void *user, uint64_t bytes);
    void *user;
};

/* Convert and write. *error gets the root of the mean squared error relative to that of the source
 * (0: every value is as it was). Memory: 16 rows in the new type and a few rows of floats.
 * Errors: SLM_EFORMAT (NaN or infinity, by tensor, row and column), SLM_EUNSUPPORTED (a value that
 * the type can't hold), SLM_EINTR, and the writer's. */
int slm_weight_write(const struct slm_weight *w, struct slm_writer *writer, const slm_allocator *a,
                     const struct slm_weight_progress *progress, double *error);

#endif
