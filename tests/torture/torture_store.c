/* The store when the n-th allocation or the n-th write fails, once or from then on: each call
 * returns an error or works, nothing crashes or leaks, and the file holds the old state or the new
 * one, whole.
 *
 *   torture-store [STEP]     every STEP-th allocation, writes ten times denser; 1 tries them all
 *
 * Our allocations are wrapped by the linker, SQLite's by its own hook, its writes by defining
 * pwrite64 and fdatasync here. */
#define _DEFAULT_SOURCE /* syscall */
#include "../unit/store/store_fixture.h"
#include "allocations.h"

#include <errno.h>
#include <sqlite3.h>
#include <sys/syscall.h>

typedef enum fault { FAULT_NONE, FAULT_MEMORY, FAULT_DISK } fault;

static struct {
    fault armed;
    bool for_ever;
    long countdown; /* the call that fails */
    bool struck;
} plan;

static long step = 1;

static bool strikes(fault kind)
{
    if (plan.armed != kind)
        return false;
    if (--plan.countdown > 0)
        return false;
    if (plan.countdown < 0 && !plan.for_ever)
        return false;
    plan.struck = true;
    return true;
}

static bool allocation_fails(void)
{
    return strikes(FAULT_MEMORY);
}

/* ---- the places where faults strike --------------------------------------------------------- */

ssize_t pwrite64(int fd, const void *bytes, size_t n, off_t at);
int fdatasync(int fd);

ssize_t pwrite64(int fd, const void *bytes, size_t n, off_t at)
{
    if (strikes(FAULT_DISK)) {
        errno = plan.for_ever ? ENOSPC : EIO;
        return -1;
    }
    return (ssize_t)syscall(SYS_pwrite64, fd, bytes, n, at);
}

int fdatasync(int fd)
{
    if (strikes(FAULT_DISK)) {
        errno = EIO;
        return -1;
    }
    return (int)syscall(SYS_fdatasync, fd);
}

static sqlite3_mem_methods system_memory;

static void *sqlite_malloc(int n)
{
    return strikes(FAULT_MEMORY) ? NULL : system_memory.xMalloc(n);
}

static void *sqlite_realloc(void *memory, int n)
{
    return strikes(FAULT_MEMORY) ? NULL : system_memory.xRealloc(memory, n);
}

/* ---- what is tried --------------------------------------------------------------------------- */

static const rz_event old_events[] = {DIAGNOSIS(100, "I10")};
static const rz_event new_events[] = {DIAGNOSIS(100, "E119"), DIAGNOSIS(101, "N189")};

static void remove_work(void)
{
    static const char *const endings[] = {"", "-wal", "-shm"};
    for (int i = 0; i < 3; i++) {
        char path[160];
        (void)snprintf(path, sizeof path, "%s%s", fixture_path("work"), endings[i]);
        (void)unlink(path);
    }
}

static void copy_base(void)
{
    char from[160], bytes[4096];
    size_t n;
    (void)snprintf(from, sizeof from, "%s", fixture_path("base"));
    remove_work();
    FILE *in = fopen(from, "rb"), *out = fopen(fixture_path("work"), "wb");
    assert_non_null(in);
    assert_non_null(out);
    while ((n = fread(bytes, 1, sizeof bytes, in)) > 0)
        assert_int_equal(fwrite(bytes, 1, n, out), n);
    (void)fclose(in);
    assert_int_equal(fclose(out), 0);
}

static rz_status change(rz_store *store, bool import, rz_error *error)
{
    rz_put_outcome outcome;
    rz_claim claim = fixture_claim("c1", "p1", 110, new_events, 2);
    rz_status status =
        import ? rz_store_begin_import(store, "torture", error) : rz_store_begin(store, error);
    if (status == RZ_OK)
        status = rz_store_put(store, &claim, &outcome, error);
    claim.claim_id = "c2";
    claim.patient_id = "p2";
    claim.facility = "F2";
    if (status == RZ_OK)
        status = rz_store_put(store, &claim, &outcome, error);
    if (status == RZ_OK)
        return rz_store_commit(store, error);
    rz_store_rollback(store);
    return status;
}

/* Opens, changes, reads. *committed tells whether the change was acknowledged. */
static rz_status try_all(bool import, bool *committed, rz_error *error)
{
    rz_store *store = NULL;
    rz_store_options options = rz_store_options_defaults();
    rz_arena arena;
    rz_timeline *timeline = NULL;
    rz_patient patient;
    options.write = true;
    rz_arena_init(&arena, 1 << 20);
    *committed = false;
    rz_status status = rz_store_open(fixture_path("work"), &options, &store, error);
    if (status == RZ_OK)
        status = change(store, import, error);
    *committed = status == RZ_OK;
    if (status == RZ_OK)
        status = rz_store_patient(store, "F1", "p1", &patient, error);
    if (status == RZ_OK)
        status = rz_store_timeline(store, patient.key, RZ_DAY_MAX, RZ_RECORDED_NOW, &arena,
                                   &timeline, error);
    if (status == RZ_OK)
        assert_int_equal(timeline->n_events, 2);
    rz_arena_done(&arena);
    rz_store_close(store);
    return status;
}

static void check_state(bool committed, bool may_be_new)
{
    rz_error error = {0};
    rz_store_counts counts;
    rz_store *store = fixture_open("work", true);
    check_ok(rz_store_counts_of(store, &counts, &error));
    const char *codes =
        fixture_codes(store, fixture_patient(store, "p1"), RZ_DAY_MAX, RZ_RECORDED_NOW);
    bool is_new = strcmp(codes, "E119 N189") == 0;
    if (!is_new)
        assert_string_equal(codes, "I10");
    assert_int_equal(counts.patients, is_new ? 2 : 1);
    assert_int_equal(counts.claims, is_new ? 2 : 1);
    assert_int_equal(counts.events, is_new ? 4 : 1);
    assert_false(committed && !is_new);
    assert_false(!committed && is_new && !may_be_new);
    rz_store_close(store);

    sqlite3 *handle = NULL;
    sqlite3_stmt *statement = NULL;
    assert_int_equal(sqlite3_open(fixture_path("work"), &handle), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(handle, "PRAGMA integrity_check", -1, &statement, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    assert_string_equal((const char *)sqlite3_column_text(statement, 0), "ok");
    assert_int_equal(sqlite3_finalize(statement), SQLITE_OK);
    assert_int_equal(sqlite3_close(handle), SQLITE_OK);
}

static void loop(fault kind, bool import, bool for_ever)
{
    /* Writes are twenty times fewer than allocations. */
    long n = 1, tried = 0, stride = kind == FAULT_DISK ? (step + 9) / 10 : step;
    bool struck = true;
    for (; struck; n += stride, tried++) {
        rz_error error = {0};
        bool committed = false;
        copy_base();
        plan.armed = kind;
        plan.for_ever = for_ever;
        plan.countdown = n;
        plan.struck = false;
        rz_status status = try_all(import, &committed, &error);
        plan.armed = FAULT_NONE;
        struck = plan.struck;
        if (status != RZ_OK && error.text[0] == '\0')
            fail_msg("failure %ld: status %s without words", n, rz_status_name(status));
        if (status != RZ_OK && !struck)
            fail_msg("failure %ld did not strike, yet: %s", n, error.text);
        /* A write that failed at the very sync of the commit may be found whole by recovery. */
        check_state(committed, kind == FAULT_DISK);
    }
    if (tried < 3)
        fail_msg("only %ld failures were tried", tried);
    print_message("# %s, %s, %s: %ld of about %ld failures\n",
                  kind == FAULT_MEMORY ? "memory" : "disk", import ? "import" : "post",
                  for_ever ? "for ever" : "once", tried, n);
}

static void memory_fails_once(void **state)
{
    (void)state;
    loop(FAULT_MEMORY, false, false);
    loop(FAULT_MEMORY, true, false);
}

static void memory_fails_for_ever(void **state)
{
    (void)state;
    loop(FAULT_MEMORY, true, true);
}

static void disk_fails_once(void **state)
{
    (void)state;
    loop(FAULT_DISK, false, false);
    loop(FAULT_DISK, true, false);
}

static void disk_fails_for_ever(void **state)
{
    (void)state;
    loop(FAULT_DISK, false, true);
    loop(FAULT_DISK, true, true);
}

static int make_base(void **state)
{
    if (fixture_make(state) != 0)
        return -1;
    rz_store *store = fixture_open("base", true);
    rz_claim claim = fixture_claim("c1", "p1", 110, old_events, 1);
    fixture_post(store, &claim);
    rz_store_close(store);
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_fails_once),
        cmocka_unit_test(memory_fails_for_ever),
        cmocka_unit_test(disk_fails_once),
        cmocka_unit_test(disk_fails_for_ever),
    };
    step = argc > 1 ? strtol(argv[1], NULL, 10) : 1;
    if (step < 1 || sqlite3_config(SQLITE_CONFIG_GETMALLOC, &system_memory) != SQLITE_OK)
        return 2;
    sqlite3_mem_methods faulty = system_memory;
    faulty.xMalloc = sqlite_malloc;
    faulty.xRealloc = sqlite_realloc;
    if (sqlite3_config(SQLITE_CONFIG_MALLOC, &faulty) != SQLITE_OK)
        return 2;
    return cmocka_run_group_tests(tests, make_base, NULL);
}
