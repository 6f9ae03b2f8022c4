/* Threads take task numbers from one counter. A worker that finds nothing spins for some tens of
 * microseconds before it sleeps: products of a small model follow each other that closely. */
#define _GNU_SOURCE
#include "base/pool.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

enum { SPINS = 4000 };

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
    atomic_uint round;   /* changes when there is work */
    atomic_uint pending; /* workers that have not finished this round */
    atomic_size_t next;
    size_t n_tasks;
    rz_pool_fn *fn;
    void *context;
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

static void work(rz_pool *pool, unsigned worker)
{
    for (;;) {
        size_t task = atomic_fetch_add_explicit(&pool->next, 1, memory_order_relaxed);
        if (task >= pool->n_tasks)
            return;
        pool->fn(pool->context, task, worker);
    }
}

static void *worker_main(void *argument)
{
    const worker_start *start = argument;
    rz_pool *pool = start->pool;
    unsigned seen = 0;
    for (;;) {
        for (int spin = 0; spin < SPINS; spin++) {
            if (atomic_load_explicit(&pool->round, memory_order_acquire) != seen)
                break;
            pause_briefly();
        }
        if (atomic_load_explicit(&pool->round, memory_order_acquire) == seen) {
            (void)pthread_mutex_lock(&pool->lock);
            while (atomic_load_explicit(&pool->round, memory_order_acquire) == seen)
                (void)pthread_cond_wait(&pool->wake, &pool->lock);
            (void)pthread_mutex_unlock(&pool->lock);
        }
        seen = atomic_load_explicit(&pool->round, memory_order_acquire);
        if (atomic_load(&pool->stop))
            return NULL;
        work(pool, start->worker);
        atomic_fetch_sub_explicit(&pool->pending, 1, memory_order_release);
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

static void start_round(rz_pool *pool)
{
    (void)pthread_mutex_lock(&pool->lock);
    atomic_fetch_add_explicit(&pool->round, 1, memory_order_release);
    (void)pthread_cond_broadcast(&pool->wake);
    (void)pthread_mutex_unlock(&pool->lock);
}

void rz_pool_free(rz_pool *pool)
{
    if (pool == NULL)
        return;
    atomic_store(&pool->stop, true);
    start_round(pool);
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
    pool->n_tasks = n_tasks;
    pool->fn = fn;
    pool->context = context;
    atomic_store_explicit(&pool->next, 0, memory_order_relaxed);
    atomic_store_explicit(&pool->pending, pool->n_workers, memory_order_relaxed);
    start_round(pool);
    work(pool, 0);
    for (unsigned spin = 0; atomic_load_explicit(&pool->pending, memory_order_acquire) > 0;
         spin++) {
        if (spin < SPINS)
            pause_briefly();
        else
            (void)sched_yield();
    }
}
