/* Datagrams to the supervisor, and the question to ourselves that comes before the watchdog's. */
#include "supervisor.h"

#include "log.h"

#include <errno.h>
#include <netdb.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

enum { MESSAGE_BYTES_MAX = 512, SEND_MS = 2000 };

static struct timeval from_ms(int ms)
{
    return (struct timeval){.tv_sec = ms / 1000, .tv_usec = (ms % 1000) * 1000L};
}

/* Whole microseconds of the environment; 0 when unset. */
static rz_status read_number(const char *name, unsigned long long *out, rz_error *error)
{
    const char *text = getenv(name);
    char *end = NULL;
    *out = 0;
    if (text == NULL)
        return RZ_OK;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    if (*text < '0' || *text > '9' || *end != '\0' || errno != 0)
        return rz_fail(error, RZ_E_USAGE,
                       "%s = \"%.40s\" is no number; the service manager sets it", name, text);
    *out = number;
    return RZ_OK;
}

/* The watchdog is meant for the process that WATCHDOG_PID names, where it names one. */
static rz_status read_watchdog(supervisor *s, rz_error *error)
{
    unsigned long long us = 0, pid = 0;
    rz_status status = read_number("WATCHDOG_USEC", &us, error);
    if (status == RZ_OK)
        status = read_number("WATCHDOG_PID", &pid, error);
    if (status == RZ_OK && us > 0 && (pid == 0 || pid == (unsigned long long)getpid())) {
        const unsigned long long day_ms = 86400000;
        unsigned long long ms = us / 1000;
        s->watchdog_ms = (int)(ms == 0 ? 1 : ms > day_ms ? day_ms : ms);
    }
    return status;
}

rz_status supervisor_open(supervisor *s, rz_error *error)
{
    const char *name = getenv("NOTIFY_SOCKET");
    *s = (supervisor){.fd = -1};
    if (name == NULL)
        return RZ_OK;
    size_t n = strlen(name);
    if ((name[0] != '/' && name[0] != '@') || n < 2 || n >= sizeof s->address.sun_path)
        return rz_fail(
            error, RZ_E_USAGE,
            "NOTIFY_SOCKET = \"%.120s\" is neither an absolute path nor an abstract name "
            "(@…) of at most %zu characters; unset it where no service manager listens",
            name, sizeof s->address.sun_path - 1);
    s->address.sun_family = AF_UNIX;
    memcpy(s->address.sun_path, name, n);
    /* An abstract name begins with NUL and is as long as the address says. */
    s->address_bytes = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n);
    if (name[0] == '@')
        s->address.sun_path[0] = '\0';
    else
        s->address_bytes++;
    rz_status status = read_watchdog(s, error);
    if (status != RZ_OK)
        return status;
    struct timeval limit = from_ms(SEND_MS);
    s->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (s->fd < 0 || setsockopt(s->fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) != 0)
        return rz_fail_errno(error, errno, "no socket to the service manager");
    return RZ_OK;
}

void supervisor_close(supervisor *s)
{
    if (s->fd >= 0)
        (void)close(s->fd);
    s->fd = -1;
}

void supervisor_tell(supervisor *s, const char *format, ...)
{
    char message[MESSAGE_BYTES_MAX];
    va_list args;
    if (s->fd < 0)
        return;
    va_start(args, format);
    int n = vsnprintf(message, sizeof message, format, args);
    va_end(args);
    size_t length = n < 0 ? 0 : strnlen(message, sizeof message);
    bool arrived = sendto(s->fd, message, length, MSG_NOSIGNAL, (struct sockaddr *)&s->address,
                          s->address_bytes) == (ssize_t)length;
    if (!arrived && !s->deaf)
        log_event("warning", "supervisor_deaf", "{s:s}", "detail", strerror(errno));
    s->deaf = !arrived;
}

/* ---- are we alive? -------------------------------------------------------------------------- */

static bool answers(int fd)
{
    static const char question[] = "GET /livez HTTP/1.1\r\nHost: localhost\r\n"
                                   "Connection: close\r\n\r\n";
    static const char wanted[] = "HTTP/1.1 200 ";
    char got[sizeof wanted] = "";
    size_t n = 0;
    if (send(fd, question, sizeof question - 1, MSG_NOSIGNAL) != (ssize_t)(sizeof question - 1))
        return false;
    while (n < sizeof wanted - 1) {
        ssize_t more = recv(fd, got + n, sizeof wanted - 1 - n, 0);
        if (more <= 0)
            return false;
        n += (size_t)more;
    }
    return strcmp(got, wanted) == 0;
}

bool supervisor_probe(const config *c, int port, int timeout_ms)
{
    char service[8];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list = NULL;
    struct timeval limit = from_ms(timeout_ms);
    bool alive = false;
    (void)snprintf(service, sizeof service, "%d", port);
    /* The address of "all interfaces" means this machine when one connects to it. */
    if (getaddrinfo(c->listen, service, &hints, &list) != 0)
        return false;
    int fd = socket(list->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    /* Linux heeds the time to send in connect, too. */
    if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) == 0 &&
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0 &&
        connect(fd, list->ai_addr, list->ai_addrlen) == 0)
        alive = answers(fd);
    if (fd >= 0)
        (void)close(fd);
    freeaddrinfo(list);
    return alive;
}
