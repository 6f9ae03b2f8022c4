/* NDJSON of native claims, one a line. A claim with problems is refused and counted by its first
 * one; a line that is no JSON object means a damaged file and ends the import. */
#include "claims/claim_json.h"
#include "import/reader.h"

#include <stdlib.h>
#include <string.h>

enum { ARENA_BYTES = 64 << 20 };

typedef struct native {
    rz_arena arena;
    json_t *document;
    size_t next_file;
    rz_claim_problems problems;
} native;

static rz_status open_native(rz_import *import, rz_error *error)
{
    native *n = calloc(1, sizeof *n);
    if (n == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory to read claims");
    rz_arena_init(&n->arena, ARENA_BYTES);
    import->state = n;
    return RZ_OK;
}

static void close_native(rz_import *import)
{
    native *n = import->state;
    json_decref(n->document);
    rz_arena_done(&n->arena);
    free(n);
}

/* One line as a claim; *used is false when it was empty or refused. */
static rz_status read_claim(rz_import *import, char *line, size_t length, rz_claim *out, bool *used,
                            rz_error *error)
{
    native *n = import->state;
    rz_claim_rules rules = {.latest_day = import->latest_day};
    rz_error problem = {0};
    *used = false;
    if (length == 0)
        return RZ_OK;
    json_decref(n->document);
    n->document = NULL;
    rz_arena_reset(&n->arena);
    rz_status status = rz_json_parse(line, length, &n->document, &problem);
    if (status == RZ_OK)
        status = rz_claim_from_json(n->document, &rules, &n->arena, out, &n->problems, &problem);
    else if (status == RZ_E_FORMAT) {
        /* The parser knows one line, the file has many. */
        const char *column = strstr(problem.text, "column");
        return rz_fail(error, status, "%s: line %llu, %s", import->lines.path,
                       (unsigned long long)import->lines.number,
                       column != NULL ? column : problem.text);
    }
    if (status == RZ_E_INVALID) {
        rz_reader_refuse(import, n->problems.item[0].code);
        return RZ_OK;
    }
    if (status != RZ_OK)
        return rz_fail(error, status, "%s: line %llu: %s", import->lines.path,
                       (unsigned long long)import->lines.number, problem.text);
    *used = true;
    return RZ_OK;
}

static rz_status next_native(rz_import *import, rz_claim *out, bool *more, rz_error *error)
{
    native *n = import->state;
    for (;;) {
        rz_status status = RZ_OK;
        char *line;
        size_t length;
        bool line_follows = false, used = false;
        if (import->file_open)
            status = rz_reader_line(import, &line, &length, &line_follows, error);
        if (status == RZ_OK && line_follows)
            status = read_claim(import, line, length, out, &used, error);
        if (status != RZ_OK)
            return status;
        if (used) {
            for (size_t i = 0; i < out->n_events; i++)
                import->summary.codes_by_kind[out->events[i].kind]++;
            rz_reader_count(import, out);
            *more = true;
            return RZ_OK;
        }
        if (line_follows)
            continue;
        rz_reader_close_file(import);
        if (n->next_file == import->n_paths) {
            *more = false;
            return RZ_OK;
        }
        status = rz_reader_open_file(import, n->next_file++, error);
        if (status != RZ_OK)
            return status;
    }
}

static const char *const suffixes[] = {".ndjson", ".jsonl", ".json", NULL};

const rz_import_format rz_import_native = {
    .name = "native",
    .suffixes = suffixes,
    .open = open_native,
    .next = next_native,
    .close = close_native,
};
