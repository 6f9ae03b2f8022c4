/* Threads take tasks off one ticket, which holds the number of the round above that of the next
 * task. A round is over when its tasks are: a worker that the system has not let run yet is not
 * waited for, and its ticket is no longer good when it comes. One that finds nothing spins for some
 * tens of microseconds before it sleeps: products of a small model follow each other that closely.
 */
#define _GNU_SOURCE
#include "base/pool.h"

#include <assert.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

enum { SPINS = 4000 };

#define ROUND_BITS 32
#define NO_TASK    UINT32_MAX /* between rounds, while what belongs to a round is exchanged */

typedef struct worker_start {
    rz_pool *pool;
    unsigned worker;
} worker_start;

struct rz_pool {
    unsigned n_workers; /* without the caller */
    pthread_t *threads;
    worker_start *starts;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    atomic_uint_fast64_t ticket;
    atomic_size_t done; /* tasks of the round that have ended */
    /* Of the round; good for whoever takes a task after reading them. */
    atomic_size_t n_tasks;
    _Atomic(rz_pool_fn *) fn;
    _Atomic(void *) context;
    atomic_bool stop;
};

unsigned rz_cores(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0)
        return 1;
    int count = CPU_COUNT(&set);
    return count > 0 ? (unsigned)count : 1;
}

static inline void pause_briefly(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#else
    atomic_signal_fence(memory_order_seq_cst);
#endif
}

static uint32_t round_of(uint_fast64_t ticket)
{
    return (uint32_t)(ticket >> ROUND_BITS);
}

static uint_fast64_t ticket_of(uint32_t round, uint32_t task)
{
    return (uint_fast64_t)round << ROUND_BITS | task;
}

/* Runs tasks while there are any. Taking one succeeds only when the round is still the one whose
 * function and context were read: they change after the ticket went to NO_TASK. */
static void work(rz_pool *pool, unsigned worker)
{
    uint_fast64_t ticket = atomic_load_explicit(&pool->ticket, memory_order_acquire);
    for (;;) {
        size_t n = atomic_load_explicit(&pool->n_tasks, memory_order_acquire);
        rz_pool_fn *fn = atomic_load_explicit(&pool->fn, memory_order_acquire);
        void *context = atomic_load_explicit(&pool->context, memory_order_acquire);
        uint32_t task = (uint32_t)ticket;
        if (task == NO_TASK || task >= n)
            return;
        if (!atomic_compare_exchange_weak_explicit(&pool->ticket, &ticket, ticket + 1,
                                                   memory_order_acq_rel, memory_order_acquire))
            continue;
        fn(context, task, worker);
        atomic_fetch_add_explicit(&pool->done, 1, memory_order_release);
        ticket = atomic_load_explicit(&pool->ticket, memory_order_acquire);
    }
}

static uint32_t current_round(const rz_pool *pool)
{
    return round_of(atomic_load_explicit(&pool->ticket, memory_order_acquire));
}

static void *worker_main(void *argument)
{
    const worker_start *start = argument;
    rz_pool *pool = start->pool;
    uint32_t seen = 0;
    for (;;) {
        for (int spin = 0; spin < SPINS && current_round(pool) == seen; spin++)
            pause_briefly();
        if (current_round(pool) == seen) {
            (void)pthread_mutex_lock(&pool->lock);
            while (current_round(pool) == seen)
                (void)pthread_cond_wait(&pool->wake, &pool->lock);
            (void)pthread_mutex_unlock(&pool->lock);
        }
        seen = current_round(pool);
        if (atomic_load(&pool->stop))
            return NULL;
        work(pool, start->worker);
    }
}

rz_status rz_pool_new(unsigned n_threads, rz_pool **out, rz_error *error)
{
    if (n_threads == 0)
        n_threads = rz_cores();
    if (n_threads > 1024)
        return rz_fail(error, RZ_E_RANGE, "%u threads asked for, at most 1024 are allowed",
                       n_threads);
    rz_pool *pool = calloc(1, sizeof *pool);
    if (pool == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for a thread pool");
    (void)pthread_mutex_init(&pool->lock, NULL);
    (void)pthread_cond_init(&pool->wake, NULL);
    pool->threads = calloc(n_threads, sizeof *pool->threads);
    pool->starts = calloc(n_threads, sizeof *pool->starts);
    if (pool->threads == NULL || pool->starts == NULL) {
        rz_pool_free(pool);
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for %u threads", n_threads);
    }
    for (unsigned i = 0; i + 1 < n_threads; i++) {
        pool->starts[i] = (worker_start){.pool = pool, .worker = i + 1};
        if (pthread_create(&pool->threads[i], NULL, worker_main, &pool->starts[i]) != 0) {
            rz_pool_free(pool);
            return rz_fail(error, RZ_E_BUSY, "thread %u of %u could not be started", i + 2,
                           n_threads);
        }
        pool->n_workers++;
    }
    *out = pool;
    return RZ_OK;
}

static void start_round(rz_pool *pool, size_t n_tasks, rz_pool_fn *fn, void *context)
{
    uint32_t next = current_round(pool) + 1;
    atomic_store(&pool->ticket, ticket_of(next - 1, NO_TASK));
    atomic_store_explicit(&pool->n_tasks, n_tasks, memory_order_release);
    atomic_store_explicit(&pool->fn, fn, memory_order_release);
    atomic_store_explicit(&pool->context, context, memory_order_release);
    atomic_store_explicit(&pool->done, 0, memory_order_relaxed);
    (void)pthread_mutex_lock(&pool->lock);
    atomic_store_explicit(&pool->ticket, ticket_of(next, 0), memory_order_release);
    (void)pthread_cond_broadcast(&pool->wake);
    (void)pthread_mutex_unlock(&pool->lock);
}

void rz_pool_free(rz_pool *pool)
{
    if (pool == NULL)
        return;
    atomic_store(&pool->stop, true);
    start_round(pool, 0, NULL, NULL);
    for (unsigned i = 0; i < pool->n_workers; i++)
        (void)pthread_join(pool->threads[i], NULL);
    (void)pthread_cond_destroy(&pool->wake);
    (void)pthread_mutex_destroy(&pool->lock);
    free(pool->threads);
    free(pool->starts);
    free(pool);
}

unsigned rz_pool_size(const rz_pool *pool)
{
    return pool == NULL ? 1 : pool->n_workers + 1;
}

void rz_pool_run(rz_pool *pool, size_t n_tasks, rz_pool_fn *fn, void *context)
{
    if (pool == NULL || pool->n_workers == 0 || n_tasks <= 1) {
        for (size_t task = 0; task < n_tasks; task++)
            fn(context, task, 0);
        return;
    }
    assert(n_tasks < NO_TASK);
    start_round(pool, n_tasks, fn, context);
    work(pool, 0);
    for (unsigned spin = 0; atomic_load_explicit(&pool->done, memory_order_acquire) < n_tasks;
         spin++) {
        if (spin < SPINS)
            pause_briefly();
        else
            (void)sched_yield();
    }
}
