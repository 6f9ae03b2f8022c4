/* libmicrohttpd at work. One `connection` hangs off each socket (the library's socket context) and
 * lives from accept to close; its request is made when a request line has come and ends when the
 * library says so. Phases and deadlines are atomic words that the HTTP threads write and the reaper
 * reads; the list of connections and the job a request waits for are under one lock. */
#include "http.h"

#include "auth.h"
#include "guard.h"
#include "job.h"
#include "listener.h"
#include "log.h"
#include "metrics.h"
#include "problem.h"
#include "route.h"

#include "base/size.h"

#include <errno.h>
#include <fcntl.h>
#include <microhttpd.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    DROP_BYTES_MAX = 4 << 20, /* of a body that is read only to be dropped */
    KEPT_BYTES_MAX = 4096,    /* of memory that a connection keeps from one request to the next */
    /* What the library needs beside the longest head: its list of headers, and those of the answer.
     * It wipes all of a connection's memory with every request. */
    LIBRARY_BYTES = 4096,
    UNEVEN = 64 /* connections that a thread may have beyond its share */
};

typedef enum phase { PHASE_IDLE, PHASE_HEADERS, PHASE_BODY, PHASE_WAITING, PHASE_SENDING } phase;

struct connection {
    http *http;
    struct MHD_Connection *mhd;
    int fd;
    atomic_int phase;
    atomic_llong deadline_ms; /* monotonic */
    job *waiting;             /* under http->lock; one reference */
    connection *previous, *next;
    bool has_request, cut;
    /* The request under way. */
    request request;
    const char *raw_target; /* in the request's arena; NULL when memory was short */
    rz_arena memory;        /* of requests, one after the other: a small block stays between them */
    bool judged, handled, queued;
    size_t body_limit;
    const char *body_setting;
    bool body_too_large, bodies_full;
    uint64_t announced; /* Content-Length; DROP_BYTES_MAX for chunks, which announce nothing */
    size_t discarded;
};

struct http {
    server *server;
    struct MHD_Daemon *daemon;
    pthread_mutex_t lock;
    connection *first;
    atomic_size_t n_connections, n_requests, bodies_bytes;
    atomic_size_t n_started; /* connections so far, the ended ones too */
    atomic_bool stop;
    pthread_t reaper;
    bool reaper_runs;
    /* The library could accept by itself, but telling it to stop is a race between its threads that
     * ends the process (0.9.75: the call aborts when a thread has just taken the listening socket
     * out of its epoll set). */
    listener *listener;
    atomic_ullong rejected[HTTP_REJECT_COUNT];
    atomic_ullong next_id;
};

static const char *const reject_names[HTTP_REJECT_COUNT] = {
#define HTTP_REJECT_ROW(id, name) [HTTP_REJECT_##id] = name,
    HTTP_REJECT_MAP(HTTP_REJECT_ROW)
#undef HTTP_REJECT_ROW
};

static long long now_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (long long)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void pause_ms(long ms)
{
    struct timespec pause = {.tv_nsec = ms * 1000000};
    (void)nanosleep(&pause, NULL);
}

static void enter(connection *c, phase next, int seconds)
{
    atomic_store(&c->deadline_ms, now_ms() + 1000LL * seconds);
    atomic_store(&c->phase, (int)next);
}

static void reject(http *h, http_reject why)
{
    (void)atomic_fetch_add(&h->rejected[why], 1);
}

static connection *connection_of(struct MHD_Connection *mhd)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info != NULL ? info->socket_context : NULL;
}

/* ---- connections ---------------------------------------------------------------------------- */

static void end_request(connection *c)
{
    if (!c->has_request)
        return;
    if (c->request.route != NULL || c->queued)
        metrics_request(c->http->server->metrics, &c->request);
    (void)atomic_fetch_sub(&c->http->bodies_bytes, c->request.body_counted);
    c->memory = request_done(&c->request);
    if (c->memory.used_bytes > KEPT_BYTES_MAX)
        rz_arena_done(&c->memory);
    c->raw_target = NULL;
    c->has_request = false;
    (void)atomic_fetch_sub(&c->http->n_requests, 1);
}

static void on_connection(void *cls, struct MHD_Connection *mhd, void **context,
                          enum MHD_ConnectionNotificationCode code)
{
    http *h = cls;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        connection *c = calloc(1, sizeof *c);
        *context = c;
        if (c == NULL) {
            (void)atomic_fetch_add(&h->n_started, 1);
            return; /* the handler refuses connections without context */
        }
        c->http = h;
        c->mhd = mhd;
        c->fd = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
        enter(c, PHASE_HEADERS, h->server->config.header_timeout_s);
        (void)pthread_mutex_lock(&h->lock);
        c->next = h->first;
        if (h->first != NULL)
            h->first->previous = c;
        h->first = c;
        (void)atomic_fetch_add(&h->n_connections, 1);
        (void)atomic_fetch_add(&h->n_started, 1); /* second, so that none is missed in between */
        (void)pthread_mutex_unlock(&h->lock);
        return;
    }
    connection *c = *context;
    if (c == NULL)
        return;
    /* The library closes the socket after this, so the reaper never meets a reused descriptor. */
    (void)pthread_mutex_lock(&h->lock);
    if (c->previous != NULL)
        c->previous->next = c->next;
    else
        h->first = c->next;
    if (c->next != NULL)
        c->next->previous = c->previous;
    (void)atomic_fetch_sub(&h->n_connections, 1);
    (void)pthread_mutex_unlock(&h->lock);
    end_request(c);
    rz_arena_done(&c->memory);
    free(c);
    *context = NULL;
}

static void *on_target(void *cls, const char *raw, struct MHD_Connection *mhd)
{
    http *h = cls;
    connection *c = connection_of(mhd);
    if (c == NULL)
        return NULL;
    end_request(c);
    request *r = &c->request;
    memset(r, 0, sizeof *r);
    c->has_request = true;
    c->judged = c->handled = c->queued = c->body_too_large = c->bodies_full = false;
    c->body_limit = c->discarded = 0;
    c->body_setting = NULL;
    (void)atomic_fetch_add(&h->n_requests, 1);
    r->server = h->server;
    r->connection = c;
    (void)clock_gettime(CLOCK_MONOTONIC, &r->started);
    uint64_t number = atomic_fetch_add(&h->next_id, 1);
    uint64_t id = rz_hash64(&number, sizeof number, (uint64_t)h->server->started_us);
    rz_hex(r->id, (const unsigned char *)&id, sizeof id);
    r->arena = c->memory;
    r->arena.limit_bytes = h->server->config.history_bytes_max;
    rz_arena_reset(&r->arena);
    c->memory = (rz_arena){0};
    c->raw_target = rz_arena_strdup(&r->arena, raw);
    rz_buffer_init(&r->body, 0);
    enter(c, PHASE_HEADERS, h->server->config.header_timeout_s);
    return c;
}

static void on_completed(void *cls, struct MHD_Connection *mhd, void **context,
                         enum MHD_RequestTerminationCode why)
{
    http *h = cls;
    connection *c = connection_of(mhd);
    (void)why;
    *context = NULL;
    if (c == NULL)
        return;
    end_request(c);
    enter(c, PHASE_IDLE, h->server->config.idle_timeout_s);
}

/* ---- judging the head ----------------------------------------------------------------------- */

typedef struct head {
    guard guard;
    request *request;
    bool no_memory;
} head;

static enum MHD_Result on_header(void *cls, enum MHD_ValueKind kind, const char *name,
                                 size_t name_n, const char *value, size_t value_n)
{
    head *seen = cls;
    request *r = seen->request;
    const char **keep = NULL;
    (void)kind;
    if (value == NULL)
        value_n = 0;
    guard_header(&seen->guard, name, name_n, value != NULL ? value : "", value_n);
    const struct {
        const char *name;
        const char **at;
    } kept[] = {{"Content-Type", &r->content_type},
                {"Authorization", &r->authorization},
                {"Content-Encoding", &r->content_encoding},
                {"Accept-Encoding", &r->accept_encoding},
                {"If-None-Match", &r->if_none_match}};
    for (size_t i = 0; i < RZ_COUNT(kept); i++)
        if (strlen(kept[i].name) == name_n && strncasecmp(name, kept[i].name, name_n) == 0)
            keep = kept[i].at;
    if (keep != NULL && value_n > 0) {
        *keep = rz_arena_strndup(&r->arena, value, value_n);
        seen->no_memory = seen->no_memory || *keep == NULL;
    }
    return MHD_YES;
}

static void refuse_head(connection *c, guard_verdict verdict, const char *why)
{
    static const problem_kind kinds[] = {
        [GUARD_MALFORMED] = PROBLEM_MALFORMED_REQUEST,
        [GUARD_HEADERS_TOO_LARGE] = PROBLEM_HEADERS_TOO_LARGE,
        [GUARD_UNKNOWN_METHOD] = PROBLEM_METHOD_NOT_ALLOWED,
        [GUARD_MISDIRECTED] = PROBLEM_MISDIRECTED,
        [GUARD_FORBIDDEN] = PROBLEM_FORBIDDEN,
    };
    request *r = &c->request;
    problem p = {.kind = kinds[verdict], .detail = why};
    if (verdict == GUARD_HEADERS_TOO_LARGE) {
        p.setting = "header-bytes-max";
        p.limit = (int64_t)r->server->config.header_bytes_max;
    }
    problem_answer(r, &p);
    if (verdict == GUARD_UNKNOWN_METHOD)
        (void)snprintf(r->answer.allow, sizeof r->answer.allow, "GET, HEAD, POST, DELETE");
    r->answer.close = true;
    reject(c->http, HTTP_REJECT_MALFORMED);
}

/* Everything that can be said before the body: framing, route, token, size, media type. */
static void judge(connection *c, const char *method, const char *version)
{
    request *r = &c->request;
    const config *limits = &r->server->config;
    bool tokens = auth_required(r->server->auth);
    head seen = {.guard = {.header_bytes_max = limits->header_bytes_max, .local_only = !tokens},
                 .request = r};
    target t;
    rz_error error = {0};
    const char *why = NULL;
    r->content_type = "";
    (void)MHD_get_connection_values_n(c->mhd, MHD_HEADER_KIND, on_header, &seen);
    if (seen.no_memory || c->raw_target == NULL) {
        problem_no_memory(r);
        return;
    }
    c->announced = seen.guard.transfer_encodings > 0 ? DROP_BYTES_MAX : seen.guard.content_length;
    guard_verdict verdict = guard_judge(&seen.guard, method, version, c->raw_target, &why);
    if (verdict != GUARD_PASS) {
        refuse_head(c, verdict, why);
        return;
    }
    text_copy(r->method, sizeof r->method, method);
    rz_status status = target_parse(c->raw_target, &r->arena, &t, &error);
    if (status == RZ_E_NO_MEMORY)
        problem_no_memory(r);
    else if (status == RZ_E_NOT_FOUND)
        problem_answerf(r, PROBLEM_UNKNOWN_ROUTE, "%s", error.text);
    else if (status != RZ_OK)
        refuse_head(c, GUARD_MALFORMED, error.text);
    if (status != RZ_OK || !route_match(r, &t) || !auth_check(r->server->auth, r, tokens))
        return;
    if (atomic_load(&r->server->draining) && !r->route->while_draining) {
        problem_answer(r, &(problem){.kind = PROBLEM_DRAINING,
                                     .detail = "the server is shutting down; come again",
                                     .retry_after_s = 5});
        return;
    }
    if ((seen.guard.has_body || r->route->body != BODY_NONE) &&
        !route_body(r, &c->body_limit, &c->body_setting))
        return;
    if (seen.guard.content_length > c->body_limit)
        c->body_too_large = true;
    rz_buffer_init(&r->body, c->body_limit);
}

static void refuse_body(connection *c)
{
    request *r = &c->request;
    if (c->bodies_full) {
        problem_answer(r, &(problem){.kind = PROBLEM_BUSY,
                                     .detail = "the bodies of all requests together fill the "
                                               "memory set aside for them; come again",
                                     .setting = "bodies-bytes-max",
                                     .limit = (int64_t)r->server->config.bodies_bytes_max,
                                     .retry_after_s = 1});
        reject(c->http, HTTP_REJECT_BODIES_FULL);
    } else if (c->body_limit == 0) {
        problem_answerf(r, PROBLEM_BODY_TOO_LARGE, "%s %s takes no body", r->route->method,
                        r->route->pattern);
        reject(c->http, HTTP_REJECT_TOO_LARGE);
    } else {
        char detail[200];
        (void)snprintf(detail, sizeof detail,
                       "a body of this route may have %zu bytes (setting %s); send less at once",
                       c->body_limit, c->body_setting);
        problem_answer(r, &(problem){.kind = PROBLEM_BODY_TOO_LARGE,
                                     .detail = detail,
                                     .setting = c->body_setting,
                                     .limit = (int64_t)c->body_limit});
        reject(c->http, HTTP_REJECT_TOO_LARGE);
    }
    r->answer.close = true;
}

/* ---- answers -------------------------------------------------------------------------------- */

static ssize_t on_read(void *cls, uint64_t position, char *out, size_t cap)
{
    connection *c = cls;
    stream *body = c->request.answer.stream;
    (void)position;
    ssize_t n = body->read(body, out, cap);
    if (n > 0)
        enter(c, PHASE_SENDING, c->http->server->config.send_timeout_s);
    if (n == STREAM_END)
        return MHD_CONTENT_READER_END_OF_STREAM;
    return n < 0 ? MHD_CONTENT_READER_END_WITH_ERROR : n;
}

static void add_headers(const request *r, struct MHD_Response *response, bool close_it)
{
    const answer *a = &r->answer;
    char number[16];
    (void)MHD_add_response_header(response, "Content-Type", a->content_type);
    (void)MHD_add_response_header(response, "X-Request-Id", r->id);
    (void)MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    bool says_how_long = false;
    for (size_t i = 0; i < a->n_headers; i++) {
        says_how_long = says_how_long || strcmp(a->headers[i].name, "Cache-Control") == 0;
        (void)MHD_add_response_header(response, a->headers[i].name, a->headers[i].value);
    }
    if (!says_how_long)
        (void)MHD_add_response_header(response, "Cache-Control", "no-store");
    if (a->retry_after_s > 0) {
        (void)snprintf(number, sizeof number, "%d", a->retry_after_s);
        (void)MHD_add_response_header(response, "Retry-After", number);
    }
    if (a->allow[0] != '\0')
        (void)MHD_add_response_header(response, "Allow", a->allow);
    if (a->authenticate)
        (void)MHD_add_response_header(response, "WWW-Authenticate", "Bearer");
    if (close_it)
        (void)MHD_add_response_header(response, "Connection", "close");
}

static enum MHD_Result send_answer(connection *c)
{
    request *r = &c->request;
    answer *a = &r->answer;
    struct MHD_Response *response;
    if (a->stream != NULL) {
        response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 65536, on_read, c, NULL);
    } else {
        /* The text stays until the request is done, which the library says after it was sent. */
        response = MHD_create_response_from_buffer(a->length, (void *)(uintptr_t)a->body,
                                                   MHD_RESPMEM_PERSISTENT);
    }
    if (response == NULL)
        return MHD_NO;
    add_headers(r, response, a->close || atomic_load(&r->server->draining));
    enter(c, PHASE_SENDING, r->server->config.send_timeout_s);
    c->queued = true;
    enum MHD_Result result = MHD_queue_response(c->mhd, (unsigned)a->status, response);
    MHD_destroy_response(response);
    return result;
}

/* ---- the library's callback ----------------------------------------------------------------- */

/* Keeps what comes as far as it is allowed. The body of a request that is refused is read and
 * dropped while it is short: a client that is cut off while it sends never reads why. */
static enum MHD_Result take_body(connection *c, const char *bytes, size_t n)
{
    http *h = c->http;
    request *r = &c->request;
    if (r->answer.status == 0 && !c->body_too_large && !c->bodies_full) {
        size_t all = atomic_fetch_add(&h->bodies_bytes, n) + n;
        r->body_counted += n;
        rz_status status = all > h->server->config.bodies_bytes_max
                               ? RZ_E_NO_MEMORY
                               : rz_buffer_add(&r->body, bytes, n);
        c->body_too_large = status == RZ_E_TOO_LARGE;
        c->bodies_full = status == RZ_E_NO_MEMORY;
        if (status == RZ_OK)
            return MHD_YES;
    }
    c->discarded += n;
    return c->discarded > DROP_BYTES_MAX ? MHD_NO : MHD_YES;
}

static void handle(connection *c)
{
    request *r = &c->request;
    c->handled = true;
    if (c->body_too_large || c->bodies_full)
        refuse_body(c);
    else
        r->route->handle(r);
}

/* After a wait: the answer of the job, or why there is none. */
static void continue_waiting(request *r)
{
    switch (job_state_of(r->job)) {
    case JOB_FINISHED:
        r->resume(r);
        return;
    case JOB_CLIENT_GONE:
        r->answer.close = true;
        problem_answerf(r, PROBLEM_TIMED_OUT, "the client is gone");
        return;
    default:
        problem_answer(r, &(problem){.kind = PROBLEM_TIMED_OUT,
                                     .detail = "the answer was not ready within the deadline; "
                                               "come again",
                                     .setting = "request-timeout-s",
                                     .limit = r->server->config.request_timeout_s,
                                     .retry_after_s = 1});
    }
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *mhd, const char *url,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_n, void **context)
{
    connection *c = connection_of(mhd);
    (void)cls, (void)url, (void)context;
    if (c == NULL || !c->has_request)
        return MHD_NO;
    request *r = &c->request;
    if (!c->judged) {
        c->judged = true;
        judge(c, method, version);
        if (r->answer.status == 0 && c->body_too_large && c->announced > DROP_BYTES_MAX)
            refuse_body(c);
        if (r->answer.status != 0 && (c->announced > DROP_BYTES_MAX || r->answer.close)) {
            /* A body that nobody reads must not be taken for the next request. */
            r->answer.close = true;
            return send_answer(c);
        }
        enter(c, PHASE_BODY, c->http->server->config.body_timeout_s);
        return MHD_YES;
    }
    if (*upload_n > 0) {
        enum MHD_Result result = take_body(c, upload, *upload_n);
        *upload_n = 0;
        return result;
    }
    if (!c->handled && r->answer.status == 0)
        handle(c);
    else if (r->answer.status == 0 && r->job != NULL && job_state_of(r->job) != JOB_WAITING)
        continue_waiting(r);
    if (r->answer.status == 0) {
        if (r->job != NULL)
            return MHD_YES; /* suspended */
        problem_answerf(r, PROBLEM_INTERNAL, "the route gave no answer");
    }
    return send_answer(c);
}

/* ---- waiting -------------------------------------------------------------------------------- */

static void wait_for(connection *c, job *j, int timeout_s)
{
    /* Suspended first: as soon as `waiting` is set, the reaper may wake it. */
    MHD_suspend_connection(c->mhd);
    (void)pthread_mutex_lock(&c->http->lock);
    c->waiting = job_keep(j);
    enter(c, PHASE_WAITING, timeout_s);
    (void)pthread_mutex_unlock(&c->http->lock);
}

void http_wait(request *r, job *j, int timeout_s)
{
    r->job = j;
    wait_for(r->connection, j, timeout_s);
}

void http_wait_stream(request *r, job *j, int timeout_s)
{
    wait_for(r->connection, j, timeout_s);
}

void http_wake(connection *c)
{
    (void)pthread_mutex_lock(&c->http->lock);
    job *j = c->waiting;
    c->waiting = NULL;
    enter(c, PHASE_SENDING, c->http->server->config.send_timeout_s);
    (void)pthread_mutex_unlock(&c->http->lock);
    MHD_resume_connection(c->mhd);
    if (j != NULL)
        job_drop(j);
}

/* ---- the reaper ----------------------------------------------------------------------------- */

static bool client_gone(int fd)
{
    char byte;
    ssize_t n = recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return n == 0 || (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR);
}

/* Nothing was sent yet in the reading phases, so a plain refusal can still be written. */
static void cut(connection *c, phase at)
{
    static const char body[] =
        "{\"type\":\"urn:rezept:problems:request_timeout\",\"title\":\"The request did not arrive "
        "in time\",\"status\":408}\n";
    char late[400];
    int n = snprintf(late, sizeof late,
                     "HTTP/1.1 408 Request Timeout\r\nContent-Type: application/problem+json\r\n"
                     "Connection: close\r\nContent-Length: %zu\r\n\r\n%s",
                     sizeof body - 1, body);
    http_reject why = at == PHASE_HEADERS ? HTTP_REJECT_HEADER_TIMEOUT
                      : at == PHASE_BODY  ? HTTP_REJECT_BODY_TIMEOUT
                      : at == PHASE_IDLE  ? HTTP_REJECT_IDLE_TIMEOUT
                                          : HTTP_REJECT_SEND_TIMEOUT;
    if (at == PHASE_HEADERS || at == PHASE_BODY)
        (void)send(c->fd, late, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL);
    (void)shutdown(c->fd, SHUT_RDWR);
    c->cut = true;
    reject(c->http, why);
}

enum { GONE_MAX = 64 };

/* One look at all connections. Jobs are given up outside the lock, because waking takes it. */
static void reap(http *h)
{
    job *late[GONE_MAX];
    job_state reasons[GONE_MAX];
    size_t n = 0;
    long long now = now_ms();
    (void)pthread_mutex_lock(&h->lock);
    for (connection *c = h->first; c != NULL; c = c->next) {
        phase at = (phase)atomic_load(&c->phase);
        bool over = now >= atomic_load(&c->deadline_ms);
        if (at == PHASE_WAITING) {
            if (c->waiting != NULL && n < GONE_MAX && (over || client_gone(c->fd))) {
                reasons[n] = over ? JOB_TIMED_OUT : JOB_CLIENT_GONE;
                late[n++] = job_keep(c->waiting);
            }
        } else if (over && !c->cut) {
            cut(c, at);
        }
    }
    (void)pthread_mutex_unlock(&h->lock);
    for (size_t i = 0; i < n; i++) {
        if (job_abandon(late[i], reasons[i]))
            reject(h, reasons[i] == JOB_TIMED_OUT ? HTTP_REJECT_REQUEST_TIMEOUT
                                                  : HTTP_REJECT_CLIENT_GONE);
        job_drop(late[i]);
    }
}

static void *reaper_main(void *cls)
{
    http *h = cls;
    while (!atomic_load(&h->stop)) {
        pause_ms(100);
        reap(h);
    }
    return NULL;
}

/* ---- starting and stopping ------------------------------------------------------------------ */

static rz_status check_files(const config *c, rz_error *error)
{
    struct rlimit limit;
    rlim_t wanted = (rlim_t)c->connections_max + 4 * (rlim_t)c->readers_max + 64;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return rz_fail_errno(error, errno, "the limit of open files cannot be read");
    if (limit.rlim_cur < wanted) {
        limit.rlim_cur = wanted < limit.rlim_max ? wanted : limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
    if (limit.rlim_cur < wanted)
        return rz_fail(error, RZ_E_RANGE,
                       "connections-max = %d and readers-max = %zu need %llu open files, %llu are "
                       "allowed; lower them or raise the limit (ulimit -n, LimitNOFILE)",
                       c->connections_max, c->readers_max, (unsigned long long)wanted,
                       (unsigned long long)limit.rlim_cur);
    return RZ_OK;
}

/* Whether one more connection may be open. Those handed over count before their thread has seen
 * them. */
static bool has_room(void *cls, size_t coming)
{
    http *h = cls;
    return atomic_load(&h->n_connections) + coming < (size_t)h->server->config.connections_max;
}

static size_t started(void *cls)
{
    http *h = cls;
    return atomic_load(&h->n_started);
}

/* The library closes what it does not take: one too many of an address, no memory. */
static bool take(void *cls, int fd, const struct sockaddr *address, socklen_t size)
{
    http *h = cls;
    return MHD_add_connection(h->daemon, fd, address, size) == MHD_YES;
}

static struct MHD_Daemon *start_library(http *h)
{
    const config *c = &h->server->config;
    unsigned threads = c->http_threads;
    /* The listener keeps to the setting. The library divides its limit among the threads, and
     * connections are not spread evenly. */
    unsigned limit = (unsigned)c->connections_max + UNEVEN * threads;
    unsigned timeout =
        (unsigned)(c->send_timeout_s > c->body_timeout_s ? c->send_timeout_s : c->body_timeout_s);
    return MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_NO_LISTEN_SOCKET |
                                MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ITC,
                            0, NULL, NULL, on_request, h, MHD_OPTION_THREAD_POOL_SIZE,
                            threads > 1 ? threads : 0u, MHD_OPTION_CONNECTION_LIMIT, limit,
                            MHD_OPTION_PER_IP_CONNECTION_LIMIT, (unsigned)c->connections_per_ip_max,
                            MHD_OPTION_CONNECTION_TIMEOUT, timeout + 5,
                            MHD_OPTION_CONNECTION_MEMORY_LIMIT, c->header_bytes_max + LIBRARY_BYTES,
                            MHD_OPTION_STRICT_FOR_CLIENT, 0, MHD_OPTION_NOTIFY_CONNECTION,
                            on_connection, h, MHD_OPTION_NOTIFY_COMPLETED, on_completed, h,
                            MHD_OPTION_URI_LOG_CALLBACK, on_target, h, MHD_OPTION_END);
}

static void end(http *h)
{
    if (h->listener != NULL)
        listener_stop(h->listener);
    atomic_store(&h->stop, true);
    if (h->reaper_runs)
        (void)pthread_join(h->reaper, NULL);
    if (h->daemon != NULL)
        MHD_stop_daemon(h->daemon);
    listener_free(h->listener);
    (void)pthread_mutex_destroy(&h->lock);
    free(h);
}

rz_status http_start(server *s, http **out, int *port, rz_error *error)
{
    rz_status status = check_files(&s->config, error);
    if (status != RZ_OK)
        return status;
    http *h = calloc(1, sizeof *h);
    if (h == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for the listener");
    h->server = s;
    (void)pthread_mutex_init(&h->lock, NULL);
    status = listener_open(&s->config, &h->listener, port, error);
    *out = h; /* before the first request can ask for it */
    if (status == RZ_OK) {
        h->daemon = start_library(h);
        if (h->daemon != NULL)
            h->reaper_runs = pthread_create(&h->reaper, NULL, reaper_main, h) == 0;
        listener_calls calls = {.cls = h, .has_room = has_room, .started = started, .take = take};
        if (!h->reaper_runs || !listener_start(h->listener, &calls))
            status = rz_fail(error, RZ_E_INTERNAL, "the HTTP threads could not be started");
    }
    if (status != RZ_OK) {
        *out = NULL;
        end(h);
    }
    return status;
}

void http_stop_accepting(http *h)
{
    listener_stop(h->listener);
}

bool http_wait_idle(http *h, int seconds)
{
    long long until = now_ms() + 1000LL * seconds;
    while (atomic_load(&h->n_requests) > 0 && now_ms() < until)
        pause_ms(20);
    return atomic_load(&h->n_requests) == 0;
}

void http_stop(http *h)
{
    if (h == NULL)
        return;
    /* The library must not be stopped with suspended connections: all waits are over first. */
    (void)pthread_mutex_lock(&h->lock);
    for (connection *c = h->first; c != NULL; c = c->next)
        atomic_store(&c->deadline_ms, 0);
    (void)pthread_mutex_unlock(&h->lock);
    long long until = now_ms() + 2000;
    bool waiting = true;
    while (waiting && now_ms() < until) {
        pause_ms(20);
        waiting = false;
        (void)pthread_mutex_lock(&h->lock);
        for (connection *c = h->first; c != NULL; c = c->next)
            waiting = waiting || atomic_load(&c->phase) == PHASE_WAITING;
        (void)pthread_mutex_unlock(&h->lock);
    }
    end(h);
}

size_t http_connections(const http *h)
{
    return h != NULL ? atomic_load(&h->n_connections) : 0;
}

uint64_t http_rejected(const http *h, http_reject why)
{
    return h != NULL ? atomic_load(&h->rejected[why]) : 0;
}

const char *http_reject_name(http_reject why)
{
    return reject_names[why];
}
