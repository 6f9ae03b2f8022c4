/* Brings a file to the newest schema, one migration per transaction, and refuses what it does not
 * know. The application id keeps us from writing into another program's database. */
#include "store/migrate.h"

#include <stdio.h>

enum { APPLICATION_ID = 0x525a5054 }; /* "RZPT" */

static rz_status apply(rz_db *db, int index, rz_error *error)
{
    char pragma[96];
    (void)snprintf(pragma, sizeof pragma, "PRAGMA application_id = %d; PRAGMA user_version = %d",
                   APPLICATION_ID, index + 1);
    rz_status status = rz_db_execute(db, "BEGIN IMMEDIATE", error);
    if (status != RZ_OK)
        return status;
    status = rz_db_execute(db, rz_migrations[index], error);
    if (status == RZ_OK)
        status = rz_db_execute(db, pragma, error);
    if (status == RZ_OK)
        status = rz_db_execute(db, "COMMIT", error);
    if (status != RZ_OK) {
        rz_error_prefix(error, "migration %d: ", index + 1);
        rz_db_rollback(db);
    }
    return status;
}

rz_status rz_migrate(rz_db *db, bool write, rz_error *error)
{
    int64_t application = 0, version = 0, tables = 0;
    rz_status status = rz_db_query_int(db, "PRAGMA application_id", &application, error);
    if (status == RZ_OK)
        status = rz_db_query_int(db, "PRAGMA user_version", &version, error);
    if (status == RZ_OK)
        status = rz_db_query_int(db, "SELECT count(*) FROM sqlite_schema", &tables, error);
    if (status != RZ_OK)
        return status;
    bool empty = application == 0 && version == 0 && tables == 0;
    if (application != APPLICATION_ID && !(empty && write))
        return rz_fail(error, RZ_E_CORRUPT, "%s is not a Rezept database (application id %lld)",
                       rz_db_path(db), (long long)application);
    if (version > rz_migrations_count)
        return rz_fail(error, RZ_E_UNSUPPORTED,
                       "%s has schema %lld, this program knows up to %d; use the newer Rezept",
                       rz_db_path(db), (long long)version, rz_migrations_count);
    if (version < rz_migrations_count && !write)
        return rz_fail(error, RZ_E_UNSUPPORTED,
                       "%s has the older schema %lld of %d; the next program that writes to it "
                       "(rezeptd, rezept-train import) upgrades it",
                       rz_db_path(db), (long long)version, rz_migrations_count);
    for (int i = version < 0 ? 0 : (int)version; i < rz_migrations_count && status == RZ_OK; i++)
        status = apply(db, i, error);
    return status;
}
