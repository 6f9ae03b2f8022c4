/* Fills packed batches in the order of the epoch, then sets the weights that make each loss term
 * the mean over its own positions of the whole optimiser batch. */
#include "train/feed.h"

#include "base/rng.h"

#include <math.h>
#include <stdlib.h>

enum {
    PARTS_MAX = 1024,         /* packed batches of one step; streams are step * PARTS_MAX + part */
    ARENA_BYTES_MAX = 1 << 30 /* the timelines of one packed batch */
};

rz_status rz_feed_init(rz_feed *feed, const rz_model *model, const rz_course *course, uint64_t seed,
                       size_t part_tokens, rz_exchange *exchange, rz_error *error)
{
    *feed = (rz_feed){.model = model,
                      .course = course,
                      .exchange = exchange,
                      .seed = seed,
                      .part_tokens = part_tokens,
                      .order_epoch = UINT64_MAX};
    rz_arena_init(&feed->arena, ARENA_BYTES_MAX);
    feed->order = malloc((course->n_train + 1) * sizeof *feed->order);
    if (feed->order == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for an order of %zu items",
                       course->n_train);
    return RZ_OK;
}

void rz_feed_done(rz_feed *feed)
{
    for (size_t i = 0; i < feed->parts_capacity; i++) {
        rz_batch_done(&feed->parts[i].batch);
        rz_targets_done(&feed->parts[i].targets);
        free(feed->parts[i].labels);
        free(feed->parts[i].onset_bits);
    }
    free(feed->parts);
    free(feed->order);
    free(feed->items);
    free(feed->timelines);
    free(feed->as_of);
    rz_batch_done(&feed->probe);
    rz_arena_done(&feed->arena);
    *feed = (rz_feed){0};
}

rz_status rz_feed_tokens(const rz_model *model, const rz_timeline *timeline, int32_t as_of,
                         rz_batch *probe, size_t *tokens, rz_error *error)
{
    rz_status status = model->family->batch_build(model, &timeline, &as_of, 1, probe, error);
    if (status == RZ_OK)
        *tokens = probe->n_tokens;
    return status;
}

static rz_status reserve_items(rz_feed *feed, size_t n, rz_error *error)
{
    if (n <= feed->capacity)
        return RZ_OK;
    size_t larger = feed->capacity == 0 ? 256 : 2 * feed->capacity;
    uint32_t *items = realloc(feed->items, larger * sizeof *items);
    if (items != NULL)
        feed->items = items;
    const rz_timeline **timelines = realloc(feed->timelines, larger * sizeof *timelines);
    if (timelines != NULL)
        feed->timelines = timelines;
    int32_t *as_of = realloc(feed->as_of, larger * sizeof *as_of);
    if (as_of != NULL)
        feed->as_of = as_of;
    if (items == NULL || timelines == NULL || as_of == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for a batch of %zu timelines", larger);
    feed->capacity = larger;
    return RZ_OK;
}

/* Room for part `n_parts` and for the labels of n timelines in it. */
static rz_status reserve_part(rz_feed *feed, size_t n, rz_error *error)
{
    if (feed->n_parts >= PARTS_MAX)
        return rz_fail(error, RZ_E_TOO_LARGE,
                       "an optimiser batch of more than %d packed batches; lower --batch-tokens",
                       PARTS_MAX);
    if (feed->n_parts == feed->parts_capacity) {
        size_t larger = feed->parts_capacity + 8;
        rz_feed_part *parts = realloc(feed->parts, larger * sizeof *parts);
        if (parts == NULL)
            return rz_fail(error, RZ_E_NO_MEMORY, "no memory for %zu packed batches", larger);
        for (size_t i = feed->parts_capacity; i < larger; i++)
            parts[i] = (rz_feed_part){0};
        feed->parts = parts;
        feed->parts_capacity = larger;
    }
    rz_feed_part *part = &feed->parts[feed->n_parts];
    size_t labels = n * (feed->model->n_heads + 1);
    if (labels > part->labels_capacity) {
        float *larger = realloc(part->labels, labels * sizeof *larger);
        if (larger == NULL)
            return rz_fail(error, RZ_E_NO_MEMORY, "no memory for %zu labels", labels);
        part->labels = larger;
        part->labels_capacity = labels;
    }
    if (!feed->model->config.onset)
        return RZ_OK;
    size_t words = n * 2 * rz_onset_words(rz_model_codes(feed->model));
    if (words > part->onset_capacity) {
        uint64_t *larger = realloc(part->onset_bits, words * sizeof *larger);
        if (larger == NULL)
            return rz_fail(error, RZ_E_NO_MEMORY, "no memory for the onsets of %zu timelines", n);
        part->onset_bits = larger;
        part->onset_capacity = words;
    }
    part->targets.onset_bits = part->onset_bits;
    return RZ_OK;
}

/* Packs the n loaded items and asks the course what is wanted of them. */
static rz_status close_part(rz_feed *feed, bool tuning, size_t n, uint64_t step, rz_error *error)
{
    const rz_model *model = feed->model;
    const rz_course *course = feed->course;
    rz_status status = reserve_part(feed, n, error);
    if (status != RZ_OK)
        return status;
    rz_feed_part *part = &feed->parts[feed->n_parts];
    uint64_t number = step * PARTS_MAX + feed->n_parts;
    status =
        model->family->batch_build(model, feed->timelines, feed->as_of, n, &part->batch, error);
    if (status == RZ_OK)
        status = course->targets(course->context, tuning, feed->items, n,
                                 rz_draw_stream(RZ_DRAW_HIDE, number), &part->batch, part->labels,
                                 &part->targets, error);
    if (status != RZ_OK)
        return status;
    part->targets.dropout_seed = feed->seed;
    part->targets.dropout_stream = rz_draw_stream(RZ_DRAW_DROPOUT, number);
    part->targets.head_weights = feed->head_weights;
    feed->n_parts++;
    rz_arena_reset(&feed->arena);
    return RZ_OK;
}

static rz_status load_item(rz_feed *feed, bool tuning, size_t item, uint64_t epoch, size_t place,
                           size_t *tokens, rz_error *error)
{
    rz_timeline *timeline = NULL;
    int32_t as_of = 0;
    rz_status status = reserve_items(feed, place + 1, error);
    if (status == RZ_OK)
        status = feed->course->load(feed->course->context, tuning, item, epoch, &feed->arena,
                                    &timeline, &as_of, error);
    if (status != RZ_OK)
        return status;
    feed->items[place] = (uint32_t)item;
    feed->timelines[place] = timeline;
    feed->as_of[place] = as_of;
    size_t own = 0;
    status = rz_feed_tokens(feed->model, timeline, as_of, &feed->probe, &own, error);
    *tokens += own;
    return status;
}

/* Fisher and Yates; the order of an epoch depends on the seed and its number alone. */
static void shuffle(rz_feed *feed, uint64_t epoch)
{
    if (feed->order_epoch == epoch)
        return;
    rz_rng rng;
    rz_rng_init(&rng, feed->seed, rz_draw_stream(RZ_DRAW_ORDER, epoch));
    size_t n = feed->course->n_train;
    for (size_t i = 0; i < n; i++) {
        size_t j = rz_rng_below(&rng, (uint32_t)i + 1);
        feed->order[i] = feed->order[j];
        feed->order[j] = (uint32_t)i;
    }
    feed->order_epoch = epoch;
}

/* Weight of a term = 1 / (its positions in the optimiser batch, of all processes; of a head the
 * weights of its labels); of a head also divided by their number, as the loss is their mean. */
static rz_status set_weights(rz_feed *feed, rz_error *error)
{
    enum { TERMS = 4 }; /* before the heads */
    float counts[RZ_HEADS_MAX + TERMS] = {0};
    size_t n_heads = feed->model->n_heads;
    for (size_t p = 0; p < feed->n_parts; p++) {
        const rz_feed_part *part = &feed->parts[p];
        counts[0] += (float)part->targets.n_diagnoses;
        counts[1] += (float)part->targets.n_medications;
        counts[2] += (float)part->targets.n_ages;
        counts[3] += (float)part->targets.n_onsets;
        const float *weights = part->targets.seq_weights;
        for (size_t i = 0; part->targets.finetune && i < part->batch.n_seqs * n_heads; i++)
            if (!isnan(part->labels[i]))
                counts[TERMS + i % n_heads] += weights == NULL ? 1.0f : weights[i / n_heads];
    }
    rz_status status = rz_exchange_sum(feed->exchange, counts, TERMS + n_heads, error);
    if (status != RZ_OK)
        return status;
    for (size_t i = 0; i < TERMS + n_heads; i++)
        counts[i] = counts[i] > 0.0f ? 1.0f / counts[i] : 0.0f;
    for (size_t i = 0; i < n_heads; i++)
        feed->head_weights[i] = counts[TERMS + i] / (float)n_heads;
    for (size_t p = 0; p < feed->n_parts; p++) {
        rz_targets *targets = &feed->parts[p].targets;
        targets->diagnosis_weight = counts[0];
        targets->medication_weight = counts[1];
        targets->age_weight = counts[2];
        targets->onset_weight = counts[3];
    }
    return RZ_OK;
}

rz_status rz_feed_step(rz_feed *feed, uint64_t step, size_t tokens, uint64_t *epoch,
                       uint64_t *cursor, rz_error *error)
{
    rz_status status = RZ_OK;
    size_t taken = 0, step_tokens = 0, n = feed->course->n_train;
    feed->n_parts = 0;
    while (status == RZ_OK && step_tokens < tokens && taken < n) {
        size_t place = 0, part_tokens = 0;
        while (status == RZ_OK && part_tokens < feed->part_tokens &&
               step_tokens + part_tokens < tokens && taken < n) {
            if (*cursor >= n) {
                *cursor = 0;
                ++*epoch;
            }
            shuffle(feed, *epoch);
            status =
                load_item(feed, false, feed->order[*cursor], *epoch, place, &part_tokens, error);
            ++*cursor;
            place++;
            taken++;
        }
        step_tokens += part_tokens;
        if (status == RZ_OK)
            status = close_part(feed, false, place, step, error);
    }
    return status == RZ_OK ? set_weights(feed, error) : status;
}

rz_status rz_feed_tuning(rz_feed *feed, size_t *item, rz_error *error)
{
    rz_status status = RZ_OK;
    size_t place = 0, part_tokens = 0, next = *item;
    feed->n_parts = 0;
    for (; status == RZ_OK && part_tokens < feed->part_tokens && next < feed->course->n_tuning;
         next++)
        status = load_item(feed, true, next, 0, place++, &part_tokens, error);
    /* Streams of tuning start where no training step can be; the part number is the item. */
    if (status == RZ_OK)
        status = close_part(feed, true, place, (UINT64_C(1) << 40) + *item, error);
    if (status == RZ_OK)
        status = set_weights(feed, error);
    *item = next;
    return status;
}
