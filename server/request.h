/* One HTTP request and its answer, as handlers see them; nothing here knows the HTTP library.
 *
 * A handler gets a request whose body is complete and either gives an answer (request_json,
 * problem.h) or waits for a job (job.h). Everything hangs off the request and dies with it. */
#ifndef REZEPTD_REQUEST_H
#define REZEPTD_REQUEST_H

#include "base/arena.h"
#include "base/buffer.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>
#include <time.h>

struct server;
struct route;
struct job;
struct connection;

enum {
    REQUEST_ID_TEXT = 17,
    REQUEST_PARAMETERS_MAX = 4,
    REQUEST_QUERY_MAX = 16,
    ANSWER_BYTES_MAX = 64 << 20 /* of one that is written whole */
};

/* A body that is made while it is sent. */
typedef struct stream {
    /* Writes up to `cap` bytes. 0 = nothing yet, a job is under way; STREAM_END; STREAM_FAILED. */
    ssize_t (*read)(struct stream *stream, char *out, size_t cap);
    void (*free)(struct stream *stream);
} stream;
enum { STREAM_END = -1, STREAM_FAILED = -2 };

typedef struct pair {
    const char *name, *value;
} pair;

typedef struct answer {
    int status; /* HTTP status; 0 while there is none */
    const char *content_type;
    const char *body; /* valid until `release` is called with `owner`; NULL: it is static */
    size_t length;
    void (*release)(void *owner);
    void *owner;
    bool close, authenticate;
    int retry_after_s; /* 0 = no header */
    char allow[48];    /* "" = no header */
    stream *stream;    /* owned; instead of body */
    const pair
        *headers;     /* more of them, or NULL; in the arena or static. Without a Cache-Control */
    size_t n_headers; /* among them the answer is not to be kept */
} answer;

typedef struct request {
    struct server *server;
    struct connection *connection; /* borrowed; the HTTP side */
    char id[REQUEST_ID_TEXT];
    char method[12];
    const char *content_type;     /* "" when there is none; arena */
    const char *content_encoding; /* NULL when there is none; arena */
    const char *authorization;
    const char *accept_encoding, *if_none_match; /* NULL when there is none; arena */
    const struct route *route;                   /* NULL until matched */
    size_t n_parameters, n_query;
    pair parameters[REQUEST_PARAMETERS_MAX]; /* of the path, decoded; arena */
    pair query[REQUEST_QUERY_MAX];           /* decoded; arena */
    char caller[64];                         /* token name, or "local" */
    bool has_token;
    uint32_t scopes; /* that the caller has, of a route that asks for any */
    rz_buffer body;
    uint64_t body_counted; /* bytes of the common body budget that this request holds */
    rz_arena arena;
    struct timespec started;
    answer answer;
    struct job *job;                         /* one reference, while and after waiting */
    void (*resume)(struct request *request); /* makes the answer when the job is done */
    void *context;                           /* of resume; arena or job */
} request;

/* Values by name; NULL when absent. */
const char *request_parameter(const request *r, const char *name);
const char *request_query(const request *r, const char *name);

/* Splits and decodes "/path?query" into segments and query pairs.
 * Errors  RZ_E_FORMAT for bad escapes, NUL, '..', control bytes; RZ_E_TOO_LARGE for too many
 *         pairs; RZ_E_NO_MEMORY. Segments live in the arena. */
enum { REQUEST_SEGMENTS_MAX = 8 };
typedef struct target {
    size_t n_segments;
    const char *segments[REQUEST_SEGMENTS_MAX]; /* decoded, without '/' */
    size_t n_query;
    pair query[REQUEST_QUERY_MAX];
} target;
RZ_MUST_CHECK rz_status target_parse(const char *raw, rz_arena *arena, target *out,
                                     rz_error *error);

/* A whole number of a query, without sign, from `least` to `most`. */
bool number_read(const char *text, int64_t least, int64_t most, int64_t *out);

/* The answer is this JSON; `json` is taken (NULL answers 503: out of memory). */
void request_json(request *r, int status, json_t *json);
/* The answer is this text; `release` (NULL for static text) is called once with `owner` when the
 * text is not needed any more. */
void request_answer(request *r, int status, const char *content_type, const char *text, size_t n,
                    void (*release)(void *owner), void *owner);
/* The answer is the JSON of this buffer, which is emptied; 503 unless `status` is RZ_OK. */
void request_buffer(request *r, int http_status, rz_status status, rz_buffer *json);
/* The answer is this text, copied. */
void request_text(request *r, int status, const char *content_type, const char *text, size_t n);

/* Numbers in answers: a JSON real, or null where the value is not finite. New. */
json_t *json_number_or_null(double value);
/* Dumps with 6 significant digits, compact; free() it. NULL when memory is exhausted. */
char *json_text(const json_t *json);

/* Text into a field, cut to fit. snprintf would do, at many times the price: libraries that print
 * numbers of their own (libquadmath, behind the BLAS) put all of printf on its slow path. */
static inline void text_copy(char *out, size_t cap, const char *text)
{
    size_t n = strnlen(text, cap - 1);
    memcpy(out, text, n);
    out[n] = '\0';
}

double request_seconds(const request *r); /* since it began */

/* Frees body, answer and the job's reference; `r` itself stays the caller's, and so does the memory
 * of its arena, which is returned. */
rz_arena request_done(request *r);

#endif
