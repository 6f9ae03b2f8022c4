/* Queue, group commit and the thread. */
#include "writer.h"

#include "changes.h"
#include "log.h"
#include "readers.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

enum { GROUP_MAX = 64 };

struct writer {
    const config *config;
    changes *history;
    rz_store *store;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    write_op *first, *last;
    size_t depth;
    bool stop;
    atomic_ullong commits, changes;
    atomic_bool unhealthy;
};

static void note(writer *w, rz_status status, const rz_error *error)
{
    if (status == RZ_OK || status == RZ_E_NOT_FOUND || status == RZ_E_CONFLICT ||
        status == RZ_E_INVALID) {
        atomic_store(&w->unhealthy, false);
        return;
    }
    if (!atomic_exchange(&w->unhealthy, true))
        log_event("error", "write_failed", "{s:s, s:s}", "status", rz_status_name(status), "detail",
                  error->text);
}

/* Runs operations inside one batch. On failure nothing of them is kept. */
static rz_status run_batch(writer *w, write_op *const *ops, size_t n, rz_error *error)
{
    rz_status status = rz_store_begin(w->store, error);
    if (status != RZ_OK)
        return status;
    for (size_t i = 0; i < n && status == RZ_OK; i++)
        status = ops[i]->run(ops[i], w->store, error);
    if (status == RZ_OK)
        status = rz_store_commit(w->store, error);
    if (status != RZ_OK)
        rz_store_rollback(w->store);
    else
        (void)atomic_fetch_add(&w->commits, 1);
    return status;
}

static void run_group(writer *w, write_op *const *ops, size_t n)
{
    rz_error error = {0};
    rz_status status = run_batch(w, ops, n, &error);
    for (size_t i = 0; i < n; i++) {
        ops[i]->status = status;
        ops[i]->error = error;
        if (status != RZ_OK && n > 1) {
            /* One of them broke the batch for all: each gets its own. */
            rz_error_clear(&ops[i]->error);
            ops[i]->status = run_batch(w, &ops[i], 1, &ops[i]->error);
        }
        note(w, ops[i]->status, &ops[i]->error);
    }
}

static void run_alone(writer *w, write_op *op)
{
    rz_error_clear(&op->error);
    op->status = op->run(op, w->store, &op->error);
    note(w, op->status, &op->error);
}

static struct timespec after_ms(int ms)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_sec += ms / 1000;
    t.tv_nsec += (long)(ms % 1000) * 1000000;
    if (t.tv_nsec >= 1000000000) {
        t.tv_sec++;
        t.tv_nsec -= 1000000000;
    }
    return t;
}

/* Under the lock: waits while the queue is empty, or holds only what may gather. */
static void await_work(writer *w)
{
    bool due = false;
    while (w->first == NULL && !w->stop)
        (void)pthread_cond_wait(&w->wake, &w->lock);
    while (!due && !w->stop && w->first->gather_ms > 0 && w->first->next == NULL)
        due = pthread_cond_timedwait(&w->wake, &w->lock, &w->first->due) == ETIMEDOUT;
}

/* Takes the next group: neighbours that go into a batch, or one that does not. */
static size_t take(writer *w, write_op **ops)
{
    size_t n = 0;
    (void)pthread_mutex_lock(&w->lock);
    await_work(w);
    while (w->first != NULL && n < GROUP_MAX &&
           (n == 0 || (ops[0]->in_batch && w->first->in_batch))) {
        write_op *op = w->first;
        w->first = op->next;
        w->depth--;
        ops[n++] = op;
    }
    if (w->first == NULL)
        w->last = NULL;
    (void)pthread_mutex_unlock(&w->lock);
    return n;
}

static void *writer_main(void *argument)
{
    writer *w = argument;
    write_op *ops[GROUP_MAX] = {0};
    for (size_t n = take(w, ops); n > 0; n = take(w, ops)) {
        if (ops[0]->in_batch)
            run_group(w, ops, n);
        else
            run_alone(w, ops[0]);
        changes_publish(w->history); /* before anyone is told; also of what failed: it is safe */
        for (size_t i = 0; i < n; i++) {
            if (!ops[i]->derived)
                (void)atomic_fetch_add(&w->changes, 1);
            job_finish(&ops[i]->job);
            job_drop(&ops[i]->job);
        }
    }
    return NULL;
}

static void on_change(void *context, const char *id)
{
    changes_note(context, id);
}

rz_status writer_new(const config *c, struct metrics *m, changes *history, writer **out,
                     rz_error *error)
{
    writer *w = calloc(1, sizeof *w);
    if (w == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for the writer");
    rz_store_options options = store_options(c, m, true);
    options.changed = on_change;
    options.changed_context = history;
    rz_status status = rz_store_open(c->db, &options, &w->store, error);
    if (status != RZ_OK) {
        free(w);
        return status;
    }
    w->config = c;
    w->history = history;
    (void)pthread_mutex_init(&w->lock, NULL);
    pthread_condattr_t monotonic;
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&w->wake, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
    if (pthread_create(&w->thread, NULL, writer_main, w) != 0) {
        rz_store_close(w->store);
        free(w);
        return rz_fail(error, RZ_E_BUSY, "the writer thread could not be started");
    }
    *out = w;
    return RZ_OK;
}

void writer_free(writer *w)
{
    if (w == NULL)
        return;
    (void)pthread_mutex_lock(&w->lock);
    w->stop = true;
    (void)pthread_cond_signal(&w->wake);
    (void)pthread_mutex_unlock(&w->lock);
    (void)pthread_join(w->thread, NULL);
    rz_store_close(w->store);
    (void)pthread_cond_destroy(&w->wake);
    (void)pthread_mutex_destroy(&w->lock);
    free(w);
}

rz_status writer_add(writer *w, write_op *op, rz_error *error)
{
    rz_status status = RZ_OK;
    (void)pthread_mutex_lock(&w->lock);
    if (w->stop || w->depth >= w->config->writes_queued_max) {
        status =
            rz_fail(error, RZ_E_QUEUE_FULL,
                    "%zu requests wait to be written (writes-queued-max); come again", w->depth);
    } else {
        (void)job_keep(&op->job);
        op->next = NULL;
        op->due = after_ms(op->gather_ms);
        if (w->last != NULL)
            w->last->next = op;
        else
            w->first = op;
        w->last = op;
        w->depth++;
        (void)pthread_cond_signal(&w->wake);
    }
    (void)pthread_mutex_unlock(&w->lock);
    return status;
}

size_t writer_depth(writer *w)
{
    (void)pthread_mutex_lock(&w->lock);
    size_t depth = w->depth;
    (void)pthread_mutex_unlock(&w->lock);
    return depth;
}

uint64_t writer_commits(writer *w)
{
    return atomic_load(&w->commits);
}

bool writer_healthy(writer *w)
{
    return !atomic_load(&w->unhealthy);
}

uint64_t writer_changes(writer *w)
{
    return atomic_load(&w->changes);
}
