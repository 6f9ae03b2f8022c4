/* What is acknowledged survives kill -9, and readers see each batch whole while it is written.
 *
 *   torture-store-kill [CYCLES]     default 20 kills */
#define _DEFAULT_SOURCE /* usleep */
#include "../unit/store/store_fixture.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>

static long cycles = 20;

static const rz_event pair_a[] = {DIAGNOSIS(100, "I10"), DIAGNOSIS(101, "I10")};
static const rz_event pair_b[] = {DIAGNOSIS(100, "E119"), DIAGNOSIS(101, "E119"),
                                  DIAGNOSIS(102, "E119")};

/* Posts claims first, first + 1, … for ever and tells each one after its commit. */
static void post_for_ever(int first, int acknowledge)
{
    rz_store *store = fixture_open("killed", true);
    for (int i = first;; i++) {
        char id[32];
        (void)snprintf(id, sizeof id, "c%d", i);
        rz_claim claim = fixture_claim(id, id, 110, pair_a, 2);
        fixture_post(store, &claim);
        if (write(acknowledge, &i, sizeof i) != sizeof i)
            _exit(1);
    }
}

static void acknowledged_claims_survive(void **state)
{
    (void)state;
    rz_error error = {0};
    int last = -1, seen;
    rz_store_close(fixture_open("killed", true));
    for (long cycle = 0; cycle < cycles; cycle++) {
        int channel[2];
        assert_int_equal(pipe(channel), 0);
        pid_t child = fork();
        if (child == 0)
            post_for_ever(last + 1, channel[1]);
        assert_int_equal(close(channel[1]), 0);
        assert_int_equal(read(channel[0], &seen, sizeof seen), sizeof seen);
        (void)usleep((useconds_t)(cycle * 7919 % 20000));
        assert_int_equal(kill(child, SIGKILL), 0);
        assert_int_equal(waitpid(child, NULL, 0), child);
        do
            last = seen;
        while (read(channel[0], &seen, sizeof seen) == sizeof seen);
        assert_int_equal(close(channel[0]), 0);

        rz_store *store = fixture_open("killed", true);
        rz_store_counts counts;
        check_ok(rz_store_counts_of(store, &counts, &error));
        /* One more may have been committed without having been told. */
        if (counts.claims != last + 1 && counts.claims != last + 2)
            fail_msg("cycle %ld: %lld claims, %d acknowledged", cycle, (long long)counts.claims,
                     last + 1);
        assert_int_equal(counts.events, 2 * counts.claims);
        last = (int)counts.claims - 1;
        rz_store_close(store);
    }
    print_message("# %ld kills, %d claims\n", cycles, last + 1);
}

static atomic_bool finished;
static atomic_long histories_read, torn;

static void *read_on(void *path)
{
    rz_error error = {0};
    rz_store *store = NULL;
    rz_arena arena;
    rz_arena_init(&arena, 1 << 20);
    rz_status status = rz_store_open(path, NULL, &store, &error);
    while (status == RZ_OK && !atomic_load(&finished)) {
        rz_timeline *timeline = NULL;
        status =
            rz_store_timeline(store, 1, RZ_DAY_MAX, RZ_RECORDED_NOW, &arena, &timeline, &error);
        if (status != RZ_OK)
            break;
        size_t wanted = strcmp(timeline->events[0].code, "I10") == 0 ? 2 : 3;
        for (size_t i = 1; i < timeline->n_events; i++)
            if (strcmp(timeline->events[i].code, timeline->events[0].code) != 0)
                wanted = 0;
        if (timeline->n_events != wanted)
            atomic_fetch_add(&torn, 1);
        atomic_fetch_add(&histories_read, 1);
        rz_arena_reset(&arena);
        (void)usleep(200); /* a log is emptied in the gaps between readers */
    }
    if (status != RZ_OK)
        atomic_fetch_add(&torn, 1000000);
    rz_arena_done(&arena);
    rz_store_close(store);
    return NULL;
}

static void readers_see_batches_whole(void **state)
{
    (void)state;
    rz_error error = {0};
    pthread_t readers[3];
    char path[128];
    (void)snprintf(path, sizeof path, "%s", fixture_path("busy"));
    rz_store *store = fixture_open("busy", true);
    rz_claim claim = fixture_claim("c1", "p1", 110, pair_a, 2);
    fixture_post(store, &claim);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(pthread_create(&readers[i], NULL, read_on, path), 0);
    }
    for (int i = 0; i < 60; i++) {
        claim = i % 2 == 0 ? fixture_claim("c1", "p1", 110, pair_b, 3)
                           : fixture_claim("c1", "p1", 110, pair_a, 2);
        if (i % 10 == 9) {
            check_ok(rz_store_begin_import(store, "busy", &error));
            assert_int_equal(fixture_put(store, &claim), RZ_PUT_SUPERSEDED);
            rz_store_rollback(store);
            check_ok(rz_store_begin_import(store, "busy", &error));
            assert_int_equal(fixture_put(store, &claim), RZ_PUT_SUPERSEDED);
            check_ok(rz_store_commit(store, &error));
        } else {
            assert_int_equal(fixture_post(store, &claim), RZ_PUT_SUPERSEDED);
        }
    }
    atomic_store(&finished, true);
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_join(readers[i], NULL), 0);
    assert_int_equal(atomic_load(&torn), 0);
    assert_true(atomic_load(&histories_read) > 0);
    print_message("# %ld histories read beside 60 batches\n", atomic_load(&histories_read));
    rz_store_close(store);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(acknowledged_claims_survive),
        cmocka_unit_test(readers_see_batches_whole),
    };
    if (argc > 1)
        cycles = strtol(argv[1], NULL, 10);
    return cmocka_run_group_tests(tests, fixture_make, NULL);
}
