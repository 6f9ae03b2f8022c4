/* Pushing NDJSON: lines are gathered into requests, and the place up to which everything was
 * acknowledged is kept in a small file, so that a push that was cut off goes on there. Sending a
 * claim twice is harmless: claims are idempotent on (facility, claim_id). */
#include "rezept_client.h"

#include "base/buffer.h"
#include "base/file.h"
#include "base/status.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PROBE_BYTES = 4096 };

rz_push rz_push_defaults(void)
{
    return (rz_push){.batch_bytes_max = 1 << 20, .batch_lines_max = 1000};
}

/* What makes two inputs the same for resuming: the digest of their first bytes. */
static rz_status probe(FILE *input, char out[RZ_SHA256_TEXT], rz_error *error)
{
    char bytes[PROBE_BYTES];
    rz_sha256 hash;
    if (fseeko(input, 0, SEEK_SET) != 0)
        return rz_fail_errno(error, errno, "the input cannot be rewound");
    size_t got = fread(bytes, 1, sizeof bytes, input);
    rz_sha256_init(&hash);
    rz_sha256_add(&hash, bytes, got);
    rz_sha256_text(&hash, out);
    if (ferror(input) || fseeko(input, 0, SEEK_SET) != 0)
        return rz_fail_errno(error, errno, "the input cannot be read");
    return RZ_OK;
}

static rz_status save_state(const char *path, const char *digest, const rz_push_counts *counts,
                            rz_error *error)
{
    char text[512];
    int n = snprintf(text, sizeof text,
                     "{\"input_sha256\": \"%s\", \"bytes\": %" PRIu64 ", \"lines\": %" PRIu64
                     ", \"added\": %" PRIu64 ", \"unchanged\": %" PRIu64
                     ", \"superseded\": %" PRIu64 ", \"refused\": %" PRIu64 "}\n",
                     digest, counts->bytes, counts->lines, counts->added, counts->unchanged,
                     counts->superseded, counts->refused);
    return rz_file_write(path, text, (size_t)n, error);
}

static uint64_t number(const json_t *object, const char *key)
{
    json_int_t value = json_integer_value(json_object_get(object, key));
    return value > 0 ? (uint64_t)value : 0;
}

/* Takes up the counts of an earlier push of the same input and moves the input there. */
static rz_status load_state(const char *path, const char *digest, FILE *input,
                            rz_push_counts *counts, rz_error *error)
{
    json_t *state = json_load_file(path, JSON_REJECT_DUPLICATES, NULL);
    const char *of = json_string_value(json_object_get(state, "input_sha256"));
    rz_status status = RZ_OK;
    if (of != NULL && strcmp(of, digest) == 0) {
        rz_push_counts earlier = {.lines = number(state, "lines"),
                                  .added = number(state, "added"),
                                  .unchanged = number(state, "unchanged"),
                                  .superseded = number(state, "superseded"),
                                  .refused = number(state, "refused"),
                                  .bytes = number(state, "bytes")};
        if (earlier.bytes > INT64_MAX || fseeko(input, (off_t)earlier.bytes, SEEK_SET) != 0)
            status = rz_fail_errno(error, errno, "cannot go on at byte %" PRIu64, earlier.bytes);
        else
            *counts = earlier;
    }
    json_decref(state);
    return status;
}

/* Counts the outcomes of one request. `first_line` is the number of its first line. */
static rz_status take_results(const rz_push *push, const json_t *answer, uint64_t first_line,
                              uint64_t n_lines, rz_push_counts *counts, rz_error *error)
{
    const json_t *results = json_object_get(answer, "claims");
    if (!json_is_array(results) || json_array_size(results) != n_lines)
        return rz_fail(error, RZ_E_FORMAT, "the server answered %zu results for %" PRIu64 " claims",
                       json_array_size(results), n_lines);
    for (size_t i = 0; i < n_lines; i++) {
        const json_t *result = json_array_get(results, i);
        const char *outcome = json_string_value(json_object_get(result, "outcome"));
        if (outcome != NULL && strcmp(outcome, "added") == 0) {
            counts->added++;
        } else if (outcome != NULL && strcmp(outcome, "unchanged") == 0) {
            counts->unchanged++;
        } else if (outcome != NULL && strcmp(outcome, "superseded") == 0) {
            counts->superseded++;
        } else {
            counts->refused++;
            if (push->refused != NULL)
                push->refused(push->context, first_line + i, result);
        }
    }
    return RZ_OK;
}

typedef struct pushing {
    rz_client *client;
    const rz_push *push;
    rz_push_counts *counts;
    rz_buffer batch;
    uint64_t batch_lines, batch_blank; /* claims; and blank lines between them */
    uint64_t batch_input_bytes;
    const char *digest; /* NULL without a state */
} pushing;

static rz_status send_batch(pushing *p, rz_error *error)
{
    rz_reply reply = {0};
    rz_status status = RZ_OK;
    if (p->batch_lines > 0) {
        status = rz_client_call(p->client, "POST", "/v1/claims", "application/x-ndjson",
                                p->batch.data, p->batch.length, &reply, error);
        if (status == RZ_OK)
            status = take_results(p->push, reply.json, p->counts->lines + p->batch_blank + 1,
                                  p->batch_lines, p->counts, error);
        rz_reply_done(&reply);
    }
    if (status != RZ_OK)
        return status;
    p->counts->lines += p->batch_lines + p->batch_blank;
    p->counts->bytes += p->batch_input_bytes;
    p->batch_lines = p->batch_blank = p->batch_input_bytes = 0;
    rz_buffer_clear(&p->batch);
    if (p->push->done != NULL)
        p->push->done(p->push->context, p->counts);
    return p->digest == NULL ? RZ_OK : save_state(p->push->state_path, p->digest, p->counts, error);
}

static bool is_blank(const char *line, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (line[i] != ' ' && line[i] != '\t' && line[i] != '\r' && line[i] != '\n')
            return false;
    return true;
}

static rz_status take_line(pushing *p, const char *line, size_t n, rz_error *error)
{
    rz_status status = RZ_OK;
    if (is_blank(line, n)) {
        /* A blank line ends a batch, so that line numbers of results stay simple to tell. */
        status = send_batch(p, error);
        p->batch_blank++;
        p->batch_input_bytes += n;
        return status;
    }
    if (n > p->push->batch_bytes_max)
        return rz_fail(
            error, RZ_E_TOO_LARGE, "line %" PRIu64 " has %zu bytes, a request holds at most %zu",
            p->counts->lines + p->batch_blank + p->batch_lines + 1, n, p->push->batch_bytes_max);
    if (p->batch_lines >= p->push->batch_lines_max ||
        p->batch.length + n + 1 > p->push->batch_bytes_max)
        status = send_batch(p, error);
    if (status == RZ_OK)
        status = rz_buffer_add(&p->batch, line, n);
    if (status == RZ_OK && line[n - 1] != '\n')
        status = rz_buffer_add(&p->batch, "\n", 1);
    p->batch_lines++;
    p->batch_input_bytes += n;
    return status == RZ_E_NO_MEMORY ? rz_fail(error, status, "no memory for a batch") : status;
}

rz_status rz_client_push(rz_client *client, FILE *input, const rz_push *push,
                         rz_push_counts *counts, rz_error *error)
{
    char digest[RZ_SHA256_TEXT], *line = NULL;
    size_t capacity = 0;
    rz_status status = RZ_OK;
    pushing p = {.client = client, .push = push, .counts = counts};
    *counts = (rz_push_counts){0};
    rz_buffer_init(&p.batch, push->batch_bytes_max + 2);
    if (push->state_path != NULL) {
        status = probe(input, digest, error);
        p.digest = digest;
        if (status == RZ_OK)
            status = load_state(push->state_path, digest, input, counts, error);
    }
    while (status == RZ_OK) {
        errno = 0;
        ssize_t n = getline(&line, &capacity, input);
        if (n < 0) {
            if (ferror(input))
                status = rz_fail_errno(error, errno, "the input cannot be read");
            break;
        }
        status = take_line(&p, line, (size_t)n, error);
    }
    if (status == RZ_OK)
        status = send_batch(&p, error);
    if (status == RZ_OK && push->state_path != NULL)
        (void)unlink(push->state_path);
    free(line);
    rz_buffer_done(&p.batch);
    return status;
}
