/* Schema versions: the numbered files of schema/, compiled in, applied in order. Private. */
#ifndef RZ_STORE_MIGRATE_H
#define RZ_STORE_MIGRATE_H

#include "store/sqlite.h"

extern const char *const rz_migrations[]; /* generated; index i leads to user_version i + 1 */
extern const int rz_migrations_count;

/* Makes the schema the newest one (write) or checks that it is (read).
 * Errors  RZ_E_CORRUPT not a Rezept database; RZ_E_UNSUPPORTED newer, or older and read only. */
RZ_MUST_CHECK rz_status rz_migrate(rz_db *db, bool write, rz_error *error);

#endif
