/* Pushing claims: lines are gathered into requests, and the place up to which everything was
 * acknowledged is kept in a small file, so that a push that was cut off goes on there. Every line
 * of the input is a line of a request, blank and oversized ones as empty lines, so that the
 * server's line numbers and ours differ by the lines acknowledged before. */
#include "transport.h"

#include "base/buffer.h"
#include "base/file.h"
#include "base/status.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CHUNK_BYTES = 65536 };

typedef struct pushing {
    rz_client *client;
    const rz_push *push;
    rz_push_counts *counts;
    FILE *input;
    rz_buffer bytes; /* read and not yet taken from `at` on; at most a line and a chunk */
    size_t at;
    bool end;        /* of the input */
    bool long_line;  /* the rest of an oversized line follows */
    rz_buffer batch; /* the request under way */
    uint64_t batch_lines, batch_claims, batch_input_bytes;
    rz_sha256 hash; /* of all input bytes up to the end of the batch */
} pushing;

rz_push rz_push_defaults(void)
{
    return (rz_push){.batch_bytes_max = 1 << 20, .batch_lines_max = 1000};
}

/* ---- reading -------------------------------------------------------------------------------- */

/* Reads one more chunk behind what is there. */
static rz_status fill(pushing *p, rz_error *error)
{
    char chunk[CHUNK_BYTES];
    if (p->at > 0) {
        memmove(p->bytes.data, p->bytes.data + p->at, p->bytes.length - p->at);
        p->bytes.length -= p->at;
        p->at = 0;
    }
    errno = 0;
    size_t got = fread(chunk, 1, sizeof chunk, p->input);
    int why = errno;
    if (got < sizeof chunk && ferror(p->input)) {
        if (!client_goes_on(p->client))
            return rz_fail(error, RZ_E_CANCELED, "interrupted");
        if (why != EINTR)
            return rz_fail_errno(error, why, "the input cannot be read");
        clearerr(p->input);
    } else if (got < sizeof chunk) {
        p->end = true;
    }
    return rz_buffer_add(&p->bytes, chunk, got) == RZ_OK
               ? RZ_OK
               : rz_fail(error, RZ_E_NO_MEMORY, "no memory for the input");
}

/* The next line with its newline, or the next piece of one longer than a request; borrowed until
 * the next call. *n is 0 at the end of the input. */
static rz_status next_line(pushing *p, const char **line, size_t *n, bool *complete,
                           rz_error *error)
{
    for (size_t seen = 0;;) {
        size_t there = p->bytes.length - p->at;
        *line = p->bytes.data + p->at;
        const char *newline = there > seen ? memchr(*line + seen, '\n', there - seen) : NULL;
        *complete = newline != NULL || p->end;
        if (*complete || there > p->push->batch_bytes_max) {
            *n = newline != NULL ? (size_t)(newline - *line) + 1 : there;
            p->at += *n;
            return RZ_OK;
        }
        seen = there;
        rz_status status = fill(p, error);
        if (status != RZ_OK)
            return status;
    }
}

static bool is_json(const char *text, size_t n)
{
    json_t *json = json_loadb(text, n, 0, NULL);
    json_decref(json);
    return json != NULL;
}

/* gzip or zstd, which import reads and the server does not. */
static bool is_packed(const rz_buffer *bytes)
{
    return bytes->length >= 4 && (memcmp(bytes->data, "\x1f\x8b", 2) == 0 ||
                                  memcmp(bytes->data, "\x28\xb5\x2f\xfd", 4) == 0);
}

/* Whether the input is one document, written over several lines for people: its first line is no
 * JSON of its own but the whole is. Reads, and takes nothing. */
static rz_status find_document(pushing *p, bool *found, rz_error *error)
{
    rz_status status = RZ_OK;
    const char *newline = NULL;
    *found = false;
    while (status == RZ_OK && newline == NULL && !p->end &&
           p->bytes.length <= p->push->batch_bytes_max) {
        status = fill(p, error);
        newline = memchr(p->bytes.data, '\n', p->bytes.length);
    }
    if (status == RZ_OK && is_packed(&p->bytes))
        return rz_fail(error, RZ_E_FORMAT,
                       "the input is compressed; send what `zcat FILE` or `zstdcat FILE` prints");
    if (status != RZ_OK || newline == NULL ||
        is_json(p->bytes.data, (size_t)(newline - p->bytes.data)))
        return status;
    while (status == RZ_OK && !p->end && p->bytes.length <= p->push->batch_bytes_max)
        status = fill(p, error);
    *found = status == RZ_OK && p->end && is_json(p->bytes.data, p->bytes.length);
    return status;
}

/* ---- the acknowledged place ----------------------------------------------------------------- */

static rz_status save_state(const pushing *p, rz_error *error)
{
    const rz_push_counts *c = p->counts;
    char digest[RZ_SHA256_TEXT];
    rz_sha256 hash = p->hash;
    rz_sha256_text(&hash, digest);
    json_t *state =
        json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I}", "server", client_url(p->client),
                  "sha256", digest, "bytes", (json_int_t)c->bytes, "lines", (json_int_t)c->lines,
                  "added", (json_int_t)c->added, "unchanged", (json_int_t)c->unchanged,
                  "superseded", (json_int_t)c->superseded, "refused", (json_int_t)c->refused);
    char *text = state != NULL ? json_dumps(state, JSON_INDENT(1)) : NULL;
    json_decref(state);
    if (text == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for the acknowledged place");
    rz_status status = rz_file_write(p->push->state_path, text, strlen(text), error);
    free(text);
    rz_error_prefix(error, "the acknowledged place cannot be kept; name another file for it: ");
    return status;
}

static uint64_t number(const json_t *object, const char *key)
{
    json_int_t value = json_integer_value(json_object_get(object, key));
    return value > 0 ? (uint64_t)value : 0;
}

/* Hashes the first `bytes` bytes of the input; false when there are fewer. */
static bool hash_start(pushing *p, uint64_t bytes)
{
    char chunk[CHUNK_BYTES];
    while (bytes > 0) {
        size_t wanted = bytes < sizeof chunk ? (size_t)bytes : sizeof chunk;
        size_t got = fread(chunk, 1, wanted, p->input);
        rz_sha256_add(&p->hash, chunk, got);
        if (got < wanted)
            return false;
        bytes -= got;
    }
    return true;
}

/* Takes up the counts of an earlier push of the same input to the same server, and leaves the input
 * behind what it acknowledged; or at the start. */
static rz_status load_state(pushing *p, rz_error *error)
{
    char digest[RZ_SHA256_TEXT];
    json_t *state = json_load_file(p->push->state_path, JSON_REJECT_DUPLICATES, NULL);
    const char *server = json_string_value(json_object_get(state, "server"));
    const char *wanted = json_string_value(json_object_get(state, "sha256"));
    bool same = false;
    if (wanted == NULL && access(p->push->state_path, F_OK) == 0) {
        json_decref(state);
        return rz_fail(error, RZ_E_USAGE,
                       "%s is not the place of an earlier push; it is left alone, name another",
                       p->push->state_path);
    }
    if (server != NULL && wanted != NULL && strcmp(server, client_url(p->client)) == 0 &&
        hash_start(p, number(state, "bytes"))) {
        rz_sha256 hash = p->hash;
        rz_sha256_text(&hash, digest);
        same = strcmp(digest, wanted) == 0;
    }
    if (same)
        *p->counts = (rz_push_counts){.lines = number(state, "lines"),
                                      .added = number(state, "added"),
                                      .unchanged = number(state, "unchanged"),
                                      .superseded = number(state, "superseded"),
                                      .refused = number(state, "refused"),
                                      .bytes = number(state, "bytes")};
    json_decref(state);
    if (same)
        return RZ_OK;
    rz_sha256_init(&p->hash);
    if (fseeko(p->input, 0, SEEK_SET) != 0)
        return rz_fail_errno(error, errno, "the input cannot be rewound, so it cannot be resumed");
    return RZ_OK;
}

/* ---- sending -------------------------------------------------------------------------------- */

static void count_outcome(rz_push_counts *counts, const char *outcome)
{
    counts->added += strcmp(outcome, "added") == 0;
    counts->unchanged += strcmp(outcome, "unchanged") == 0;
    counts->superseded += strcmp(outcome, "superseded") == 0;
    counts->refused += strcmp(outcome, "refused") == 0;
}

static const char *outcome_of(const json_t *result)
{
    const char *text = json_string_value(json_object_get(result, "outcome"));
    return text != NULL ? text : "";
}

static void tell_refused(const pushing *p, uint64_t line, const json_t *result)
{
    if (p->push->refused != NULL)
        p->push->refused(p->push->context, line, result);
}

/* Counts the outcomes of one request. */
static rz_status take_results(const pushing *p, const json_t *answer, rz_error *error)
{
    const json_t *results = json_object_get(answer, "claims");
    rz_push_counts counts = *p->counts;
    size_t n = json_array_size(results);
    if (n != p->batch_claims)
        return rz_fail(error, RZ_E_FORMAT, "the server answered %zu results for %" PRIu64 " claims",
                       n, p->batch_claims);
    for (size_t i = 0; i < n; i++)
        count_outcome(&counts, outcome_of(json_array_get(results, i)));
    if (counts.added + counts.unchanged + counts.superseded + counts.refused !=
        p->counts->added + p->counts->unchanged + p->counts->superseded + p->counts->refused + n)
        return rz_fail(error, RZ_E_FORMAT, "the server answered outcomes that are unknown here");
    *p->counts = counts;
    for (size_t i = 0; i < n; i++) {
        const json_t *result = json_array_get(results, i);
        if (strcmp(outcome_of(result), "refused") == 0)
            tell_refused(p, p->counts->lines + number(result, "line"), result);
    }
    return RZ_OK;
}

static rz_status send_batch(pushing *p, rz_error *error)
{
    rz_reply reply = {0};
    rz_status status = RZ_OK;
    if (p->batch_claims > 0) {
        status = rz_client_call(p->client, "POST", "/v1/claims", "application/x-ndjson",
                                p->batch.data, p->batch.length, &reply, error);
        if (status == RZ_OK)
            status = take_results(p, reply.json, error);
        rz_reply_done(&reply);
    }
    if (status != RZ_OK || p->batch_lines == 0)
        return status;
    p->counts->lines += p->batch_lines;
    p->counts->bytes += p->batch_input_bytes;
    p->batch_lines = p->batch_claims = p->batch_input_bytes = 0;
    rz_buffer_clear(&p->batch);
    if (p->push->done != NULL)
        p->push->done(p->push->context, p->counts);
    return p->push->state_path == NULL ? RZ_OK : save_state(p, error);
}

static bool is_blank(const char *line, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (line[i] != ' ' && line[i] != '\t' && line[i] != '\r' && line[i] != '\n')
            return false;
    return true;
}

static void refuse_long_line(const pushing *p, uint64_t line)
{
    char detail[120];
    (void)snprintf(detail, sizeof detail,
                   "the line has more than %zu bytes, the most that one request holds",
                   p->push->batch_bytes_max);
    p->counts->refused++;
    json_t *result = json_pack("{s:s, s:{s:s}}", "outcome", "refused", "problem", "detail", detail);
    tell_refused(p, line, result);
    json_decref(result);
}

static rz_status begin_line(pushing *p, const char *line, size_t n, bool complete, rz_error *error)
{
    rz_status status = RZ_OK;
    bool too_long = !complete || n > p->push->batch_bytes_max, blank = is_blank(line, n);
    size_t sent = too_long || blank ? 0 : n;
    if (p->batch_lines >= p->push->batch_lines_max ||
        p->batch.length + sent + 1 > p->push->batch_bytes_max)
        status = send_batch(p, error);
    if (status != RZ_OK)
        return status;
    status = rz_buffer_add(&p->batch, line, sent);
    if (status == RZ_OK && (sent == 0 || line[n - 1] != '\n'))
        status = rz_buffer_add(&p->batch, "\n", 1);
    if (status != RZ_OK)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for a batch");
    p->batch_lines++;
    p->batch_claims += sent > 0;
    if (too_long)
        refuse_long_line(p, p->counts->lines + p->batch_lines);
    return RZ_OK;
}

static rz_status push_lines(pushing *p, rz_error *error)
{
    rz_status status = RZ_OK;
    while (status == RZ_OK) {
        const char *line;
        size_t n;
        bool complete;
        status = next_line(p, &line, &n, &complete, error);
        if (status != RZ_OK || n == 0)
            break;
        if (!p->long_line)
            status = begin_line(p, line, n, complete, error);
        if (status != RZ_OK)
            break;
        rz_sha256_add(&p->hash, line, n);
        p->batch_input_bytes += n;
        p->long_line = !complete;
    }
    return status == RZ_OK ? send_batch(p, error) : status;
}

static rz_status push_document(pushing *p, rz_error *error)
{
    rz_reply reply = {0};
    rz_status status = rz_client_call(p->client, "POST", "/v1/claims", "application/json",
                                      p->bytes.data, p->bytes.length, &reply, error);
    if (status == RZ_OK) {
        p->counts->lines = 1;
        p->counts->bytes = p->bytes.length;
        p->batch_claims = 1;
        status = take_results(p, reply.json, error);
    } else if (json_is_object(reply.json)) {
        json_t *result = json_pack("{s:s, s:O}", "outcome", "refused", "problem", reply.json);
        tell_refused(p, 1, result);
        json_decref(result);
    }
    rz_reply_done(&reply);
    return status;
}

rz_status rz_client_push(rz_client *client, FILE *input, const rz_push *push,
                         rz_push_counts *counts, rz_error *error)
{
    bool document = false, kept = false;
    rz_status status = RZ_OK;
    pushing p = {.client = client, .push = push, .counts = counts, .input = input};
    *counts = (rz_push_counts){0};
    rz_sha256_init(&p.hash);
    rz_buffer_init(&p.batch, push->batch_bytes_max + 2);
    rz_buffer_init(&p.bytes, push->batch_bytes_max + 2 * CHUNK_BYTES);
    if (push->state_path != NULL)
        status = load_state(&p, error);
    if (status == RZ_OK && counts->bytes == 0)
        status = find_document(&p, &document, error);
    if (status == RZ_OK && document) {
        status = push_document(&p, error);
    } else if (status == RZ_OK) {
        /* Kept from the start, so that a place that cannot be written is told before claims are
         * sent. */
        if (push->state_path != NULL)
            status = save_state(&p, error);
        kept = push->state_path != NULL && status == RZ_OK;
        if (status == RZ_OK)
            status = push_lines(&p, error);
    }
    if (kept && (status == RZ_OK || counts->bytes == 0))
        (void)unlink(push->state_path);
    rz_buffer_done(&p.batch);
    rz_buffer_done(&p.bytes);
    return status;
}
