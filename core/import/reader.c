/* The steps every format takes: files, rows, refusals, fields, and claims put together code by
 * code. */
#include "import/reader.h"

#include "base/hash.h"
#include "claims/claim_json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void rz_reader_close_file(rz_import *import)
{
    if (!import->file_open)
        return;
    if (import->format->csv)
        rz_csv_close(&import->csv);
    else
        rz_lines_close(&import->lines);
    import->bytes_done += import->sizes[import->current];
    import->summary.bytes_read = import->bytes_done;
    import->file_open = false;
}

rz_status rz_reader_open_file(rz_import *import, size_t index, rz_error *error)
{
    rz_reader_close_file(import);
    rz_status status = import->format->csv
                           ? rz_csv_open(&import->csv, import->paths[index], error)
                           : rz_lines_open(&import->lines, import->paths[index], error);
    import->current = index;
    import->file_open = status == RZ_OK;
    return status;
}

static void count_row(rz_import *import, const rz_lines *lines)
{
    import->summary.rows_read++;
    import->summary.bytes_read = import->bytes_done + rz_stream_bytes(lines->stream);
}

rz_status rz_reader_row(rz_import *import, bool *more, rz_error *error)
{
    rz_status status = rz_csv_next(&import->csv, more, error);
    if (status == RZ_OK && *more)
        count_row(import, &import->csv.lines);
    return status;
}

rz_status rz_reader_line(rz_import *import, char **line, size_t *n, bool *more, rz_error *error)
{
    rz_status status = rz_lines_next(&import->lines, line, n, more, error);
    if (status == RZ_OK && *more)
        count_row(import, &import->lines);
    return status;
}

/* The entry of a reason, made when it is new. */
static rz_import_refusal *refusal_of(rz_import_summary *s, const char *reason)
{
    size_t i = 0;
    while (i < s->n_refusals && strcmp(s->refusals[i].reason, reason) != 0)
        i++;
    if (i == RZ_IMPORT_REASONS_MAX)
        i = RZ_IMPORT_REASONS_MAX - 1; /* more reasons than any format has: the last collects */
    else if (i == s->n_refusals)
        s->refusals[s->n_refusals++] = (rz_import_refusal){.reason = reason};
    return &s->refusals[i];
}

void rz_summary_refuse(rz_import_summary *summary, const char *reason, const char *path,
                       uint64_t line)
{
    rz_import_refusal *refusal = refusal_of(summary, reason);
    if (refusal->rows < RZ_IMPORT_EXAMPLES_MAX && path != NULL) {
        const char *name = strrchr(path, '/');
        (void)snprintf(refusal->examples[refusal->rows].file,
                       sizeof refusal->examples[refusal->rows].file, "%.63s",
                       name != NULL ? name + 1 : path);
        refusal->examples[refusal->rows].line = line;
    }
    refusal->rows++;
}

void rz_summary_add(rz_import_summary *summary, const rz_import_refusal *more)
{
    rz_import_refusal *refusal = refusal_of(summary, more->reason);
    for (uint64_t k = 0; k < more->rows && k < RZ_IMPORT_EXAMPLES_MAX; k++)
        if (refusal->rows + k < RZ_IMPORT_EXAMPLES_MAX)
            refusal->examples[refusal->rows + k] = more->examples[k];
    refusal->rows += more->rows;
}

uint64_t rz_reader_place(const rz_import *import)
{
    return import->format->csv ? import->csv.line : import->lines.number;
}

void rz_reader_refuse(rz_import *import, const char *reason)
{
    rz_summary_refuse(&import->summary, reason,
                      import->n_paths > 0 ? import->paths[import->current] : NULL,
                      rz_reader_place(import));
}

bool rz_reader_day(rz_import *import, rz_field field, int32_t birth_day, int32_t *out)
{
    int32_t day = RZ_DAY_NONE;
    const char *reason = NULL;
    if (field.n == 0)
        reason = RZ_REFUSED_NO_DATE;
    else if (!rz_day_parse_loose(field.text, field.n, &day))
        reason = RZ_REFUSED_BAD_DATE;
    else if (day > import->latest_day)
        reason = RZ_REFUSED_FUTURE;
    else if (birth_day != RZ_DAY_NONE && day < birth_day)
        reason = RZ_REFUSED_BEFORE_BIRTH;
    if (reason != NULL) {
        rz_reader_refuse(import, reason);
        return false;
    }
    *out = day;
    return true;
}

bool rz_reader_integer(rz_field field, int64_t *out)
{
    bool negative = field.n > 0 && field.text[0] == '-';
    size_t i = negative ? 1 : 0;
    int64_t value = 0;
    if (i == field.n)
        return false;
    for (; i < field.n; i++) {
        int digit = field.text[i] - '0';
        /* Built up as a negative number, whose range is the larger one. */
        if (digit < 0 || digit > 9 || __builtin_mul_overflow(value, 10, &value) ||
            __builtin_sub_overflow(value, digit, &value))
            return false;
    }
    if (!negative && value == INT64_MIN)
        return false;
    *out = negative ? value : -value;
    return true;
}

double rz_reader_number(rz_field field)
{
    size_t i = 0, digits = 0;
    bool negative = field.n > 0 && field.text[0] == '-', dot = false;
    double mantissa = 0.0;
    int64_t exponent = 0, written = 0;
    if (field.n > 64)
        return (double)NAN;
    for (i = negative ? 1 : 0; i < field.n; i++) {
        char c = field.text[i];
        if (c == '.' && !dot) {
            dot = true;
        } else if (c >= '0' && c <= '9') {
            mantissa = mantissa * 10.0 + (c - '0');
            exponent -= dot;
            digits++;
        } else {
            break;
        }
    }
    if (digits == 0)
        return (double)NAN;
    if (i < field.n && (field.text[i] == 'e' || field.text[i] == 'E')) {
        size_t sign = field.text[i + 1] == '+' ? 1 : 0;
        rz_field rest = {field.text + i + 1 + sign, field.n - i - 1 - sign};
        if (!rz_reader_integer(rest, &written) || written < -400 || written > 400)
            return (double)NAN;
        i = field.n;
    }
    if (i != field.n)
        return (double)NAN;
    exponent += written;
    /* Up to 10^22 powers of ten are exact, which makes one rounding for numbers as people write
     * them. */
    while (exponent < 0) {
        int64_t step = exponent < -22 ? 22 : -exponent;
        double power = 1.0;
        for (int64_t k = 0; k < step; k++)
            power *= 10.0;
        mantissa /= power;
        exponent += step;
    }
    for (; exponent > 0; exponent--)
        mantissa *= 10.0;
    if (!isfinite(mantissa))
        return (double)NAN;
    return negative ? -mantissa : mantissa;
}

void rz_reader_begin(rz_import *import, const rz_claim *claim)
{
    import->claim = *claim;
    import->claim.facility = import->facility;
    import->n_events = 0;
}

static rz_status grow(rz_import *import, rz_error *error)
{
    size_t capacity = import->events_capacity == 0 ? 64 : import->events_capacity * 2;
    if (import->n_events >= RZ_CLAIM_EVENTS_MAX)
        return rz_fail(error, RZ_E_TOO_LARGE, "%s: line %llu: a claim of more than %d codes",
                       import->csv.lines.path, (unsigned long long)import->csv.line,
                       RZ_CLAIM_EVENTS_MAX);
    rz_event *events = realloc(import->events, capacity * sizeof *events);
    if (events != NULL)
        import->events = events;
    rz_reader_text *texts = realloc(import->texts, capacity * sizeof *texts);
    if (texts != NULL)
        import->texts = texts;
    if (events == NULL || texts == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for a claim of %zu codes", capacity);
    import->events_capacity = capacity;
    return RZ_OK;
}

static bool has_control_character(rz_field field)
{
    for (size_t i = 0; i < field.n; i++)
        if ((unsigned char)field.text[i] < 0x20 || field.text[i] == 0x7F)
            return true;
    return false;
}

/* A local code as it can be stored: control characters, such as the line ends of free text, become
 * blanks; what is too long keeps its first bytes, cut between characters, and a hash of it all. */
static rz_field storable(rz_field code, char out[RZ_CODE_TEXT])
{
    bool too_long = code.n >= RZ_CODE_TEXT;
    size_t keep = too_long ? RZ_CODE_TEXT - 1 - 17 : code.n;
    while (too_long && keep > 0 && ((unsigned char)code.text[keep] & 0xC0) == 0x80)
        keep--;
    for (size_t i = 0; i < keep; i++)
        out[i] = (unsigned char)code.text[i] < 0x20 || code.text[i] == 0x7F ? ' ' : code.text[i];
    out[keep] = '\0';
    if (too_long)
        (void)snprintf(out + keep, RZ_CODE_TEXT - keep, "~%016llx",
                       (unsigned long long)rz_hash64(code.text, code.n, 0));
    return (rz_field){out, strlen(out)};
}

rz_status rz_reader_add(rz_import *import, const rz_event *event, rz_field code, rz_field unit,
                        rz_error *error)
{
    import->summary.codes_by_kind[event->kind]++;
    while (code.n > 0 && code.text[code.n - 1] == ' ')
        code.n--;
    if (code.n == 0) {
        rz_reader_refuse(import, RZ_REFUSED_NO_CODE);
        return RZ_OK;
    }
    if (import->n_events == import->events_capacity || import->n_events >= RZ_CLAIM_EVENTS_MAX) {
        rz_status status = grow(import, error);
        if (status != RZ_OK)
            return status;
    }
    char local[RZ_CODE_TEXT];
    if (event->system == RZ_SYSTEM_LOCAL)
        code = storable(code, local);
    rz_reader_text *text = &import->texts[import->n_events];
    if (rz_code_normalise(event->system, code.text, code.n, text->code, NULL) != RZ_OK) {
        rz_reader_refuse(import, RZ_REFUSED_BAD_CODE);
        return RZ_OK;
    }
    rz_event *stored = &import->events[import->n_events++];
    *stored = *event;
    if (stored->known_day < stored->day)
        stored->known_day = stored->day;
    /* A unit that is too long to be one, or is no line of text, is left out rather than cut to
     * another. */
    size_t n = unit.n < sizeof text->unit && !has_control_character(unit) ? unit.n : 0;
    memcpy(text->unit, unit.text, n);
    text->unit[n] = '\0';
    stored->code = text->code;
    stored->unit = text->unit;
    return RZ_OK;
}

static int compare_events(const void *left, const void *right)
{
    const rz_event *a = left, *b = right;
    if (a->day != b->day)
        return a->day < b->day ? -1 : 1;
    if (a->kind != b->kind)
        return a->kind < b->kind ? -1 : 1;
    if (a->system != b->system)
        return a->system < b->system ? -1 : 1;
    int order = strcmp(a->code, b->code);
    if (order == 0 && isnan(a->value) != isnan(b->value))
        order = isnan(a->value) ? 1 : -1;
    /* The texts lie in the order in which the file has them: of equal codes the first one stays. */
    return order != 0 ? order : (a->code > b->code) - (a->code < b->code);
}

static bool same_event(const rz_event *a, const rz_event *b)
{
    return a->day == b->day && a->kind == b->kind && a->system == b->system &&
           strcmp(a->code, b->code) == 0;
}

void rz_reader_count(rz_import *import, const rz_claim *claim)
{
    import->summary.claims++;
    import->summary.events += claim->n_events;
    for (size_t i = 0; i < claim->n_events; i++) {
        import->summary.events_by_kind[claim->events[i].kind]++;
        import->summary.events_by_system[claim->events[i].system]++;
    }
}

bool rz_reader_finish(rz_import *import, rz_claim *out)
{
    if (import->n_events == 0)
        return false;
    /* Only now do the texts no longer move. */
    for (size_t i = 0; i < import->n_events; i++) {
        import->events[i].code = import->texts[i].code;
        import->events[i].unit = import->texts[i].unit[0] != '\0' ? import->texts[i].unit : NULL;
    }
    qsort(import->events, import->n_events, sizeof *import->events, compare_events);
    size_t kept = 0;
    for (size_t i = 0; i < import->n_events; i++)
        if (kept == 0 || !same_event(&import->events[kept - 1], &import->events[i]))
            import->events[kept++] = import->events[i];
    import->claim.events = import->events;
    import->claim.n_events = kept;
    import->n_events = 0;
    rz_reader_count(import, &import->claim);
    *out = import->claim;
    return true;
}
