/* A few counts, the oldest gives way. A filter is compared as text, so that none is taken for
 * another. */
#include "tally.h"

#include "scorer.h"
#include "writer.h"

#include "base/buffer.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { KEPT = 32, FILTER_BYTES_MAX = 16384 };

typedef struct kept_counts {
    char *filter; /* owned; NULL: free */
    tally_mark mark;
    rz_worklist_counts counts;
} kept_counts;

struct tally {
    pthread_mutex_t lock;
    kept_counts all[KEPT];
    size_t next;
};

rz_status tally_new(tally **out, rz_error *error)
{
    tally *t = calloc(1, sizeof *t);
    if (t == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for the counts of worklists");
    (void)pthread_mutex_init(&t->lock, NULL);
    *out = t;
    return RZ_OK;
}

void tally_free(tally *t)
{
    if (t == NULL)
        return;
    for (size_t i = 0; i < KEPT; i++)
        free(t->all[i].filter);
    (void)pthread_mutex_destroy(&t->lock);
    free(t);
}

tally_mark tally_now(const server *s)
{
    return (tally_mark){.changes = writer_changes(s->writer), .scored = scorer_scored(s->scorer)};
}

/* Every part in its place: no part holds a line end, because targets with control bytes are
 * refused. New; NULL when memory is short. */
static char *filter_of(const rz_worklist_query *q)
{
    rz_buffer text;
    rz_buffer_init(&text, FILTER_BYTES_MAX);
    rz_status status =
        rz_buffer_addf(&text, "%.17g\n%d %d %d\n%d %s\n", q->min_probability, q->by_age, q->age_min,
                       q->age_max, q->facility != NULL, q->facility != NULL ? q->facility : "");
    for (size_t i = 0; i < q->n_tasks && status == RZ_OK; i++)
        status = rz_buffer_addf(&text, "%s\n", q->tasks[i]);
    char *taken = status == RZ_OK ? rz_buffer_take(&text, NULL) : NULL;
    rz_buffer_done(&text);
    return taken;
}

/* Under the lock: the slot of a filter, or KEPT. */
static size_t find(const tally *t, const char *filter)
{
    size_t i = 0;
    while (i < KEPT && (t->all[i].filter == NULL || strcmp(t->all[i].filter, filter) != 0))
        i++;
    return i;
}

bool tally_get(tally *t, const rz_worklist_query *query, tally_mark now, rz_worklist_counts *out)
{
    char *filter = filter_of(query);
    bool found = false;
    if (filter == NULL)
        return false;
    (void)pthread_mutex_lock(&t->lock);
    size_t i = find(t, filter);
    if (i < KEPT && t->all[i].mark.changes == now.changes && t->all[i].mark.scored == now.scored) {
        *out = t->all[i].counts;
        found = true;
    }
    (void)pthread_mutex_unlock(&t->lock);
    free(filter);
    return found;
}

void tally_put(tally *t, const rz_worklist_query *query, tally_mark mark,
               const rz_worklist_counts *counts)
{
    char *filter = filter_of(query);
    if (filter == NULL)
        return;
    (void)pthread_mutex_lock(&t->lock);
    size_t i = find(t, filter);
    if (i == KEPT) {
        i = t->next;
        t->next = (t->next + 1) % KEPT;
    }
    free(t->all[i].filter);
    t->all[i] = (kept_counts){.filter = filter, .mark = mark, .counts = *counts};
    (void)pthread_mutex_unlock(&t->lock);
}
