/* Who is asked about, on which day, and what became of them. */
#include "backtest.h"

#include "log.h"
#include "readers.h"

#include "train/split.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PAGE = 64, SAMPLE_SEED = RZ_COHORT_SEED + 7 /* not that of splits or folds */ };

typedef struct row {          /* a patient on a day */
    uint64_t heads, outcomes; /* bit i: task i has this index; and its outcome came */
} row;

struct backtest {
    server *server;
    replica *replica;
    const rz_head *heads;
    size_t n_heads;
    rz_split_rule rule;
    bool knows_split;
    uint64_t below; /* sampled: whose hash, of 2^32, lies below */
    rz_patient_key after;
    rz_patient page[PAGE];
    size_t n_page, at;
    bool last_page;
    row *rows; /* [capacity] of the question under way */
    size_t capacity;
    drift_outcomes outcomes[RZ_HEADS_MAX];
};

/* The inverse of rz_split_rule_text: only what that writes is known. */
static bool read_rule(const char *text, rz_split_rule *out)
{
    char again[RZ_SPLIT_TEXT];
    *out = (rz_split_rule){0};
    rz_split_rule_text(*out, again);
    if (strcmp(text, again) == 0)
        return true;
    for (unsigned n = 2; n <= RZ_FOLDS_MAX; n++)
        for (unsigned fold = 0; fold < n; fold++) {
            *out = (rz_split_rule){.n_folds = n, .fold = fold};
            rz_split_rule_text(*out, again);
            if (strcmp(text, again) == 0)
                return true;
        }
    return false;
}

rz_status backtest_new(server *s, replica *r, backtest **out, rz_error *error)
{
    rz_store *store = NULL;
    rz_store_counts counts = {0};
    rz_status status = readers_take(s->readers, &store, error);
    if (status == RZ_OK)
        status = rz_store_counts_of(store, &counts, error);
    readers_give(s->readers, store);
    if (status != RZ_OK)
        return status;
    backtest *t = calloc(1, sizeof *t);
    if (t == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for a backtest");
    t->server = s;
    t->replica = replica_keep(r);
    t->n_heads = rz_predictor_heads(replica_predictor(r), &t->heads);
    t->knows_split = read_rule(rz_predictor_origin(replica_predictor(r))->split, &t->rule);
    t->below = counts.patients > BACKTEST_PATIENTS
                   ? ((uint64_t)BACKTEST_PATIENTS << 32) / (uint64_t)counts.patients
                   : (uint64_t)1 << 32;
    *out = t;
    return RZ_OK;
}

void backtest_free(backtest *t)
{
    if (t == NULL)
        return;
    replica_drop(t->replica);
    free(t->rows);
    free(t);
}

replica *backtest_replica(const backtest *t)
{
    return t->replica;
}

/* ---- asking --------------------------------------------------------------------------------- */

static bool belongs(const backtest *t, const rz_patient *p)
{
    unsigned char bytes[8];
    uint64_t hash = rz_patient_hash(p->facility, p->id);
    for (int i = 0; i < 8; i++)
        bytes[i] = (unsigned char)(hash >> (8 * i));
    return rz_split_by(t->rule, hash) != RZ_SPLIT_TRAIN &&
           rz_hash64(bytes, sizeof bytes, SAMPLE_SEED) >> 32 < t->below;
}

/* The next patient of the sample; false after the last one. */
static rz_status next_patient(backtest *t, rz_store *store, rz_patient_key *key, bool *found,
                              rz_error *error)
{
    *found = false;
    while (!*found) {
        if (t->at == t->n_page && t->last_page)
            return RZ_OK;
        if (t->at == t->n_page) {
            t->at = t->n_page = 0;
            rz_status status =
                rz_store_patients(store, t->after, NULL, t->page, PAGE, &t->n_page, error);
            if (status != RZ_OK)
                return status;
            t->last_page = t->n_page < PAGE;
            if (t->n_page > 0)
                t->after = t->page[t->n_page - 1].key;
            continue;
        }
        *key = t->page[t->at].key;
        *found = belongs(t, &t->page[t->at++]);
    }
    return RZ_OK;
}

/* Adds the patient's days: one row for all tasks that share a day. */
static void add_rows(backtest *t, rz_timeline *timeline, const rz_claim_day *days, size_t n_days,
                     predict_job *j)
{
    size_t first = j->n;
    for (size_t h = 0; h < t->n_heads; h++) {
        int32_t index = RZ_DAY_NONE, outcome;
        rz_attrition_step passed;
        if (!rz_cohort_index(&t->heads[h].task, timeline, days, n_days, BACKTEST_DAYS,
                             RZ_COHORT_SEED, &index, &passed))
            continue;
        size_t i = first;
        while (i < j->n && j->as_of[i] != index)
            i++;
        if (i == j->n) {
            j->timelines[i] = timeline;
            j->as_of[i] = index;
            t->rows[i] = (row){0};
            j->n++;
        }
        t->rows[i].heads |= (uint64_t)1 << h;
        if (rz_task_outcome(&t->heads[h].task, timeline, index, &outcome))
            t->rows[i].outcomes |= (uint64_t)1 << h;
    }
}

static rz_status load(backtest *t, rz_store *store, size_t patients, predict_job *j, bool *done,
                      rz_error *error)
{
    rz_status status = RZ_OK;
    j->n = 0;
    for (size_t looked = 0; looked < patients && j->n < patients && status == RZ_OK; looked++) {
        rz_patient_key key = 0;
        rz_timeline *timeline = NULL;
        const rz_claim_day *days = NULL;
        size_t n_days = 0;
        bool found = false;
        rz_error why = {0};
        status = next_patient(t, store, &key, &found, error);
        if (status != RZ_OK || !found) {
            *done = status == RZ_OK;
            break;
        }
        status =
            rz_store_timeline(store, key, RZ_DAY_MAX, RZ_RECORDED_NOW, &j->arena, &timeline, &why);
        if (status == RZ_OK)
            status = rz_store_claim_days(store, key, &j->arena, &days, &n_days, &why);
        if (status == RZ_E_NOT_FOUND) /* erased meanwhile */
            status = RZ_OK;
        else if (status == RZ_OK)
            add_rows(t, timeline, days, n_days, j);
        else
            (void)rz_fail(error, status, "%s", why.text);
    }
    return status;
}

rz_status backtest_ask(backtest *t, size_t patients, predict_job **out, bool *done, rz_error *error)
{
    size_t capacity = patients + t->n_heads; /* the last patient may have a day for each task */
    rz_store *store = NULL;
    predict_job *j = NULL;
    *out = NULL;
    *done = !t->knows_split;
    if (*done)
        return RZ_OK;
    if (capacity > t->capacity) {
        row *rows = realloc(t->rows, capacity * sizeof *rows);
        if (rows == NULL)
            return rz_fail(error, RZ_E_NO_MEMORY, "no memory for a backtest");
        t->rows = rows;
        t->capacity = capacity;
    }
    rz_status status = predict_job_new(NULL, capacity, 1,
                                       patients * t->server->config.history_bytes_max, &j, error);
    if (status == RZ_OK)
        status = readers_take(t->server->readers, &store, error);
    if (status == RZ_OK)
        status = load(t, store, patients, j, done, error);
    readers_give(t->server->readers, store);
    if (status == RZ_OK && j->n > 0) {
        predict_part *part = &j->parts[0];
        part->replica = replica_keep(t->replica);
        part->options = rz_predict_options_defaults();
        part->options.heads = 0;
        for (size_t h = 0; h < t->n_heads; h++)
            part->options.heads |= (uint64_t)1 << h;
        part->n_heads = t->n_heads;
        part->aside = true;
        *out = j;
    } else if (j != NULL) {
        job_drop(&j->job);
    }
    return status;
}

/* ---- counting ------------------------------------------------------------------------------- */

void backtest_count(backtest *t, const predict_job *answered)
{
    for (size_t i = 0; i < answered->n; i++)
        for (size_t h = 0; h < t->n_heads; h++) {
            const rz_risk *risk = &answered->parts[0].risks[i * t->n_heads + h];
            drift_outcomes *o = &t->outcomes[h];
            int32_t day = answered->as_of[i];
            if ((t->rows[i].heads >> h & 1) == 0 || isnan(risk->probability))
                continue;
            if (o->patients == 0 || day < o->first_index)
                o->first_index = day;
            if (o->patients == 0 || day > o->last_index)
                o->last_index = day;
            o->patients++;
            o->expected += risk->probability;
            o->observed += t->rows[i].outcomes >> h & 1;
        }
}

void backtest_finish(const backtest *t)
{
    for (size_t h = 0; h < t->n_heads; h++) {
        drift_outcomes o = t->outcomes[h];
        o.computed_us = time_now_us();
        o.unknown_split = !t->knows_split;
        replica_set_outcomes(t->replica, h, &o);
    }
}
