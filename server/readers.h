/* Read handles of the store, opened when needed and lent to one thread at a time. */
#ifndef REZEPTD_READERS_H
#define REZEPTD_READERS_H

#include "server.h"
#include "store/store.h"

typedef struct readers readers;

RZ_MUST_CHECK rz_status readers_new(const config *c, struct metrics *m, readers **out,
                                    rz_error *error);
void readers_free(readers *all); /* accepts NULL; every handle must be back */

/* Lends a handle; waits up to store-busy-ms for one.
 * Errors  RZ_E_BUSY naming readers-max; as rz_store_open. */
RZ_MUST_CHECK rz_status readers_take(readers *all, rz_store **out, rz_error *error);
void readers_give(readers *all, rz_store *store); /* accepts NULL */

/* How every handle of the daemon is opened; `m` counts its waits and checkpoints. */
rz_store_options store_options(const config *c, struct metrics *m, bool write);

#endif
