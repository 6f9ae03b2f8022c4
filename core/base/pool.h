/* A pool of threads for data-parallel work. Which thread runs a task never changes a result as
 * long as tasks write to separate places, which is the rule here. */
#ifndef RZ_BASE_POOL_H
#define RZ_BASE_POOL_H

#include "base/status.h"

#include <stddef.h>

typedef struct rz_pool rz_pool;

/* task    0 … n_tasks - 1
 * worker  0 … rz_pool_size - 1, distinct for tasks that run at the same time (scratch memory) */
typedef void rz_pool_fn(void *context, size_t task, unsigned worker);

/* n_threads counts the calling thread; 0 means all cores this process may use. */
RZ_MUST_CHECK rz_status rz_pool_new(unsigned n_threads, rz_pool **out, rz_error *error);
void rz_pool_free(rz_pool *pool); /* accepts NULL */

/* Threads that work, the caller included; 1 for NULL, which is a valid pool of one. */
unsigned rz_pool_size(const rz_pool *pool);

/* Runs all tasks and returns when the last has ended. One caller at a time; not from in a task. */
void rz_pool_run(rz_pool *pool, size_t n_tasks, rz_pool_fn *fn, void *context);

/* Cores this process may use (affinity mask). */
unsigned rz_cores(void);

#endif
