/* A sorted array: what begins with a shortened code stands together. */
#include "import/titles.h"

#include "base/arena.h"
#include "base/size.h"
#include "import/csv.h"

#include <stdlib.h>
#include <string.h>

enum { TEXT_BYTES_MAX = 1 << 29 };

typedef struct row {
    rz_code_system system;
    const char *code; /* as stored */
    rz_title title;
    uint64_t line;
} row;

struct rz_titles {
    rz_arena arena; /* of the texts */
    row *rows;
    size_t n, capacity;
};

typedef struct columns {
    int system, code, title, title_ja;
} columns;

static int compare(rz_code_system a, const char *code, const row *b)
{
    return a != b->system ? (a > b->system) - (a < b->system) : strcmp(code, b->code);
}

static int compare_rows(const void *left, const void *right)
{
    const row *a = left;
    return compare(a->system, a->code, right);
}

static rz_status copy_title(rz_titles *t, const rz_csv *csv, int column, const char **out,
                            rz_error *error)
{
    rz_field field = rz_csv_field(csv, column);
    *out = NULL;
    if (field.n == 0)
        return RZ_OK;
    if (field.n > RZ_TITLE_BYTES_MAX)
        return rz_fail(error, RZ_E_FORMAT, "line %llu: a title has %zu bytes, %d at most",
                       (unsigned long long)csv->line, field.n, RZ_TITLE_BYTES_MAX);
    *out = rz_arena_strdup(&t->arena, field.text);
    return *out == NULL ? rz_fail(error, RZ_E_NO_MEMORY, "no memory for titles") : RZ_OK;
}

static rz_status reserve(rz_titles *t, rz_error *error)
{
    if (t->n < t->capacity)
        return RZ_OK;
    size_t capacity = t->capacity > 0 ? 2 * t->capacity : 1024, bytes;
    row *rows = t->n == RZ_TITLES_MAX || !rz_size_mul(capacity, sizeof *rows, &bytes)
                    ? NULL
                    : realloc(t->rows, bytes);
    if (rows == NULL)
        return rz_fail(error, RZ_E_TOO_LARGE, "more than %zu titles; %d at most", t->n,
                       RZ_TITLES_MAX);
    t->rows = rows;
    t->capacity = capacity;
    return RZ_OK;
}

static rz_status add(rz_titles *t, const rz_csv *csv, const columns *c, rz_error *error)
{
    rz_field name = rz_csv_field(csv, c->system), code = rz_csv_field(csv, c->code);
    char stored[RZ_CODE_TEXT];
    row r = {.line = csv->line};
    rz_status status = reserve(t, error);
    if (status != RZ_OK)
        return status;
    if (!rz_code_system_from_name(name.text, &r.system))
        return rz_fail(error, RZ_E_FORMAT, "line %llu: no code system is called \"%.20s\"",
                       (unsigned long long)csv->line, name.text);
    status = rz_code_normalise(r.system, code.text, code.n, stored, error);
    if (status != RZ_OK) {
        rz_error_prefix(error, "line %llu: ", (unsigned long long)csv->line);
        return RZ_E_FORMAT;
    }
    r.code = rz_arena_strdup(&t->arena, stored);
    if (r.code == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for titles");
    status = copy_title(t, csv, c->title, &r.title.en, error);
    if (status == RZ_OK)
        status = copy_title(t, csv, c->title_ja, &r.title.ja, error);
    if (status == RZ_OK && (r.title.en != NULL || r.title.ja != NULL))
        t->rows[t->n++] = r;
    return status;
}

static bool same(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

/* Sorts, and keeps one row of each code. */
static rz_status settle(rz_titles *t, rz_error *error)
{
    size_t n = 0;
    if (t->n > 0)
        qsort(t->rows, t->n, sizeof *t->rows, compare_rows);
    for (size_t i = 0; i < t->n; i++) {
        const row *r = &t->rows[i], *before = n > 0 ? &t->rows[n - 1] : NULL;
        if (before == NULL || compare_rows(before, r) != 0)
            t->rows[n++] = *r;
        else if (!same(before->title.en, r->title.en) || !same(before->title.ja, r->title.ja))
            return rz_fail(error, RZ_E_FORMAT, "lines %llu and %llu give %s %s two titles",
                           (unsigned long long)(before->line < r->line ? before->line : r->line),
                           (unsigned long long)(before->line < r->line ? r->line : before->line),
                           rz_code_system_name(r->system), r->code);
    }
    t->n = n;
    return RZ_OK;
}

static rz_status read_rows(rz_titles *t, rz_csv *csv, rz_error *error)
{
    columns c = {.title_ja = rz_csv_column(csv, "title_ja")};
    bool more = true;
    rz_status status = rz_csv_require(csv, "system", &c.system, error);
    if (status == RZ_OK)
        status = rz_csv_require(csv, "code", &c.code, error);
    if (status == RZ_OK)
        status = rz_csv_require(csv, "title", &c.title, error);
    while (status == RZ_OK) {
        status = rz_csv_next(csv, &more, error);
        if (status != RZ_OK || !more)
            return status; /* names the file itself */
        status = add(t, csv, &c, error);
    }
    return status;
}

rz_status rz_titles_read(const char *path, rz_titles **out, rz_error *error)
{
    rz_csv csv = {0};
    rz_titles *t = calloc(1, sizeof *t);
    if (t == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for titles");
    rz_arena_init(&t->arena, TEXT_BYTES_MAX);
    rz_status status = rz_csv_open(&csv, path, error);
    if (status == RZ_OK)
        status = read_rows(t, &csv, error);
    rz_csv_close(&csv);
    if (status == RZ_OK)
        status = settle(t, error);
    if (status != RZ_OK && strstr(error->text, path) == NULL)
        rz_error_prefix(error, "%s: ", path);
    if (status == RZ_OK)
        *out = t;
    else
        rz_titles_free(t);
    return status;
}

void rz_titles_free(rz_titles *titles)
{
    if (titles == NULL)
        return;
    rz_arena_done(&titles->arena);
    free(titles->rows);
    free(titles);
}

size_t rz_titles_count(const rz_titles *titles)
{
    return titles->n;
}

bool rz_titles_find(const rz_titles *t, rz_code_system system, const char *code, rz_title *out)
{
    size_t low = 0, high = t->n, length = strlen(code);
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare(system, code, &t->rows[middle]) > 0)
            low = middle + 1;
        else
            high = middle;
    }
    *out = (rz_title){NULL, NULL};
    if (low == t->n || t->rows[low].system != system ||
        strncmp(t->rows[low].code, code, length) != 0)
        return false;
    *out = t->rows[low].title;
    if (t->rows[low].code[length] == '\0')
        return true;
    for (size_t i = low + 1;
         i < t->n && t->rows[i].system == system && strncmp(t->rows[i].code, code, length) == 0;
         i++) {
        out->en = same(out->en, t->rows[i].title.en) ? out->en : NULL;
        out->ja = same(out->ja, t->rows[i].title.ja) ? out->ja : NULL;
    }
    return out->en != NULL || out->ja != NULL;
}
