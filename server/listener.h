/* The listening socket, and a thread that takes its connections and hands them on. When as many are
 * open as may be, further ones wait in the kernel's backlog. */
#ifndef REZEPTD_LISTENER_H
#define REZEPTD_LISTENER_H

#include "config.h"

#include <sys/socket.h>

typedef struct listener listener;

/* What the listener asks of those it works for, in its thread. */
typedef struct listener_calls {
    void *cls;
    /* Whether one more may be open beside those handed on but not yet begun with. */
    bool (*has_room)(void *cls, size_t coming);
    /* How many have been begun with so far, the ended ones too. */
    size_t (*started)(void *cls);
    /* Takes the connection over, also when it closes it at once (false). */
    bool (*take)(void *cls, int fd, const struct sockaddr *address, socklen_t size);
} listener_calls;

/* Binds; connections are taken from listener_start on. `port` receives the port in use.
 * Errors  RZ_E_BUSY the port is taken (names it and the remedy); RZ_E_USAGE for an address that is
 *         none. */
RZ_MUST_CHECK rz_status listener_open(const config *c, listener **out, int *port, rz_error *error);
/* False when there is no thread to be had. */
RZ_MUST_CHECK bool listener_start(listener *l, const listener_calls *calls);
/* Takes no more and closes the socket; what was handed on goes on. A second call does nothing. */
void listener_stop(listener *l);
/* After listener_stop; NULL is nothing. */
void listener_free(listener *l);

#endif
