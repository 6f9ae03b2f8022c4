#include "check.h"

#include "base/pool.h"

#include <stdatomic.h>

enum { TASKS = 1000 };

static void count_task(void *context, size_t task, unsigned worker)
{
    atomic_uint *counts = context;
    atomic_fetch_add(&counts[task], 1 + 0 * worker);
}

static void every_task_runs_once(void **state)
{
    (void)state;
    rz_error error = {0};
    for (unsigned threads = 1; threads <= 5; threads += 2) {
        rz_pool *pool = NULL;
        static atomic_uint counts[TASKS];
        memset(counts, 0, sizeof counts);
        check_ok(rz_pool_new(threads, &pool, &error));
        assert_int_equal(rz_pool_size(pool), threads);
        for (unsigned round = 1; round <= 200; round++) {
            rz_pool_run(pool, TASKS, count_task, counts);
            for (size_t i = 0; i < TASKS; i++)
                assert_int_equal(counts[i], round);
        }
        rz_pool_free(pool);
    }
}

static void null_is_a_pool_of_one(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_pool *pool = NULL;
    static atomic_uint counts[TASKS];
    rz_pool_run(NULL, TASKS, count_task, counts);
    assert_int_equal(counts[TASKS - 1], 1);
    assert_int_equal(rz_pool_size(NULL), 1);
    rz_pool_free(NULL);
    check_fails(rz_pool_new(100000, &pool, &error), RZ_E_RANGE, "100000 threads");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_task_runs_once),
                                       cmocka_unit_test(null_is_a_pool_of_one)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
