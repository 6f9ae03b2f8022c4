/* The program that started the daemon and watches it: systemd with Type=notify, or what else names
 * a socket in NOTIFY_SOCKET. It is told when the daemon is ready, what it does, that it stops, and
 * (with WATCHDOG_USEC) that it still answers. Where nobody listens, every call does nothing.
 *
 * Source  sd_notify(3) of systemd 252; the protocol is small and stable, libsystemd is not needed.
 */
#ifndef REZEPTD_SUPERVISOR_H
#define REZEPTD_SUPERVISOR_H

#include "config.h"

#include <sys/socket.h>
#include <sys/un.h>

typedef struct supervisor {
    int fd; /* -1: nobody listens */
    struct sockaddr_un address;
    socklen_t address_bytes;
    int watchdog_ms; /* it wants to hear of us at least this often; 0: not at all */
    bool deaf;       /* the last message did not arrive, which was logged */
} supervisor;

/* Reads NOTIFY_SOCKET (a path, or an abstract name after '@'), WATCHDOG_USEC and WATCHDOG_PID.
 * Errors  RZ_E_USAGE naming the variable and its value; RZ_E_IO. */
RZ_MUST_CHECK rz_status supervisor_open(supervisor *s, rz_error *error);
void supervisor_close(supervisor *s);

/* One message: "READY=1", lines apart. One that does not arrive is logged and no reason to stop. */
void supervisor_tell(supervisor *s, const char *format, ...) RZ_PRINTF(2, 3);

/* True when the daemon's own listener answers GET /livez within `timeout_ms`: threads that hang or
 * are gone do not, whatever else still runs. */
bool supervisor_probe(const config *c, int port, int timeout_ms);

#endif
