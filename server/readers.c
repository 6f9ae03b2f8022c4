/* A stack of idle handles under one lock; opening happens outside it. */
#include "readers.h"

#include "metrics.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

struct readers {
    const config *config;
    metrics *metrics;
    pthread_mutex_t lock;
    pthread_cond_t back;
    rz_store **idle; /* [readers_max] */
    size_t n_idle, n_open;
};

static void on_busy(void *context)
{
    metrics_store_wait(context);
}

static void on_checkpoint(void *context, double seconds)
{
    metrics_checkpoint(context, seconds);
}

rz_store_options store_options(const config *c, metrics *m, bool write)
{
    rz_store_options options = rz_store_options_defaults();
    options.write = write;
    options.shared_patient_ids = c->shared_patient_ids;
    options.pseudonym_key = c->has_pseudonym_key ? c->pseudonym_key : NULL;
    options.busy_timeout_ms = c->store_busy_ms;
    options.busy = on_busy;
    options.checkpointed = on_checkpoint;
    options.watch_context = m;
    return options;
}

rz_status readers_new(const config *c, metrics *m, readers **out, rz_error *error)
{
    readers *all = calloc(1, sizeof *all);
    if (all != NULL)
        all->idle = calloc(c->readers_max, sizeof(rz_store *));
    if (all == NULL || all->idle == NULL) {
        free(all);
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for %zu readers", c->readers_max);
    }
    all->config = c;
    all->metrics = m;
    (void)pthread_mutex_init(&all->lock, NULL);
    (void)pthread_cond_init(&all->back, NULL);
    *out = all;
    return RZ_OK;
}

void readers_free(readers *all)
{
    if (all == NULL)
        return;
    for (size_t i = 0; i < all->n_idle; i++)
        rz_store_close(all->idle[i]);
    (void)pthread_cond_destroy(&all->back);
    (void)pthread_mutex_destroy(&all->lock);
    free(all->idle);
    free(all);
}

rz_status readers_take(readers *all, rz_store **out, rz_error *error)
{
    struct timespec until;
    bool late = false;
    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += all->config->store_busy_ms / 1000 + 1;
    (void)pthread_mutex_lock(&all->lock);
    while (all->n_idle == 0 && all->n_open == all->config->readers_max && !late)
        late = pthread_cond_timedwait(&all->back, &all->lock, &until) == ETIMEDOUT;
    if (all->n_idle > 0) {
        *out = all->idle[--all->n_idle];
        (void)pthread_mutex_unlock(&all->lock);
        return RZ_OK;
    }
    bool may_open = all->n_open < all->config->readers_max;
    all->n_open += may_open ? 1 : 0;
    (void)pthread_mutex_unlock(&all->lock);
    if (!may_open)
        return rz_fail(error, RZ_E_BUSY, "all %zu readers of the store are at work (readers-max)",
                       all->config->readers_max);
    rz_store_options options = store_options(all->config, all->metrics, false);
    rz_status status = rz_store_open(all->config->db, &options, out, error);
    if (status != RZ_OK) {
        (void)pthread_mutex_lock(&all->lock);
        all->n_open--;
        (void)pthread_mutex_unlock(&all->lock);
    }
    return status;
}

void readers_give(readers *all, rz_store *store)
{
    if (store == NULL)
        return;
    (void)pthread_mutex_lock(&all->lock);
    all->idle[all->n_idle++] = store;
    (void)pthread_cond_signal(&all->back);
    (void)pthread_mutex_unlock(&all->lock);
}
