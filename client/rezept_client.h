/* librezept-client: talk to a rezeptd from C.
 *
 *     rz_error error = {0};
 *     rz_client_options options = rz_client_options_defaults();
 *     rz_client *client = NULL;
 *     rz_reply reply = {0};
 *     options.url = "http://127.0.0.1:8480";
 *     rz_status status = rz_client_setup();
 *     if (status == RZ_OK)
 *         status = rz_client_open(&options, &client, &error);
 *     if (status == RZ_OK)
 *         status = rz_client_call(client, "GET", "/v1/patients/p1/risks", NULL, NULL, 0, &reply,
 *                                 &error);
 *     if (status == RZ_OK)
 *         use(json_object_get(reply.json, "risks"));
 *     else
 *         fprintf(stderr, "%s\n", error.text);
 *     rz_reply_done(&reply);
 *     rz_client_close(client);
 *
 * A call is tried again with growing pauses when the server is busy (429, 503) or cannot be
 * reached: every route that the library calls is idempotent. A refusal comes back as the status
 * that the HTTP code stands for, with the problem's detail as text. Proxies that the environment
 * names are not used.
 *
 * Threads: one client per thread. */
#ifndef REZEPT_CLIENT_H
#define REZEPT_CLIENT_H

#include <rezept.h>

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct rz_client rz_client;

typedef struct rz_client_options {
    const char *url;              /* scheme, host and port; a path before /v1 is kept */
    const char *token;            /* bearer token or NULL */
    long timeout_s;               /* of one try, connecting included */
    unsigned tries;               /* of one call, the first included */
    bool (*go_on)(void *context); /* may be NULL; false ends a call with RZ_E_CANCELED */
    void *context;                /* of go_on, which is asked during pauses and transfers */
} rz_client_options;

typedef struct rz_reply {
    long http;    /* 0 when no answer came */
    json_t *json; /* owned; NULL when the body is not JSON */
    char *text;   /* owned; the body as it came */
    size_t length;
    unsigned tries;
} rz_reply;

rz_client_options rz_client_options_defaults(void); /* loopback, no token, 60 s, 8 tries */

/* Prepares libcurl and libsodium; once per process, before threads start. */
RZ_MUST_CHECK rz_status rz_client_setup(void);

/* Errors  RZ_E_USAGE for a URL or a token that is none; RZ_E_NO_MEMORY. */
RZ_MUST_CHECK rz_status rz_client_open(const rz_client_options *options, rz_client **out,
                                       rz_error *error);
void rz_client_close(rz_client *client); /* accepts NULL */

/* One call. `*reply` is overwritten (what an earlier call left there is not freed) with whatever
 * came, also on failure; rz_reply_done frees it. body may be NULL.
 * Errors  the status of the HTTP code; RZ_E_BUSY when the server cannot be reached; RZ_E_CANCELED;
 *         RZ_E_TOO_LARGE for an answer above 256 MiB. */
RZ_MUST_CHECK rz_status rz_client_call(rz_client *client, const char *method, const char *path,
                                       const char *content_type, const char *body, size_t length,
                                       rz_reply *reply, rz_error *error);

void rz_reply_done(rz_reply *reply); /* accepts a zeroed reply */

/* ---- pushing claims ------------------------------------------------------------------------- */

typedef struct rz_push_counts {
    uint64_t lines, added, unchanged, superseded, refused;
    uint64_t bytes; /* acknowledged */
} rz_push_counts;

/* Called for every refused claim; `line` counts from 1 within the whole input, and `result` is the
 * server's: {"outcome": "refused", "problem": {"detail", "errors": [{"pointer", "detail"}]}}. */
typedef void rz_push_refused_fn(void *context, uint64_t line, const json_t *result);

typedef void rz_push_done_fn(void *context, const rz_push_counts *counts);

typedef struct rz_push {
    size_t batch_bytes_max, batch_lines_max; /* of one request */
    const char *state_path;                  /* where the acknowledged position is kept, or NULL */
    rz_push_refused_fn *refused;             /* may be NULL */
    void *context;                           /* of `refused` */
    rz_push_done_fn *done;                   /* may be NULL; after every acknowledged request */
} rz_push;

rz_push rz_push_defaults(void); /* 1 MiB, 1,000 lines, no state */

/* Pushes claims from a stream, NDJSON or one JSON document of at most batch_bytes_max, and returns
 * when all are acknowledged. With `state_path` and a seekable stream, an interrupted push to the
 * same server goes on where it was acknowledged last, provided that the input up to there is still
 * the same; else it begins anew, which is harmless because claims are idempotent. The state is
 * removed at the end. counts is filled also on failure. A refused claim is no failure, except that
 * of a single document.
 * Errors  as rz_client_call; RZ_E_IO. A line above batch_bytes_max is refused without being sent.
 * Durability  what `counts` calls added, unchanged or superseded is durable in the server. */
RZ_MUST_CHECK rz_status rz_client_push(rz_client *client, FILE *input, const rz_push *push,
                                       rz_push_counts *counts, rz_error *error);

#ifdef __cplusplus
}
#endif

#endif
