/* Sparse rows: a table of which most places are empty, kept row by row (CSR). */
#ifndef RZ_MODELS_SPARSE_H
#define RZ_MODELS_SPARSE_H

#include "base/status.h"

#include <stddef.h>
#include <stdint.h>

typedef struct sparse_rows {
    size_t n, n_columns;
    size_t *start;    /* [n + 1]; start[0] = 0 */
    uint32_t *column; /* [start[n]] ascending within a row */
    float *value;     /* [start[n]] */
    size_t rows_capacity, values_capacity;
} sparse_rows;

enum { SPARSE_VALUES_MAX = 1 << 30 }; /* 8 GiB of them */

/* An empty table; errors RZ_E_NO_MEMORY. */
RZ_MUST_CHECK rz_status sparse_init(sparse_rows *rows, size_t n_columns, rz_error *error);
void sparse_done(sparse_rows *rows); /* accepts a zeroed one */

/* Appends a row; columns ascend and lie below n_columns.
 * Errors  RZ_E_NO_MEMORY; RZ_E_TOO_LARGE past SPARSE_VALUES_MAX. */
RZ_MUST_CHECK rz_status sparse_add(sparse_rows *rows, const uint32_t *column, const float *value,
                                   size_t n, rz_error *error);
/* Appends row `row` of another table of the same columns. */
RZ_MUST_CHECK rz_status sparse_copy(sparse_rows *rows, const sparse_rows *from, size_t row,
                                    rz_error *error);

#endif
