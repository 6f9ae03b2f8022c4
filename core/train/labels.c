/* Joins the cohorts of several tasks into rows and says which label is used for what. */
#include "train/labels.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { TIMELINE_BYTES_MAX = 1 << 30 };

static rz_status add_row(rz_labels *l, const rz_label_row *row, rz_error *error)
{
    if (l->n_rows == l->capacity) {
        size_t larger = l->capacity == 0 ? 1024 : 2 * l->capacity;
        rz_label_row *rows = realloc(l->rows, larger * sizeof *rows);
        if (rows != NULL)
            l->rows = rows;
        float *label = realloc(l->label, larger * l->n_tasks * sizeof *label);
        if (label != NULL)
            l->label = label;
        uint8_t *part = realloc(l->part, larger * l->n_tasks);
        if (part != NULL)
            l->part = part;
        if (rows == NULL || label == NULL || part == NULL)
            return rz_fail(error, RZ_E_NO_MEMORY, "no memory for %zu rows of labels", larger);
        l->capacity = larger;
    }
    l->rows[l->n_rows] = *row;
    l->rows[l->n_rows].crossfit_part = RZ_PART_NONE;
    for (size_t t = 0; t < l->n_tasks; t++) {
        l->label[l->n_rows * l->n_tasks + t] = NAN;
        l->part[l->n_rows * l->n_tasks + t] = RZ_PART_NONE;
    }
    l->n_rows++;
    return RZ_OK;
}

/* The rows of one patient begin at `first`; a task joins the row of its index day. A day that two
 * draws agree on is one label. */
static rz_status place_label(rz_labels *l, size_t first, size_t task, uint32_t patient,
                             rz_split split, bool again, const rz_cohort_member *m, rz_error *error)
{
    size_t row = first;
    while (row < l->n_rows && l->rows[row].index_day != m->index_day)
        row++;
    rz_status status = RZ_OK;
    if (row == l->n_rows)
        status = add_row(l,
                         &(rz_label_row){.patient = patient,
                                         .index_day = m->index_day,
                                         .hash = m->hash,
                                         .split = split,
                                         .sex = m->sex,
                                         .age_years = m->age_years},
                         error);
    if (status == RZ_OK && l->part[row * l->n_tasks + task] == RZ_PART_NONE) {
        l->label[row * l->n_tasks + task] = m->label ? 1.0f : 0.0f;
        l->part[row * l->n_tasks + task] =
            again && split == RZ_SPLIT_TUNING ? RZ_PART_AGAIN : (uint8_t)split;
    }
    return status;
}

/* All labels of one patient: the cohort's own index day, and the days that further draws of the
 * same rule give. */
static rz_status add_patient(rz_labels *l, const rz_task *tasks, uint32_t patient, rz_split split,
                             unsigned draws, const rz_timeline *timeline, const rz_claim_day *days,
                             size_t n_days, rz_cohort *drawn, rz_error *error)
{
    rz_status status = RZ_OK;
    size_t first = l->n_rows;
    for (size_t t = 0; status == RZ_OK && t < l->n_tasks; t++) {
        for (unsigned d = 0; status == RZ_OK && d < draws; d++) {
            rz_cohort *cohort = d == 0 ? &l->cohorts[t] : drawn;
            size_t before = cohort->n;
            status = rz_cohort_add(cohort, &tasks[t], timeline, days, n_days, d, error);
            if (status == RZ_OK && cohort->n > before)
                status = place_label(l, first, t, patient, split, d > 0,
                                     &cohort->members[cohort->n - 1], error);
            drawn->n = 0;
        }
    }
    return status;
}

rz_status rz_labels_build(rz_dataset *dataset, const rz_task *tasks, size_t n_tasks,
                          rz_split_rule rule, unsigned draws, rz_labels *l, rz_error *error)
{
    *l = (rz_labels){.n_tasks = n_tasks};
    rz_status status = RZ_OK;
    rz_cohort drawn = {0};
    rz_arena arena;
    rz_arena_init(&arena, TIMELINE_BYTES_MAX);
    for (size_t i = 0; status == RZ_OK && i < rz_dataset_patients(dataset); i++) {
        rz_split split = rz_split_by(rule, rz_dataset_hash(dataset, i));
        rz_timeline *timeline = NULL;
        const rz_claim_day *days = NULL;
        size_t n_days = 0;
        if (split == RZ_SPLIT_HELD_OUT)
            continue;
        rz_arena_reset(&arena);
        status = rz_dataset_timeline(dataset, i, &arena, &timeline, &days, &n_days, error);
        if (status == RZ_OK)
            status = add_patient(l, tasks, (uint32_t)i, split, draws, timeline, days, n_days,
                                 &drawn, error);
    }
    rz_arena_done(&arena);
    rz_cohort_done(&drawn);
    if (status != RZ_OK)
        rz_labels_done(l);
    return status;
}

void rz_labels_done(rz_labels *l)
{
    for (size_t t = 0; t < l->n_tasks; t++)
        rz_cohort_done(&l->cohorts[t]);
    free(l->rows);
    free(l->label);
    free(l->part);
    *l = (rz_labels){0};
}

typedef struct candidate {
    uint64_t priority;
    size_t row;
} candidate;

static int by_priority(const void *a, const void *b)
{
    const candidate *x = a, *y = b;
    if (x->priority != y->priority)
        return x->priority < y->priority ? -1 : 1;
    return (x->row > y->row) - (x->row < y->row);
}

/* Deals a row to the part that has the fewest of its label, or to the one that its patient is in.
 * The rows of a patient lie side by side. */
static void deal(rz_labels *l, size_t row, size_t *counts)
{
    const uint32_t patient = l->rows[row].patient;
    size_t first = row, end = row + 1, part = 0;
    while (first > 0 && l->rows[first - 1].patient == patient)
        first--;
    while (end < l->n_rows && l->rows[end].patient == patient)
        end++;
    if (l->rows[row].crossfit_part != RZ_PART_NONE) {
        counts[l->rows[row].crossfit_part]++;
        return;
    }
    for (size_t k = 1; k < RZ_CROSSFIT_PARTS; k++)
        part = counts[k] < counts[part] ? k : part;
    for (size_t r = first; r < end; r++)
        l->rows[r].crossfit_part = (uint8_t)part;
    counts[part]++;
}

/* Takes the first `wanted` of the sorted candidates with this label (2 = any); gives how many. */
static size_t take(rz_labels *l, size_t task, const candidate *candidates, size_t n, int label,
                   size_t wanted)
{
    size_t taken = 0, counts[2][RZ_CROSSFIT_PARTS] = {{0}};
    for (size_t i = 0; i < n && taken < wanted; i++) {
        size_t at = candidates[i].row * l->n_tasks + task;
        if (label != 2 && (l->label[at] > 0.5f) != (label == 1))
            continue;
        l->part[at] = RZ_SPLIT_TRAIN;
        deal(l, candidates[i].row, counts[l->label[at] > 0.5f]);
        taken++;
    }
    return taken;
}

rz_status rz_labels_draw(rz_labels *l, const rz_task *tasks, size_t n, rz_label_mix mix,
                         uint64_t seed, rz_error *error)
{
    rz_status status = RZ_OK;
    const bool mixed = mix != RZ_MIX_NATURAL;
    l->drawn = true;
    candidate *candidates = malloc((l->n_rows + 1) * sizeof *candidates);
    if (candidates == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory to draw %zu labels", n);
    for (size_t t = 0; status == RZ_OK && t < l->n_tasks; t++) {
        size_t found = 0, known = 0;
        for (size_t r = 0; r < l->n_rows; r++) {
            size_t at = r * l->n_tasks + t;
            if (l->part[at] == RZ_SPLIT_TRAIN) {
                candidates[found++] =
                    (candidate){rz_hash64(&l->rows[r].hash, sizeof l->rows[r].hash, seed), r};
                known += l->label[at] > 0.5f;
            }
            l->part[at] = RZ_PART_NONE;
        }
        qsort(candidates, found, sizeof *candidates, by_priority);
        size_t positives = mixed ? n / 2 : 0;
        if (mix == RZ_MIX_ENRICHED && known < positives)
            positives = known;
        size_t taken = take(l, t, candidates, found, mixed ? 0 : 2, n - positives);
        if (taken < n - positives)
            status = rz_fail(error, RZ_E_INVALID, "task %s has %zu %s to learn from, not %zu",
                             tasks[t].name, taken, mixed ? "negatives" : "labels", n - positives);
        taken = take(l, t, candidates, found, 1, positives);
        if (status == RZ_OK && taken < positives)
            status = rz_fail(error, RZ_E_INVALID,
                             "task %s has %zu positives to learn from, not %zu; lower --labels",
                             tasks[t].name, taken, positives);
    }
    free(candidates);
    return status;
}

void rz_labels_crossfit(rz_labels *l)
{
    l->drawn = true;
    for (size_t t = 0; t < l->n_tasks; t++) {
        size_t counts[2][RZ_CROSSFIT_PARTS] = {{0}};
        for (size_t r = 0; r < l->n_rows; r++) {
            size_t at = r * l->n_tasks + t;
            if (l->part[at] == RZ_PART_NONE || isnan(l->label[at]))
                continue;
            l->part[at] = RZ_SPLIT_TRAIN;
            deal(l, r, counts[l->label[at] > 0.5f]);
        }
    }
}

rz_label_counts rz_labels_count(const rz_labels *l, size_t task, rz_split part)
{
    rz_label_counts counts = {0};
    for (size_t r = 0; r < l->n_rows; r++) {
        size_t at = r * l->n_tasks + task;
        if (l->part[at] != (uint8_t)part)
            continue;
        counts.n++;
        counts.positives += l->label[at] > 0.5f;
    }
    return counts;
}
