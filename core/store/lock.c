/* An flock beside the database, beside the file itself where `path` is a link: two names of one
 * database must not become two writers. The database file is never opened here: closing a second
 * descriptor of it would silently drop SQLite's own locks. The lock file stays; removing it would
 * race with the next program. */
#define _XOPEN_SOURCE 700 /* realpath */
#include "store/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

static rz_status held_by_another(int fd, const char *path, const char *lock_path, rz_error *error)
{
    char text[24] = "";
    ssize_t n = pread(fd, text, sizeof text - 1, 0);
    long pid = n > 0 ? strtol(text, NULL, 10) : 0;
    char holder[40] = "another process";
    if (pid > 0)
        (void)snprintf(holder, sizeof holder, "process %ld", pid);
    return rz_fail(error, RZ_E_BUSY,
                   "%s is being written by %s (lock file %s); use `rezept push` while the daemon "
                   "runs, or stop it",
                   path, holder, lock_path);
}

rz_status rz_writer_lock(const char *path, int *fd, rz_error *error)
{
    char *real = realpath(path, NULL);
    if (real == NULL)
        return rz_fail_errno(error, errno, "cannot open %s", path);
    size_t bytes = strlen(real) + sizeof ".lock";
    char *lock_path = malloc(bytes);
    if (lock_path == NULL) {
        free(real);
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory to lock %s", path);
    }
    (void)snprintf(lock_path, bytes, "%s.lock", real);
    free(real);
    rz_status status = RZ_OK;
    char pid[24];
    int length = snprintf(pid, sizeof pid, "%ld\n", (long)getpid());
    int lock = open(lock_path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
    if (lock < 0) {
        status = rz_fail_errno(error, errno, "cannot open the lock file %s", lock_path);
    } else if (flock(lock, LOCK_EX | LOCK_NB) != 0) {
        status = errno == EWOULDBLOCK ? held_by_another(lock, path, lock_path, error)
                                      : rz_fail_errno(error, errno, "cannot lock %s", lock_path);
    } else if (ftruncate(lock, 0) != 0 || pwrite(lock, pid, (size_t)length, 0) != length) {
        status = rz_fail_errno(error, errno, "cannot write the lock file %s", lock_path);
    }
    free(lock_path);
    if (status != RZ_OK) {
        if (lock >= 0)
            (void)close(lock);
        return status;
    }
    *fd = lock;
    return RZ_OK;
}
