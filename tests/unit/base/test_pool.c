#include "check.h"

#include "base/pool.h"

#include <limits.h>
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

typedef struct sum {
    unsigned round;
    atomic_uint tasks, foreign;
} sum;

static void add_task(void *context, size_t task, unsigned worker)
{
    sum *own = context;
    (void)worker;
    atomic_fetch_add(&own->tasks, (unsigned)task + 1);
    atomic_fetch_add(&own->foreign, own->round == UINT_MAX);
}

static void add_twice(void *context, size_t task, unsigned worker)
{
    add_task(context, task, worker);
    add_task(context, task, worker);
}

/* Short rounds of changing functions, sizes and contexts, on more threads than cores: a worker that
 * wakes late meets another round than it was called for. */
static void late_workers_do_no_harm(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_pool *pool = NULL;
    check_ok(rz_pool_new(3 * rz_cores() + 2, &pool, &error));
    for (unsigned round = 0; round < 20000; round++) {
        sum own = {.round = round};
        unsigned n = 1 + round % 7, twice = round % 2;
        rz_pool_run(pool, n, twice != 0 ? add_twice : add_task, &own);
        assert_int_equal(own.tasks, n * (n + 1) / 2 * (1 + twice));
        assert_int_equal(own.foreign, 0);
        own.round = UINT_MAX;
    }
    rz_pool_free(pool);
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
                                       cmocka_unit_test(late_workers_do_no_harm),
                                       cmocka_unit_test(null_is_a_pool_of_one)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
