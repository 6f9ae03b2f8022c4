/* What several training processes tell each other: sums. One process today; a program that starts
 * more of them brings its own `sum` (MPI or sockets) and changes nothing else. */
#ifndef RZ_TRAIN_EXCHANGE_H
#define RZ_TRAIN_EXCHANGE_H

#include "base/status.h"

#include <stddef.h>

typedef struct rz_exchange rz_exchange;
struct rz_exchange {
    /* Replaces `values` [n] in place by their sum over all processes, in the same order of
     * additions everywhere, so that all processes go on with the same bytes. */
    rz_status (*sum)(rz_exchange *exchange, float *values, size_t n, rz_error *error);
};

/* NULL is the valid exchange of a single process: its values are already the sum. */
RZ_MUST_CHECK static inline rz_status rz_exchange_sum(rz_exchange *exchange, float *values,
                                                      size_t n, rz_error *error)
{
    return exchange == NULL ? RZ_OK : exchange->sum(exchange, values, n, error);
}

#endif
