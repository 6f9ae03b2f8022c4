#include "listener.h"

#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum {
    ROOM_MS = 5,      /* between two looks for room */
    LOST_MS = 1000,   /* after which what was handed on and has not begun never will */
    SHORTAGE_MS = 20, /* between two tries when descriptors or memory are short */
};

struct listener {
    int fd; /* -1 after listener_stop */
    listener_calls calls;
    pthread_t thread;
    bool runs;
    atomic_bool quiet;
};

/* `out` receives the socket, `port` the port in use. */
static rz_status bind_socket(const config *c, int *out, int *port, rz_error *error)
{
    char service[8];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *list = NULL;
    int yes = 1;
    (void)snprintf(service, sizeof service, "%d", c->port);
    int code = getaddrinfo(c->listen, service, &hints, &list);
    if (code != 0)
        return rz_fail(error, RZ_E_USAGE, "listen = %s is no address: %s", c->listen,
                       gai_strerror(code));
    rz_status status = RZ_OK;
    int fd = socket(list->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) != 0 ||
        bind(fd, list->ai_addr, list->ai_addrlen) != 0 || listen(fd, c->listen_backlog) != 0) {
        if (errno == EADDRINUSE)
            status = rz_fail(error, RZ_E_BUSY,
                             "port %d of %s is in use by another program; choose one with --port "
                             "or stop that program",
                             c->port, c->listen);
        else
            status = rz_fail_errno(error, errno, "cannot listen on %s port %d", c->listen, c->port);
    }
    freeaddrinfo(list);
    struct sockaddr_storage bound = {0};
    socklen_t n = sizeof bound;
    char text[8] = "0";
    if (status == RZ_OK && (getsockname(fd, (struct sockaddr *)&bound, &n) != 0 ||
                            getnameinfo((struct sockaddr *)&bound, n, NULL, 0, text, sizeof text,
                                        NI_NUMERICSERV) != 0))
        status = rz_fail(error, RZ_E_IO, "the port in use cannot be read");
    if (status != RZ_OK) {
        if (fd >= 0)
            (void)close(fd);
        return status;
    }
    *port = atoi(text);
    *out = fd;
    return RZ_OK;
}

rz_status listener_open(const config *c, listener **out, int *port, rz_error *error)
{
    listener *l = calloc(1, sizeof *l);
    if (l == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for the listener");
    rz_status status = bind_socket(c, &l->fd, port, error);
    if (status != RZ_OK) {
        free(l);
        return status;
    }
    *out = l;
    return RZ_OK;
}

static void pause_ms(long ms)
{
    struct timespec pause = {.tv_nsec = ms * 1000000};
    (void)nanosleep(&pause, NULL);
}

/* False when there was no room for a while, or no more are wanted. */
static bool wait_for_room(listener *l, size_t *handed)
{
    for (int ms = 0; ms < LOST_MS && !atomic_load(&l->quiet); ms += ROOM_MS) {
        if (l->calls.has_room(l->calls.cls, *handed - l->calls.started(l->calls.cls)))
            return true;
        pause_ms(ROOM_MS);
    }
    *handed = l->calls.started(l->calls.cls);
    return false;
}

static void *take_connections(void *cls)
{
    listener *l = cls;
    size_t handed = 0;
    while (!atomic_load(&l->quiet)) {
        if (!wait_for_room(l, &handed))
            continue;
        struct sockaddr_storage address;
        socklen_t size = sizeof address;
        int fd = accept(l->fd, (struct sockaddr *)&address, &size);
        if (fd >= 0)
            handed += l->calls.take(l->calls.cls, fd, (struct sockaddr *)&address, size);
        else if (errno != EINTR && errno != ECONNABORTED)
            pause_ms(SHORTAGE_MS);
    }
    return NULL;
}

bool listener_start(listener *l, const listener_calls *calls)
{
    l->calls = *calls;
    l->runs = pthread_create(&l->thread, NULL, take_connections, l) == 0;
    return l->runs;
}

void listener_stop(listener *l)
{
    if (l->fd < 0)
        return;
    atomic_store(&l->quiet, true);
    (void)shutdown(l->fd, SHUT_RDWR); /* wakes the thread */
    if (l->runs)
        (void)pthread_join(l->thread, NULL);
    (void)close(l->fd);
    l->fd = -1;
}

void listener_free(listener *l)
{
    free(l);
}
