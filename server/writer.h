/* The one thread that writes. Operations wait in a bounded queue; those that fit into a batch and
 * are there at the same time share one commit, and nobody is told before it is durable. */
#ifndef REZEPTD_WRITER_H
#define REZEPTD_WRITER_H

#include "job.h"
#include "server.h"
#include "store/store.h"

#include <time.h>

struct changes;
struct metrics;
typedef struct writer writer;

typedef struct write_op {
    job job;                /* first: the operation is a job */
    bool in_batch, derived; /* derived: changes no history (scores, audit) */
    /* Runs in the writer's thread; with in_batch inside an open batch, and again alone when the
     * shared batch failed, so it must start from a clean slate each time. */
    rz_status (*run)(struct write_op *op, rz_store *store, rz_error *error);
    int gather_ms; /* how long it may wait for more to do, while it is the only one in the queue */
    struct timespec due; /* the writer's */
    rz_status status;    /* of run and commit */
    rz_error error;
    struct write_op *next;
} write_op;

/* Opens the store for writing (which makes and migrates it) and starts the thread. Whose history an
 * operation changed stands in `history` before the operation is done.
 * Errors  as rz_store_open: another daemon on the same file is RZ_E_BUSY. */
RZ_MUST_CHECK rz_status writer_new(const config *c, struct metrics *m, struct changes *history,
                                   writer **out, rz_error *error);
/* Finishes what is queued, closes the store. Accepts NULL. */
void writer_free(writer *w);

/* Queues an operation; the queue keeps one reference until it is done.
 * Errors  RZ_E_QUEUE_FULL naming the setting. */
RZ_MUST_CHECK rz_status writer_add(writer *w, write_op *op, rz_error *error);

size_t writer_depth(writer *w);
uint64_t writer_commits(writer *w);
/* Grows with every operation that may have changed a history. */
uint64_t writer_changes(writer *w);
/* False after a commit failed in a way that writing again cannot mend. */
bool writer_healthy(writer *w);

#endif
