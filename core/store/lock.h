/* The writer's lock: one program writes to a store. Private. */
#ifndef RZ_STORE_LOCK_H
#define RZ_STORE_LOCK_H

#include "base/status.h"

/* Takes the lock file "<file>.lock" of the existing file that `path` leads to and writes the
 * process id into it. `*fd` is new (close() frees the lock, also when the process dies). Errors
 * RZ_E_BUSY naming the holder and the remedy; RZ_E_IO, RZ_E_NOT_FOUND. */
RZ_MUST_CHECK rz_status rz_writer_lock(const char *path, int *fd, rz_error *error);

#endif
