/* The feed: turns the items of a course (pretraining or fine-tuning) into packed batches, one
 * optimiser step at a time. What an item looks like depends only on (seed, epoch, item), what is
 * hidden of it only on (seed, step), so a run can go on from two numbers. */
#ifndef RZ_TRAIN_FEED_H
#define RZ_TRAIN_FEED_H

#include "model/model.h"
#include "train/exchange.h"

/* Diagnosis, medication, age; or the model's heads; or the onset head alone. */
typedef enum rz_course_terms { RZ_TERMS_PRETRAIN, RZ_TERMS_HEADS, RZ_TERMS_ONSET } rz_course_terms;

/* What a run learns. Items are numbered 0 … n-1 within the training and the tuning part. */
typedef struct rz_course {
    const char *phase; /* "pretrain", "finetune": for progress */
    void *context;
    size_t n_train, n_tuning;
    const char *const *terms; /* [n_terms] names of the loss terms, for the log */
    size_t n_terms;
    rz_course_terms terms_are;
    /* An item's timeline and the day it is seen from; lives in the arena. */
    rz_status (*load)(void *context, bool tuning, size_t item, uint64_t epoch, rz_arena *arena,
                      rz_timeline **timeline, int32_t *as_of, rz_error *error);
    /* What is wanted of a packed batch of these items; `stream` says which draw it is.
     *   labels  [n, n_heads] and behind them [n] weights, to fill when there are heads; the
     *           targets may point to them. For a model with the onset head, out->onset_bits
     *           comes in as memory of the feed's for them. */
    rz_status (*targets)(void *context, bool tuning, const uint32_t *items, size_t n,
                         uint64_t stream, rz_batch *batch, float *labels, rz_targets *out,
                         rz_error *error);
    /* NULL, or told of each evaluation; the one after the last step counts as the last. */
    rz_status (*evaluated)(void *context, const rz_model *model, unsigned evaluation,
                           rz_error *error);
} rz_course;

/* Uses of a run's seed, kept apart by the top byte of the stream. */
enum { RZ_DRAW_ORDER = 1, RZ_DRAW_AS_OF, RZ_DRAW_HIDE, RZ_DRAW_DROPOUT, RZ_DRAW_LABELS };
static inline uint64_t rz_draw_stream(unsigned use, uint64_t number)
{
    return ((uint64_t)use << 56) | (number & 0xffffffffffffff);
}

typedef struct rz_feed_part { /* one packed batch with its targets */
    rz_batch batch;
    rz_targets targets;
    float *labels; /* and weights, see rz_course */
    size_t labels_capacity;
    uint64_t *onset_bits;
    size_t onset_capacity;
} rz_feed_part;

typedef struct rz_feed {
    const rz_model *model;
    const rz_course *course;
    rz_exchange *exchange;
    uint64_t seed;
    size_t part_tokens; /* a packed batch is closed once it holds so many */
    rz_feed_part *parts;
    size_t n_parts, parts_capacity;
    float head_weights[RZ_HEADS_MAX];
    uint32_t *order; /* [n_train] of `order_epoch` */
    uint64_t order_epoch;
    rz_arena arena;
    uint32_t *items; /* of the part that is being filled, with timelines and days */
    const rz_timeline **timelines;
    int32_t *as_of;
    size_t capacity;
    rz_batch probe; /* of one timeline, to count its tokens */
} rz_feed;

RZ_MUST_CHECK rz_status rz_feed_init(rz_feed *feed, const rz_model *model, const rz_course *course,
                                     uint64_t seed, size_t part_tokens, rz_exchange *exchange,
                                     rz_error *error);
void rz_feed_done(rz_feed *feed); /* accepts a zeroed one */

/* The next optimiser batch of about `tokens` into feed->parts, weights set; moves (epoch, cursor).
 * No item is taken twice. */
RZ_MUST_CHECK rz_status rz_feed_step(rz_feed *feed, uint64_t step, size_t tokens, uint64_t *epoch,
                                     uint64_t *cursor, rz_error *error);

/* The next packed batch of the tuning part into parts[0]; moves *item, which ends at n_tuning. */
RZ_MUST_CHECK rz_status rz_feed_tuning(rz_feed *feed, size_t *item, rz_error *error);

/* How many tokens a timeline has: what batches are sized by.
 *   probe  zeroed at first, then kept for the next call; rz_batch_done frees */
RZ_MUST_CHECK rz_status rz_feed_tokens(const rz_model *model, const rz_timeline *timeline,
                                       int32_t as_of, rz_batch *probe, size_t *tokens,
                                       rz_error *error);

#endif
