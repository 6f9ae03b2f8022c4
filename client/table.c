/* Text tables. Widths are computed from UTF-8 by hand: no locale is needed for that. */
#include "table.h"

#include "base/size.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

void table_column(table *t, const char *heading, bool right)
{
    if (t->n_columns < TABLE_COLUMNS_MAX) {
        t->headings[t->n_columns] = heading;
        t->right[t->n_columns++] = right;
    }
}

rz_status table_row(table *t, const char *const *texts, rz_error *error)
{
    if (t->n_rows == t->capacity) {
        size_t capacity = t->capacity == 0 ? 16 : t->capacity * 2, bytes;
        char **cells = NULL;
        if (rz_size_mul(capacity, t->n_columns * sizeof *cells, &bytes))
            cells = realloc(t->cells, bytes);
        if (cells == NULL)
            return rz_fail(error, RZ_E_NO_MEMORY, "no memory for a table of %zu rows", capacity);
        t->cells = cells;
        t->capacity = capacity;
    }
    char **row = t->cells + t->n_rows * t->n_columns;
    for (size_t i = 0; i < t->n_columns; i++) {
        row[i] = strdup(texts[i] != NULL ? texts[i] : "");
        if (row[i] == NULL) {
            while (i > 0)
                free(row[--i]);
            return rz_fail(error, RZ_E_NO_MEMORY, "no memory for a table row");
        }
        for (char *p = row[i]; *p != '\0'; p++)
            if ((unsigned char)*p < 0x20 || *p == 0x7f)
                *p = '?';
    }
    t->n_rows++;
    return RZ_OK;
}

/* Places a character takes: two for East Asian wide ranges, none for combining marks. */
static size_t places(uint32_t c)
{
    if (c >= 0x300 && c <= 0x36f)
        return 0;
    bool wide = (c >= 0x1100 && c <= 0x115f) || (c >= 0x2e80 && c <= 0xa4cf) ||
                (c >= 0xac00 && c <= 0xd7a3) || (c >= 0xf900 && c <= 0xfaff) ||
                (c >= 0xfe30 && c <= 0xfe6f) || (c >= 0xff00 && c <= 0xff60) ||
                (c >= 0xffe0 && c <= 0xffe6) || (c >= 0x20000 && c <= 0x3fffd);
    return wide ? 2 : 1;
}

static size_t width(const char *text)
{
    size_t total = 0;
    for (const unsigned char *p = (const unsigned char *)text; *p != 0;) {
        uint32_t c = *p++;
        int more = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : c >= 0xc0 ? 1 : 0;
        c &= more == 3 ? 0x07u : more == 2 ? 0x0fu : more == 1 ? 0x1fu : 0x7fu;
        for (; more > 0 && (*p & 0xc0) == 0x80; more--)
            c = c << 6 | (*p++ & 0x3fu);
        total += places(c);
    }
    return total;
}

static void print_cell(const char *text, size_t wanted, bool right, bool last, FILE *out)
{
    size_t gap = wanted > width(text) ? wanted - width(text) : 0;
    (void)fprintf(out, "%*s%s", right ? (int)gap : 0, "", text);
    if (!last)
        (void)fprintf(out, "%*s", (right ? 0 : (int)gap) + 2, "");
}

void table_print(const table *t, FILE *out)
{
    size_t widths[TABLE_COLUMNS_MAX] = {0};
    for (size_t i = 0; i < t->n_columns; i++) {
        widths[i] = width(t->headings[i]);
        for (size_t r = 0; r < t->n_rows; r++)
            if (width(t->cells[r * t->n_columns + i]) > widths[i])
                widths[i] = width(t->cells[r * t->n_columns + i]);
    }
    for (size_t i = 0; i < t->n_columns; i++)
        print_cell(t->headings[i], widths[i], t->right[i], i + 1 == t->n_columns, out);
    (void)fputc('\n', out);
    for (size_t r = 0; r < t->n_rows; r++) {
        for (size_t i = 0; i < t->n_columns; i++)
            print_cell(t->cells[r * t->n_columns + i], widths[i], t->right[i],
                       i + 1 == t->n_columns, out);
        (void)fputc('\n', out);
    }
}

void table_done(table *t)
{
    for (size_t i = 0; i < t->n_rows * t->n_columns; i++)
        free(t->cells[i]);
    free(t->cells);
    *t = (table){0};
}
