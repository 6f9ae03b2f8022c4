/* The store as a file: who may open it, what is refused, what survives kill -9 and a full disk, and
 * that erasing leaves no bytes. */
#define _DEFAULT_SOURCE /* syscall */
#include "store_fixture.h"

#include "store/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

static const rz_event one_event[] = {DIAGNOSIS(100, "I10")};

static void put_many(rz_store *store, const char *prefix, int n)
{
    for (int i = 0; i < n; i++) {
        char id[48];
        (void)snprintf(id, sizeof id, "%s%d", prefix, i);
        rz_claim claim = fixture_claim(id, id, 200, one_event, 1);
        fixture_put(store, &claim);
    }
}

/* Runs SQL beside the store, as another program would. */
static void outside(const char *path, const char *sql)
{
    sqlite3 *handle = NULL;
    assert_int_equal(sqlite3_open(path, &handle), SQLITE_OK);
    char *message = NULL;
    if (sqlite3_exec(handle, sql, NULL, NULL, &message) != SQLITE_OK)
        fail_msg("%s: %s", sql, message);
    assert_int_equal(sqlite3_close(handle), SQLITE_OK);
}

static int one_value(void *out, int n, char **values, char **names)
{
    (void)names;
    if (n > 0 && values[0] != NULL)
        (void)snprintf(out, 256, "%s", values[0]);
    return 0;
}

static void check_value(const char *path, const char *sql, const char *wanted)
{
    sqlite3 *handle = NULL;
    char value[256] = "";
    assert_int_equal(sqlite3_open(path, &handle), SQLITE_OK);
    assert_int_equal(sqlite3_exec(handle, sql, one_value, value, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(handle), SQLITE_OK);
    assert_string_equal(value, wanted);
}

static void a_second_writer_is_told_who(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_store *store = fixture_open("writers", true), *second = NULL;
    rz_store_options options = rz_store_options_defaults();
    options.write = true;
    char process[32];
    (void)snprintf(process, sizeof process, "process %ld", (long)getpid());
    check_fails(rz_store_open(fixture_path("writers"), &options, &second, &error), RZ_E_BUSY,
                "rezept push");
    check_fails(rz_store_open(fixture_path("writers"), &options, &second, &error), RZ_E_BUSY,
                process);
    char link_path[128];
    (void)snprintf(link_path, sizeof link_path, "%s", fixture_path("link"));
    assert_int_equal(symlink("writers.db", link_path), 0);
    check_fails(rz_store_open(link_path, &options, &second, &error), RZ_E_BUSY, process);
    rz_store *reader = fixture_open("writers", false);
    rz_claim claim = fixture_claim("c", "p", 110, one_event, 1);
    rz_put_outcome outcome;
    check_fails(rz_store_begin(reader, &error), RZ_E_USAGE, "reading only");
    check_fails(rz_store_put(reader, &claim, &outcome, &error), RZ_E_USAGE, "open batch");
    rz_store_close(reader);
    rz_store_close(store);
    store = fixture_open("writers", true); /* free again */
    rz_store_close(store);
    assert_int_equal(unlink(fixture_path("writers")), 0);
    check_fails(rz_store_open(link_path, &options, &second, &error), RZ_E_NOT_FOUND, "link.db");
}

static void a_new_store_is_closed_to_others(void **state)
{
    (void)state;
    static const char *const endings[] = {"", "-wal", "-shm", ".lock"};
    struct stat about;
    mode_t before = umask(0);
    rz_store *store = fixture_open("private", true);
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        char path[160];
        (void)snprintf(path, sizeof path, "%s%s", fixture_path("private"), endings[i]);
        assert_int_equal(stat(path, &about), 0);
        assert_int_equal(about.st_mode & 0777, 0640);
    }
    rz_store_close(store);
    (void)umask(before);
}

static void foreign_files_are_refused(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_store *store = NULL;
    rz_store_options write = rz_store_options_defaults();
    write.write = true;
    check_fails(rz_store_open(fixture_path("absent"), NULL, &store, &error), RZ_E_NOT_FOUND,
                "absent");
    check_fails(rz_store_open("/nonexistent/a.db", &write, &store, &error), RZ_E_NOT_FOUND,
                "/nonexistent");

    outside(fixture_path("foreign"), "CREATE TABLE t (x)");
    check_fails(rz_store_open(fixture_path("foreign"), &write, &store, &error), RZ_E_CORRUPT,
                "not a Rezept database");
    check_fails(rz_store_open(fixture_path("foreign"), NULL, &store, &error), RZ_E_CORRUPT,
                "not a Rezept database");

    FILE *file = fopen(fixture_path("text"), "wb");
    assert_non_null(file);
    for (int i = 0; i < 1000; i++)
        assert_true(fputs("this is no database at all\n", file) >= 0);
    assert_int_equal(fclose(file), 0);
    check_fails(rz_store_open(fixture_path("text"), &write, &store, &error), RZ_E_CORRUPT,
                "not a database");

    rz_store_close(fixture_open("newer", true));
    outside(fixture_path("newer"), "PRAGMA user_version = 99");
    check_fails(rz_store_open(fixture_path("newer"), &write, &store, &error), RZ_E_UNSUPPORTED,
                "schema 99");
    check_fails(rz_store_open(fixture_path("newer"), NULL, &store, &error), RZ_E_UNSUPPORTED,
                "schema 99");
    outside(fixture_path("newer"), "PRAGMA user_version = 0");
    check_fails(rz_store_open(fixture_path("newer"), NULL, &store, &error), RZ_E_UNSUPPORTED,
                "older schema 0");
}

static void damage_is_named(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_store *store = fixture_open("damaged", true);
    check_ok(rz_store_begin(store, &error));
    put_many(store, "p", 2000);
    check_ok(rz_store_commit(store, &error));
    rz_store_close(store);
    /* Zero everything behind the first half, page headers included. */
    struct stat info;
    assert_int_equal(stat(fixture_path("damaged"), &info), 0);
    int fd = open(fixture_path("damaged"), O_WRONLY);
    assert_true(fd >= 0);
    static const char junk[4096] = {1, 2, 3};
    for (off_t at = info.st_size / 2 / 4096 * 4096; at < info.st_size; at += 4096)
        assert_int_equal(pwrite(fd, junk, sizeof junk, at), sizeof junk);
    assert_int_equal(close(fd), 0);
    rz_store_options write = rz_store_options_defaults();
    write.write = true;
    check_fails(rz_store_open(fixture_path("damaged"), &write, &store, &error), RZ_E_CORRUPT,
                "restore a backup");
    /* A reader meets it when it comes there, with the same words. */
    rz_patient list[64];
    size_t n = 0;
    rz_patient_key after = 0;
    rz_status status = rz_store_open(fixture_path("damaged"), NULL, &store, &error);
    bool opened = status == RZ_OK;
    do {
        if (opened)
            status = rz_store_patients(store, after, NULL, list, 64, &n, &error);
        after = status == RZ_OK && n > 0 ? list[n - 1].key : after;
    } while (status == RZ_OK && n > 0);
    assert_int_equal(status, RZ_E_CORRUPT);
    if (opened)
        rz_store_close(store);
}

static void kill_in_an_import_leaves_nothing(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_store *store = fixture_open("killed", true);
    rz_claim claim = fixture_claim("c1", "p1", 110, one_event, 1);
    fixture_post(store, &claim);
    char before[65], after[65];
    check_ok(rz_store_data_hash(store, before, &error));
    rz_store_close(store);
    int ready[2];
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    if (child == 0) {
        static const rz_event other[] = {DIAGNOSIS(100, "E119")};
        store = fixture_open("killed", true);
        if (rz_store_begin_import(store, "killed", &error) != RZ_OK)
            _exit(1);
        claim = fixture_claim("c1", "p1", 110, other, 1);
        fixture_put(store, &claim);
        put_many(store, "x", 12000);
        (void)!write(ready[1], "x", 1);
        (void)pause();
        _exit(1);
    }
    char byte;
    assert_int_equal(close(ready[1]), 0);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_int_equal(kill(child, SIGKILL), 0);
    int how = 0;
    assert_int_equal(waitpid(child, &how, 0), child);
    assert_true(WIFSIGNALED(how));
    assert_int_equal(close(ready[0]), 0);

    rz_store *reader = fixture_open("killed", false); /* before the clean-up: invisible */
    rz_store_counts counts;
    check_ok(rz_store_counts_of(reader, &counts, &error));
    assert_int_equal(counts.patients, 1);
    assert_string_equal(
        fixture_codes(reader, fixture_patient(reader, "p1"), RZ_DAY_MAX, RZ_RECORDED_NOW), "I10");
    rz_store_close(reader);
    check_value(fixture_path("killed"), "SELECT count(*) > 9000 FROM claims", "1");

    store = fixture_open("killed", true);
    check_ok(rz_store_data_hash(store, after, &error));
    assert_string_equal(before, after);
    rz_patient list[4];
    size_t n = 0;
    check_ok(rz_store_patients(store, 0, NULL, list, 4, &n, &error));
    assert_int_equal(n, 1);
    check_ok(rz_store_counts_of(store, &counts, &error));
    assert_int_equal(counts.wal_bytes, 0);
    claim = fixture_claim("c1", "p1", 110, one_event, 1);
    assert_int_equal(fixture_post(store, &claim), RZ_PUT_UNCHANGED);
    rz_store_close(store);
    const char *path = fixture_path("killed");
    check_value(path, "SELECT count(*) FROM claims", "1");
    check_value(path, "SELECT count(*) FROM events", "1");
    check_value(path, "SELECT count(*) FROM patients", "1");
    check_value(path, "SELECT count(*) FROM batches", "1");
    check_value(path, "PRAGMA integrity_check", "ok");
}

/* SQLite's writes go through here: a disk that is full on demand. */
static bool disk_is_full;

ssize_t pwrite64(int fd, const void *bytes, size_t n, off_t at);

ssize_t pwrite64(int fd, const void *bytes, size_t n, off_t at)
{
    if (disk_is_full) {
        errno = ENOSPC;
        return -1;
    }
    return (ssize_t)syscall(SYS_pwrite64, fd, bytes, n, at);
}

static void check_full(const char *name, bool import, int n_before)
{
    rz_error error = {0};
    rz_put_outcome outcome;
    rz_store_counts counts;
    rz_store *store = fixture_open(name, true);
    rz_claim claim = fixture_claim("c1", "p1", 110, one_event, 1);
    fixture_post(store, &claim);
    rz_store *reader = fixture_open(name, false);
    if (import)
        check_ok(rz_store_begin_import(store, "full", &error));
    else
        check_ok(rz_store_begin(store, &error));
    put_many(store, "before", n_before);
    disk_is_full = true;
    rz_status status = RZ_OK;
    for (int i = 0; i < 15000 && status == RZ_OK; i++) {
        char id[48];
        (void)snprintf(id, sizeof id, "after%d", i);
        claim = fixture_claim(id, id, 200, one_event, 1);
        status = rz_store_put(store, &claim, &outcome, &error);
    }
    if (status == RZ_OK)
        status = rz_store_commit(store, &error);
    else
        assert_int_equal(rz_store_commit(store, NULL), RZ_E_DISK_FULL);
    assert_int_equal(status, RZ_E_DISK_FULL);
    assert_non_null(strstr(error.text, "no space left"));
    rz_error_clear(&error);
    check_ok(rz_store_counts_of(reader, &counts, &error));
    assert_int_equal(counts.patients, 1);
    if (import) /* its remains cannot be removed yet, which the next writer is told */
        check_fails(rz_store_begin(store, &error), RZ_E_DISK_FULL, "unfinished import");
    disk_is_full = false; /* space returns: the same handle goes on */
    claim = fixture_claim("c2", "p2", 110, one_event, 1);
    fixture_post(store, &claim);
    check_ok(rz_store_counts_of(reader, &counts, &error));
    assert_int_equal(counts.patients, 2);
    rz_store_close(reader);
    rz_store_close(store);
    check_value(fixture_path(name), "PRAGMA integrity_check", "ok");
    check_value(fixture_path(name), "SELECT count(*) FROM claims", "2");
}

static void a_full_disk_costs_only_the_batch(void **state)
{
    (void)state;
    check_full("full-post", false, 10);
    check_full("full-import", true, 10500);
}

static bool file_contains(const char *path, const char *text)
{
    bool found = false;
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        return false;
    char *bytes = malloc(1 << 24);
    assert_non_null(bytes);
    size_t n = fread(bytes, 1, 1 << 24, file), length = strlen(text);
    assert_true(n < 1 << 24);
    for (size_t i = 0; i + length <= n && !found; i++)
        found = memcmp(bytes + i, text, length) == 0;
    free(bytes);
    (void)fclose(file);
    return found;
}

static void erasing_leaves_no_bytes(void **state)
{
    (void)state;
    rz_error error = {0};
    char log_path[160];
    rz_store *store = fixture_open("erased", true);
    /* Among many patients, so that pages have been split and moved. */
    for (int round = 0; round < 3; round++) {
        char prefix[16];
        (void)snprintf(prefix, sizeof prefix, "r%d-", round);
        check_ok(rz_store_begin(store, &error));
        put_many(store, prefix, 700);
        rz_claim claim = fixture_claim("claim-of-Taro", "Taro-Yamada-1234", 110, one_event, 1);
        claim.known_day += round;
        fixture_put(store, &claim);
        check_ok(rz_store_commit(store, &error));
    }
    rz_patient_key key = fixture_patient(store, "Taro-Yamada-1234");
    rz_store_counts before, after;
    check_ok(rz_store_counts_of(store, &before, &error));
    check_ok(rz_store_erase_patient(store, key, &error));
    check_ok(rz_store_counts_of(store, &after, &error));
    assert_int_equal(after.patients, before.patients - 1);
    assert_int_equal(after.claims, before.claims - 1);
    assert_int_equal(after.events, before.events - 1);
    (void)snprintf(log_path, sizeof log_path, "%s-wal", fixture_path("erased"));
    assert_true(file_contains(fixture_path("erased"), "r1-77"));
    assert_false(file_contains(fixture_path("erased"), "Taro-Yamada"));
    assert_false(file_contains(log_path, "Taro-Yamada"));
    assert_false(file_contains(fixture_path("erased"), "claim-of-Taro"));
    rz_patient patient;
    check_fails(rz_store_patient(store, NULL, "Taro-Yamada-1234", &patient, &error), RZ_E_NOT_FOUND,
                "no such patient");
    check_fails(rz_store_erase_patient(store, key, &error), RZ_E_NOT_FOUND, "no such patient");
    /* The key of an erased patient is not given to another, even if it was the last one. */
    rz_claim claim = fixture_claim("last", "last-patient", 110, one_event, 1);
    fixture_post(store, &claim);
    key = fixture_patient(store, "last-patient");
    check_ok(rz_store_erase_patient(store, key, &error));
    claim.patient_id = "next-patient";
    fixture_post(store, &claim);
    assert_true(fixture_patient(store, "next-patient") > key);
    rz_store_close(store);
    check_value(fixture_path("erased"), "PRAGMA integrity_check", "ok");
    check_value(fixture_path("erased"), "SELECT count(*) FROM batches WHERE source = 'erase'", "2");
}

typedef struct watched {
    int waits, checkpoints;
    double seconds;
} watched;

static void count_wait(void *context)
{
    ((watched *)context)->waits++;
}

static void count_checkpoint(void *context, double seconds)
{
    ((watched *)context)->checkpoints++;
    ((watched *)context)->seconds += seconds;
}

/* Who counts is told of waiting once a lock, however long it takes, and of every checkpoint: of
 * those that a commit makes when the log has grown, and of those that are asked for. */
static void waits_and_checkpoints_are_told(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_store *store = NULL;
    watched w = {0};
    bool began = false;
    rz_store_counts counts;
    rz_store_options options = rz_store_options_defaults();
    options.write = true;
    options.busy_timeout_ms = 120;
    options.busy = count_wait;
    options.checkpointed = count_checkpoint;
    options.watch_context = &w;
    check_ok(rz_store_open(fixture_path("watched"), &options, &store, &error));
    rz_claim claim = fixture_claim("c1", "p1", 110, one_event, 1);
    fixture_post(store, &claim);
    assert_int_equal(w.checkpoints, 0);
    check_ok(rz_store_begin(store, &error));
    put_many(store, "large", 120000); /* more than 16 MB of log */
    check_ok(rz_store_commit(store, &error));
    assert_int_equal(w.checkpoints, 1);
    assert_int_equal(w.waits, 0);
    assert_true(w.seconds > 0.0);

    rz_store *reader = fixture_open("watched", false);
    check_ok(rz_store_view(reader, &began, &error));
    check_ok(rz_store_counts_of(reader, &counts, &error));
    claim = fixture_claim("c2", "p1", 120, one_event, 1);
    fixture_post(store, &claim);
    struct timespec start, end;
    (void)clock_gettime(CLOCK_MONOTONIC, &start);
    rz_store_tidy(store); /* waits for the reader, in vain */
    (void)clock_gettime(CLOCK_MONOTONIC, &end);
    double waited =
        (double)(end.tv_sec - start.tv_sec) + 1e-9 * (double)(end.tv_nsec - start.tv_nsec);
    assert_int_equal(w.waits, 1);
    assert_true(waited >= 0.12);
    assert_int_equal(w.checkpoints, 1);
    rz_store_view_end(reader, began);
    rz_store_close(reader);
    rz_store_tidy(store);
    assert_int_equal(w.waits, 1);
    assert_int_equal(w.checkpoints, 2);
    check_ok(rz_store_counts_of(store, &counts, &error));
    assert_int_equal(counts.wal_bytes, 0);
    rz_store_close(store);
}

static void pseudonyms_at_every_door(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_store *store = NULL;
    const unsigned char key[32] = {1, 2, 3}, other[32] = {9};
    rz_store_options options = rz_store_options_defaults();
    options.write = true;
    options.pseudonym_key = key;
    check_ok(rz_store_open(fixture_path("pseudonym"), &options, &store, &error));
    rz_claim claim = fixture_claim("c1", "Hanako-Sato", 110, one_event, 1);
    assert_int_equal(fixture_post(store, &claim), RZ_PUT_ADDED);
    assert_int_equal(fixture_post(store, &claim), RZ_PUT_UNCHANGED);
    rz_patient patient;
    check_ok(rz_store_patient(store, "F1", "Hanako-Sato", &patient, &error));
    assert_int_equal(strlen(patient.id), 32);
    rz_store_close(store);
    assert_false(file_contains(fixture_path("pseudonym"), "Hanako"));

    options.pseudonym_key = other;
    check_fails(rz_store_open(fixture_path("pseudonym"), &options, &store, &error), RZ_E_CONFLICT,
                "another pseudonym_key");
    options.pseudonym_key = NULL;
    check_fails(rz_store_open(fixture_path("pseudonym"), &options, &store, &error), RZ_E_CONFLICT,
                "pseudonym_key");
    /* A reader needs no key for histories, only for ids. */
    rz_store *reader = fixture_open("pseudonym", false);
    assert_string_equal(fixture_codes(reader, patient.key, RZ_DAY_MAX, RZ_RECORDED_NOW), "I10");
    check_fails(rz_store_patient(reader, NULL, "Hanako-Sato", &patient, &error), RZ_E_CONFLICT,
                "set pseudonym_key");
    rz_store_close(reader);
    rz_store_close(fixture_open("plain", true));
    options.pseudonym_key = key;
    check_fails(rz_store_open(fixture_path("plain"), &options, &store, &error), RZ_E_CONFLICT,
                "plain patient ids");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_second_writer_is_told_who),
        cmocka_unit_test(a_new_store_is_closed_to_others),
        cmocka_unit_test(foreign_files_are_refused),
        cmocka_unit_test(damage_is_named),
        cmocka_unit_test(kill_in_an_import_leaves_nothing),
        cmocka_unit_test(a_full_disk_costs_only_the_batch),
        cmocka_unit_test(erasing_leaves_no_bytes),
        cmocka_unit_test(waits_and_checkpoints_are_told),
        cmocka_unit_test(pseudonyms_at_every_door),
    };
    return cmocka_run_group_tests(tests, fixture_make, NULL);
}
