/* Grows by doubling; a row that cannot be added leaves the table as it was. */
#include "sparse.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS_FIRST = 1024, VALUES_FIRST = 1 << 16 };

rz_status sparse_init(sparse_rows *rows, size_t n_columns, rz_error *error)
{
    *rows = (sparse_rows){.n_columns = n_columns,
                          .start = calloc(ROWS_FIRST + 1, sizeof *rows->start),
                          .rows_capacity = ROWS_FIRST};
    return rows->start != NULL ? RZ_OK : rz_fail(error, RZ_E_NO_MEMORY, "no memory for features");
}

void sparse_done(sparse_rows *rows)
{
    free(rows->start);
    free(rows->column);
    free(rows->value);
    *rows = (sparse_rows){0};
}

static rz_status reserve(sparse_rows *rows, size_t n, rz_error *error)
{
    size_t wanted = rows->start[rows->n] + n, larger = rows->values_capacity;
    if (wanted > SPARSE_VALUES_MAX)
        return rz_fail(error, RZ_E_TOO_LARGE,
                       "more than %d features that are not empty; give fewer --draws",
                       SPARSE_VALUES_MAX);
    if (rows->n == rows->rows_capacity) {
        size_t *start = realloc(rows->start, (2 * rows->n + 1) * sizeof *start);
        if (start == NULL)
            return rz_fail(error, RZ_E_NO_MEMORY, "no memory for %zu rows of features",
                           2 * rows->n);
        rows->start = start;
        rows->rows_capacity *= 2;
    }
    while (larger < wanted)
        larger = larger == 0 ? VALUES_FIRST : 2 * larger;
    if (larger == rows->values_capacity)
        return RZ_OK;
    uint32_t *column = realloc(rows->column, larger * sizeof *column);
    if (column != NULL)
        rows->column = column;
    float *value = realloc(rows->value, larger * sizeof *value);
    if (value != NULL)
        rows->value = value;
    if (column == NULL || value == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for %zu features", larger);
    rows->values_capacity = larger;
    return RZ_OK;
}

rz_status sparse_add(sparse_rows *rows, const uint32_t *column, const float *value, size_t n,
                     rz_error *error)
{
    rz_status status = reserve(rows, n, error);
    if (status != RZ_OK)
        return status;
    size_t at = rows->start[rows->n];
    for (size_t i = 0; i < n; i++) {
        assert(column[i] < rows->n_columns && (i == 0 || column[i] > column[i - 1]));
        rows->column[at + i] = column[i];
        rows->value[at + i] = value[i];
    }
    rows->start[++rows->n] = at + n;
    return RZ_OK;
}

rz_status sparse_copy(sparse_rows *rows, const sparse_rows *from, size_t row, rz_error *error)
{
    assert(rows->n_columns == from->n_columns && row < from->n);
    size_t at = from->start[row];
    return sparse_add(rows, from->column + at, from->value + at, from->start[row + 1] - at, error);
}
