/* Packs labelled rows into batches and runs them through the model. */
#include "train/score.h"

#include "train/feed.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { TIMELINES_BYTES_MAX = 1 << 30 };

void rz_scored_done(rz_scored *s)
{
    free(s->row);
    free(s->logit);
    free(s->tokens);
    free(s->unmapped);
    *s = (rz_scored){0};
}

static bool in_part(const rz_labels *l, size_t row, rz_split part, bool again)
{
    for (size_t t = 0; t < l->n_tasks; t++) {
        uint8_t here = l->part[row * l->n_tasks + t];
        if (here == (uint8_t)part || (again && here == RZ_PART_AGAIN))
            return true;
    }
    return false;
}

/* The rows with a label in the part, in the order of the labels; free() them. */
static rz_status choose_rows(const rz_labels *l, rz_split part, bool again, uint32_t **out,
                             size_t *n, rz_error *error)
{
    uint32_t *rows = malloc((l->n_rows + 1) * sizeof *rows);
    if (rows == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory to score %zu rows", l->n_rows);
    *n = 0;
    for (size_t r = 0; r < l->n_rows; r++) {
        if (in_part(l, r, part, again))
            rows[(*n)++] = (uint32_t)r;
    }
    *out = rows;
    return RZ_OK;
}

/* Loads rows from `first` on until the batch is full; gives where the next one begins. */
static rz_status load_part(const rz_model *model, rz_dataset *dataset, const rz_labels *l,
                           const uint32_t *rows, size_t n_rows, size_t first, size_t part_tokens,
                           rz_arena *arena, const rz_timeline **timelines, int32_t *as_of,
                           size_t cap, size_t *next, rz_batch *probe, rz_error *error)
{
    rz_status status = RZ_OK;
    size_t tokens = 0, own = 0, n = 0;
    rz_arena_reset(arena);
    while (status == RZ_OK && n < cap && tokens < part_tokens && first + n < n_rows) {
        const rz_label_row *row = &l->rows[rows[first + n]];
        rz_timeline *timeline = NULL;
        status = rz_dataset_timeline(dataset, row->patient, arena, &timeline, NULL, NULL, error);
        if (status == RZ_OK)
            status = rz_feed_tokens(model, timeline, row->index_day, probe, &own, error);
        if (status != RZ_OK)
            break;
        timelines[n] = timeline;
        as_of[n++] = row->index_day;
        tokens += own;
    }
    *next = first + n;
    return status;
}

rz_status rz_labels_visit(const rz_model *model, rz_dataset *dataset, const rz_labels *l,
                          rz_split part, bool again, size_t part_tokens,
                          const rz_progress *progress, rz_score_visit *visit, void *context,
                          rz_error *error)
{
    enum { ROWS = 1024 };
    const rz_family *family = model->family;
    const rz_timeline *timelines[ROWS];
    int32_t as_of[ROWS];
    uint32_t *rows = NULL;
    size_t n = 0;
    rz_batch batch = {0};
    rz_scratch *scratch = NULL;
    rz_arena arena;
    rz_arena_init(&arena, TIMELINES_BYTES_MAX);
    rz_status status = choose_rows(l, part, again, &rows, &n, error);
    if (status == RZ_OK)
        status = family->scratch_new(model, &scratch, error);
    for (size_t first = 0, next = 0; status == RZ_OK && first < n; first = next) {
        rz_outputs outputs = {0};
        status = load_part(model, dataset, l, rows, n, first, part_tokens, &arena, timelines, as_of,
                           ROWS, &next, &batch, error);
        if (status == RZ_OK)
            status = family->batch_build(model, timelines, as_of, next - first, &batch, error);
        if (status == RZ_OK)
            status = family->forward(model, &batch, &outputs, scratch, error);
        if (status == RZ_OK)
            status = visit(context, rows + first, next - first, &batch, &outputs, scratch, error);
        if (status != RZ_OK)
            break;
        const rz_progress_report report = {.phase = "calibrate",
                                           .done = next,
                                           .total = n,
                                           .unit = "rows",
                                           .rate_per_s = NAN,
                                           .loss = NAN,
                                           .seconds_left = NAN};
        if (!rz_progress_tell(progress, &report))
            status = rz_fail(error, RZ_E_CANCELED, "interrupted while calibrating");
    }
    if (scratch != NULL)
        family->scratch_free(scratch);
    rz_batch_done(&batch);
    rz_arena_done(&arena);
    free(rows);
    return status;
}

/* What the logits of all heads are kept in; `scored` is filled row by row. */
typedef struct scoring {
    const rz_model *model;
    rz_scored *scored;
} scoring;

static rz_status keep(void *context, const uint32_t *rows, size_t n, const rz_batch *batch,
                      const rz_outputs *outputs, rz_scratch *scratch, rz_error *error)
{
    (void)scratch, (void)error;
    const scoring *c = context;
    rz_scored *s = c->scored;
    size_t n_heads = c->model->n_heads;
    memcpy(s->row + s->n, rows, n * sizeof *rows);
    memcpy(s->logit + s->n * n_heads, outputs->logits, n * n_heads * sizeof *s->logit);
    for (size_t i = 0; i < n; i++) {
        s->tokens[s->n + i] = batch->offsets[i + 1] - batch->offsets[i];
        s->unmapped[s->n + i] = batch->unmapped[i];
    }
    s->n += n;
    return RZ_OK;
}

rz_status rz_labels_score(const rz_model *model, rz_dataset *dataset, const rz_labels *l,
                          rz_split part, bool again, size_t part_tokens,
                          const rz_progress *progress, rz_scored *s, rz_error *error)
{
    size_t n = l->n_rows + 1;
    scoring c = {model, s};
    *s = (rz_scored){.row = malloc(n * sizeof *s->row),
                     .logit = malloc(n * model->n_heads * sizeof *s->logit + 1),
                     .tokens = malloc(n * sizeof *s->tokens),
                     .unmapped = malloc(n * sizeof *s->unmapped)};
    if (s->row == NULL || s->logit == NULL || s->tokens == NULL || s->unmapped == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory to score %zu rows", n);
    return rz_labels_visit(model, dataset, l, part, again, part_tokens, progress, keep, &c, error);
}
