/* The listener: connections, deadlines and bodies. The only file that meets libmicrohttpd.
 *
 * Every connection is in one phase with one deadline; a reaper cuts what is over it, because the
 * library's own timer restarts with every byte and stops while a request waits. */
#ifndef REZEPTD_HTTP_H
#define REZEPTD_HTTP_H

#include "request.h"
#include "server.h"

typedef struct http http;
typedef struct connection connection;

/* Why connections and requests are turned away before a handler sees them. */
#define HTTP_REJECT_MAP(X)                                                                         \
    X(HEADER_TIMEOUT, "header_timeout")                                                            \
    X(BODY_TIMEOUT, "body_timeout")                                                                \
    X(IDLE_TIMEOUT, "idle_timeout")                                                                \
    X(SEND_TIMEOUT, "send_timeout")                                                                \
    X(REQUEST_TIMEOUT, "request_timeout")                                                          \
    X(CLIENT_GONE, "client_gone")                                                                  \
    X(MALFORMED, "malformed")                                                                      \
    X(TOO_LARGE, "too_large")                                                                      \
    X(BODIES_FULL, "bodies_full")

typedef enum http_reject {
#define HTTP_REJECT_ENUM(id, name) HTTP_REJECT_##id,
    HTTP_REJECT_MAP(HTTP_REJECT_ENUM)
#undef HTTP_REJECT_ENUM
        HTTP_REJECT_COUNT
} http_reject;

/* Binds and begins to answer. `port` receives the port in use.
 * Errors  RZ_E_BUSY the port is taken (names it and the remedy); RZ_E_USAGE for an address that is
 *         none; RZ_E_RANGE when connections-max does not fit the limit of open files. */
RZ_MUST_CHECK rz_status http_start(server *s, http **out, int *port, rz_error *error);
/* Accepts nothing more; what is connected goes on. */
void http_stop_accepting(http *h);
/* Waits until no request is under way, at most so long; true when none is. */
bool http_wait_idle(http *h, int seconds);
/* Ends. Requests that still wait are answered 503. */
void http_stop(http *h);

/* The request waits from now on; the caller then hands `j` to a worker. r->resume makes the answer.
 * Takes one reference of `j`. Call from a handler only, as its last act apart from the hand-over.
 * timeout_s  of the wait */
void http_wait(request *r, struct job *j, int timeout_s);
/* The same from the `read` of a stream. */
void http_wait_stream(request *r, struct job *j, int timeout_s);
/* Continues a waiting request; job.c calls it exactly once per wait. */
void http_wake(connection *c);

size_t http_connections(const http *h);
uint64_t http_rejected(const http *h, http_reject why);
const char *http_reject_name(http_reject why);

#endif
