/* A text table for terminals: columns as wide as their widest cell, counted in characters as they
 * are shown (Japanese letters take two places). */
#ifndef REZEPT_CLIENT_TABLE_H
#define REZEPT_CLIENT_TABLE_H

#include "base/status.h"

#include <stdbool.h>
#include <stdio.h>

enum { TABLE_COLUMNS_MAX = 12 };

typedef struct table {
    size_t n_columns, n_rows, capacity;
    const char *headings[TABLE_COLUMNS_MAX]; /* borrowed */
    bool right[TABLE_COLUMNS_MAX];           /* aligned to the right: numbers */
    char **cells;                            /* owned, row by row */
} table;

/* Adds a column; before any row. */
void table_column(table *t, const char *heading, bool right);
/* Adds a row of n_columns texts, which are copied; control characters become '?'. */
RZ_MUST_CHECK rz_status table_row(table *t, const char *const *texts, rz_error *error);
void table_print(const table *t, FILE *out);
void table_done(table *t);

#endif
