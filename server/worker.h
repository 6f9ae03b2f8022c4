/* A replica: one loaded model, the thread that owns it and the queue before it.
 *
 * The queue is bounded in patients, so that one request of many and many of one weigh the same. The
 * thread packs what waits into batches, skips what nobody waits for any more, and after retirement
 * answers what is queued before it ends. */
#ifndef REZEPTD_WORKER_H
#define REZEPTD_WORKER_H

#include "drift.h"
#include "job.h"
#include "predict/predictor.h"
#include "server.h"

typedef struct replica replica;
typedef struct predict_part predict_part;

/* A question of one or more patients to one or more models. All its memory is its own. */
typedef struct predict_job {
    job job; /* first */
    rz_arena arena;
    size_t n; /* patients */
    rz_timeline **timelines;
    int32_t *as_of;
    size_t n_parts;
    predict_part *parts; /* arena */
    atomic_size_t pending;
} predict_job;

/* What one model is asked. */
struct predict_part {
    predict_job *job;
    replica *replica; /* one reference */
    rz_predict_options options;
    rz_onset_query onsets; /* in place of heads, when it asks for any; codes live in the arena */
    size_t n_heads; /* rows of a patient: bits set in options.heads that the model has, or onsets */
    bool aside;     /* no question of today: figures of what is answered leave it out */
    bool recalled;  /* its risks came with the job: no replica is asked (explained.h) */
    rz_risk *risks; /* [job->n * n_heads]; new */
    rz_status status;
    rz_error error;
    double queued_s; /* monotonic, when it was queued */
    predict_part *next;
};

/* A job of n patients on an arena of its own; the caller fills timelines and as_of.
 * Errors  RZ_E_NO_MEMORY. */
RZ_MUST_CHECK rz_status predict_job_new(struct connection *connection, size_t n, size_t n_parts,
                                        size_t arena_bytes, predict_job **out, rz_error *error);

/* Loads and verifies the model of `folder`, answers one made-up patient with it, and starts the
 * thread.
 * Errors  as rz_predictor_open. */
RZ_MUST_CHECK rz_status replica_new(const config *c, const char *id, const char *folder,
                                    replica **out, rz_error *error);
replica *replica_keep(replica *r);
void replica_drop(replica *r); /* accepts NULL; the last one frees the model */

/* Takes nothing new, answers what is queued, ends the thread. Blocks; once per replica. */
void replica_retire(replica *r);

/* Queues a part; the replica answers it exactly once and keeps the job until then.
 * Errors  RZ_E_QUEUE_FULL; RZ_E_BUSY when it is retired: ask for the model again. */
RZ_MUST_CHECK rz_status replica_add(replica *r, predict_part *part, rz_error *error);

const char *replica_id(const replica *r);
const rz_predictor *replica_predictor(const replica *r); /* for its descriptions only */

enum { REPLICA_BUCKETS = 9, REPLICA_TIME_BUCKETS = 10, REPLICA_TOKENS_FIRST = 64, DECILES = 10 };
extern const double replica_bounds_s[REPLICA_TIME_BUCKETS];

typedef struct replica_figures {
    uint64_t patients, batches, parts_failed;
    uint64_t batch_patients[REPLICA_BUCKETS]; /* <= 1, 2, 4, … 128, more */
    uint64_t queue_buckets[REPLICA_TIME_BUCKETS + 1], tokenize_buckets[REPLICA_TIME_BUCKETS + 1],
        infer_buckets[REPLICA_TIME_BUCKETS + 1];
    double queue_s, tokenize_s, infer_s;    /* one after the other: they add up */
    size_t queue_depth, running;            /* patients that wait; of the batch under way */
    uint64_t tokens;                        /* at most, as --batch-tokens-max counts them */
    uint64_t batch_tokens[REPLICA_BUCKETS]; /* <= 64, 128, … 8192, more */
    uint64_t unmapped[RZ_SYSTEM_COUNT]; /* codes of answered histories that the vocabulary lacks */
    double loaded_at;                   /* seconds since 1970 */
    uint64_t scores[RZ_HEADS_MAX][DECILES]; /* risks, by the deciles of the tuning split */
} replica_figures;
void replica_figures_of(replica *r, replica_figures *out);

/* What is known of the drift of one task; see drift.h. */
typedef struct replica_drift {
    uint64_t patients;
    double index[DRIFT_FEATURES];
    drift_outcomes outcomes;
} replica_drift;
void replica_drift_of(replica *r, size_t head, replica_drift *out);
void replica_set_outcomes(replica *r, size_t head, const drift_outcomes *outcomes);

/* The scorer's note of the day on which it made the last backtest; RZ_DAY_NONE before the first. */
int32_t replica_tested_day(const replica *r);
void replica_set_tested_day(replica *r, int32_t day);

#endif
