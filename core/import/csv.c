/* Splits records in place: unquoting only ever shortens a field. */
#include "import/csv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void rz_csv_close(rz_csv *csv)
{
    rz_lines_close(&csv->lines);
    rz_buffer_done(&csv->header);
    rz_buffer_done(&csv->record);
    free(csv->names);
    free(csv->fields);
    *csv = (rz_csv){0};
}

static rz_status bad_record(const rz_csv *csv, size_t column, const char *what, rz_error *error)
{
    return rz_fail(error, RZ_E_FORMAT, "%s: line %llu, column %zu: %s", csv->lines.path,
                   (unsigned long long)csv->line, column, what);
}

static size_t count(const char *text, size_t n, char wanted)
{
    size_t found = 0;
    for (const char *at = memchr(text, wanted, n); at != NULL;
         at = memchr(at + 1, wanted, n - (size_t)(at + 1 - text)))
        found++;
    return found;
}

/* Ends the field that was written from `from` to `to`. */
static void end_field(rz_field *fields, size_t max, size_t *n, char *from, char *to)
{
    if (*n < max)
        fields[*n] = (rz_field){from, (size_t)(to - from)};
    *to = '\0';
    (*n)++;
}

/* Splits `text` into up to `max` fields; *n counts all of them. */
static rz_status split(const rz_csv *csv, char *text, size_t length, rz_field *fields, size_t max,
                       size_t *n, rz_error *error)
{
    char *at = text, *const end = text + length;
    *n = 0;
    for (;;) {
        char *from = at, *to;
        if (csv->delimiter == ',' && *at == '"') {
            /* A quoted field: two quotes are one, a single one ends it. */
            from = to = ++at;
            while (at < end && (*at != '"' || at[1] == '"')) {
                at += *at == '"';
                *to++ = *at++;
            }
            if (at == end)
                return bad_record(csv, (size_t)(from - text), "a quotation mark is never closed",
                                  error);
            at++;
            if (at < end && *at != csv->delimiter)
                return bad_record(csv, (size_t)(at - text) + 1,
                                  "text after a closing quotation mark", error);
        } else {
            to = memchr(at, csv->delimiter, (size_t)(end - at));
            to = at = to != NULL ? to : end;
        }
        bool last = at == end;
        end_field(fields, max, n, from, to);
        if (last)
            return RZ_OK;
        at++;
    }
}

/* One record as text: a line, or several while a quoted field is open. */
static rz_status next_record(rz_csv *csv, char **text, size_t *n, bool *more, rz_error *error)
{
    rz_status status;
    do
        status = rz_lines_next(&csv->lines, text, n, more, error);
    while (status == RZ_OK && *more && *n == 0);
    csv->line = csv->lines.number;
    if (status != RZ_OK || !*more || csv->delimiter == '\t' || count(*text, *n, '"') % 2 == 0)
        return status;
    rz_buffer_clear(&csv->record);
    bool open = true, line_follows = true;
    status = rz_buffer_add(&csv->record, *text, *n);
    while (status == RZ_OK && open) {
        status = rz_lines_next(&csv->lines, text, n, &line_follows, error);
        if (status != RZ_OK)
            return status;
        if (!line_follows)
            return bad_record(csv, 1, "a quotation mark is never closed", error);
        status = rz_buffer_add(&csv->record, "\n", 1);
        if (status == RZ_OK)
            status = rz_buffer_add(&csv->record, *text, *n);
        open = count(*text, *n, '"') % 2 == 0;
    }
    if (status != RZ_OK)
        return rz_fail(error, status,
                       "%s: line %llu: a record of more than %d bytes; is a quotation mark never "
                       "closed?",
                       csv->lines.path, (unsigned long long)csv->line, RZ_CSV_RECORD_BYTES_MAX);
    *text = csv->record.data;
    *n = csv->record.length;
    return RZ_OK;
}

/* Lower case, without blanks around and without date(…,'unixepoch'). */
static void tidy_name(rz_field *name)
{
    char *text = (char *)(uintptr_t)name->text; /* our own header buffer */
    for (size_t i = 0; i < name->n; i++)
        if (text[i] >= 'A' && text[i] <= 'Z')
            text[i] = (char)(text[i] - 'A' + 'a');
    while (name->n > 0 && text[name->n - 1] == ' ')
        name->n--;
    while (name->n > 0 && *text == ' ') {
        text++;
        name->n--;
    }
    char *comma = name->n > 5 && memcmp(text, "date(", 5) == 0 ? memchr(text, ',', name->n) : NULL;
    if (comma != NULL) {
        text += 5;
        name->n = (size_t)(comma - text);
    }
    text[name->n] = '\0';
    name->text = text;
}

static rz_status read_header(rz_csv *csv, rz_error *error)
{
    char *text;
    size_t n;
    bool more;
    rz_status status = next_record(csv, &text, &n, &more, error);
    if (status != RZ_OK)
        return status;
    if (!more)
        return rz_fail(error, RZ_E_FORMAT, "%s: the file is empty, a header is expected",
                       csv->lines.path);
    if (memchr(text, '\t', n) != NULL && memchr(text, ',', n) == NULL)
        csv->delimiter = '\t';
    size_t most = count(text, n, csv->delimiter) + 1;
    if (most > RZ_CSV_COLUMNS_MAX)
        return rz_fail(error, RZ_E_TOO_LARGE, "%s: line 1 has %zu columns, at most %d are read",
                       csv->lines.path, most, RZ_CSV_COLUMNS_MAX);
    csv->names = calloc(most, sizeof *csv->names);
    csv->fields = calloc(most, sizeof *csv->fields);
    if (csv->names == NULL || csv->fields == NULL || rz_buffer_add(&csv->header, text, n) != RZ_OK)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for the header of %s", csv->lines.path);
    status = split(csv, csv->header.data, n, csv->names, most, &csv->n_columns, error);
    for (size_t i = 0; status == RZ_OK && i < csv->n_columns; i++)
        tidy_name(&csv->names[i]);
    return status;
}

rz_status rz_csv_open(rz_csv *csv, const char *path, rz_error *error)
{
    *csv = (rz_csv){.delimiter = ','};
    rz_buffer_init(&csv->header, RZ_CSV_RECORD_BYTES_MAX);
    rz_buffer_init(&csv->record, RZ_CSV_RECORD_BYTES_MAX);
    rz_status status = rz_lines_open(&csv->lines, path, error);
    if (status == RZ_OK)
        status = read_header(csv, error);
    if (status != RZ_OK)
        rz_csv_close(csv);
    return status;
}

int rz_csv_column(const rz_csv *csv, const char *name)
{
    for (size_t i = 0; i < csv->n_columns; i++)
        if (strcmp(csv->names[i].text, name) == 0)
            return (int)i;
    return RZ_CSV_NO_COLUMN;
}

rz_status rz_csv_require(const rz_csv *csv, const char *name, int *out, rz_error *error)
{
    int column = rz_csv_column(csv, name);
    if (column == RZ_CSV_NO_COLUMN)
        return rz_fail(error, RZ_E_FORMAT,
                       "%s: line 1: there is no column %s among the %zu of the header%s",
                       csv->lines.path, name, csv->n_columns,
                       csv->n_columns == 1 ? "; commas must separate them" : "");
    *out = column;
    return RZ_OK;
}

rz_status rz_csv_next(rz_csv *csv, bool *more, rz_error *error)
{
    char *text;
    size_t length, n;
    rz_status status = next_record(csv, &text, &length, more, error);
    if (status != RZ_OK || !*more)
        return status;
    status = split(csv, text, length, csv->fields, csv->n_columns, &n, error);
    if (status == RZ_OK && n != csv->n_columns) {
        char what[80];
        (void)snprintf(what, sizeof what, "%zu fields, the header has %zu columns", n,
                       csv->n_columns);
        size_t column = n < csv->n_columns ? length + 1 : 1;
        if (n > csv->n_columns && csv->n_columns > 0) {
            const rz_field *last = &csv->fields[csv->n_columns - 1];
            column = (size_t)(last->text - text) + last->n + 1;
        }
        return bad_record(csv, column, what, error);
    }
    return status;
}

rz_field rz_csv_field(const rz_csv *csv, int column)
{
    return column == RZ_CSV_NO_COLUMN ? (rz_field){"", 0} : csv->fields[column];
}
