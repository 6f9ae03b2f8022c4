/* The queue and the thread of a replica. */
#include "worker.h"

#include "log.h"

#include "base/size.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

const double replica_bounds_s[REPLICA_TIME_BUCKETS] = {0.001, 0.0025, 0.005, 0.01, 0.025,
                                                       0.05,  0.1,    0.25,  1.0,  5.0};

struct replica {
    const config *config;
    char id[65];
    atomic_int references;
    rz_predictor *predictor;
    rz_pool *pool;
    size_t context; /* tokens of one timeline at most */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    predict_part *first, *last;
    size_t waiting; /* patients */
    bool retired;
    replica_figures figures;               /* under lock */
    drift *drift;                          /* under lock */
    drift_outcomes outcomes[RZ_HEADS_MAX]; /* under lock */
    atomic_int tested_day;
    /* Of the thread: one packed call. */
    const rz_timeline **timelines;
    int32_t *as_of;
    rz_risk *risks;
    size_t rows_capacity, patients_capacity;
};

static double now_s(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- jobs ----------------------------------------------------------------------------------- */

static void destroy_job(job *base)
{
    predict_job *j = (predict_job *)base;
    for (size_t i = 0; i < j->n_parts; i++) {
        replica_drop(j->parts[i].replica);
        free(j->parts[i].risks);
    }
    rz_arena_done(&j->arena);
    free(j);
}

rz_status predict_job_new(struct connection *connection, size_t n, size_t n_parts,
                          size_t arena_bytes, predict_job **out, rz_error *error)
{
    predict_job *j = calloc(1, sizeof *j);
    if (j == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for a prediction");
    job_init(&j->job, connection, destroy_job);
    rz_arena_init(&j->arena, arena_bytes);
    j->timelines = rz_arena_alloc(&j->arena, n > 0 ? n : 1, sizeof *j->timelines);
    j->as_of = rz_arena_alloc(&j->arena, n > 0 ? n : 1, sizeof *j->as_of);
    j->parts = rz_arena_alloc(&j->arena, n_parts > 0 ? n_parts : 1, sizeof *j->parts);
    if (j->timelines == NULL || j->as_of == NULL || j->parts == NULL) {
        job_drop(&j->job);
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for a prediction");
    }
    j->n = n;
    j->n_parts = n_parts;
    atomic_init(&j->pending, n_parts);
    for (size_t i = 0; i < n_parts; i++)
        j->parts[i].job = j;
    *out = j;
    return RZ_OK;
}

static void part_done(predict_part *part)
{
    job *j = &part->job->job;
    if (atomic_fetch_sub(&part->job->pending, 1) == 1)
        job_finish(j);
    job_drop(j);
}

/* ---- packing -------------------------------------------------------------------------------- */

static size_t tokens_of(const replica *r, const predict_part *part)
{
    size_t tokens = 0;
    for (size_t i = 0; i < part->job->n; i++) {
        size_t events = part->job->timelines[i]->n_events + 2;
        tokens += events < r->context ? events : r->context;
    }
    return tokens;
}

static bool asks_onsets(const predict_part *part)
{
    return part->onsets.n_codes + part->onsets.top > 0;
}

/* What goes into a batch by itself: its rows are like no other's. */
static bool is_single(const predict_part *part)
{
    return part->options.explain > 0 || asks_onsets(part);
}

/* Takes parts that fit into one batch: plain ones together, the others alone, and none from aside
 * with others. */
static predict_part *take(replica *r, size_t *patients, size_t *tokens)
{
    predict_part *batch = NULL, **end = &batch;
    *patients = *tokens = 0;
    while (r->first != NULL) {
        predict_part *part = r->first;
        size_t more = tokens_of(r, part);
        if (batch != NULL && (is_single(part) || is_single(batch) || part->aside != batch->aside ||
                              *patients + part->job->n > r->config->batch_patients_max ||
                              *tokens + more > r->config->batch_tokens_max))
            break;
        r->first = part->next;
        if (r->first == NULL)
            r->last = NULL;
        part->next = NULL;
        *end = part;
        end = &part->next;
        r->waiting -= part->job->n;
        *patients += part->job->n;
        *tokens += more;
    }
    return batch;
}

static bool grow(replica *r, size_t patients, size_t rows)
{
    if (patients > r->patients_capacity) {
        void *timelines = realloc(r->timelines, patients * sizeof *r->timelines);
        if (timelines == NULL)
            return false;
        r->timelines = timelines;
        void *as_of = realloc(r->as_of, patients * sizeof *r->as_of);
        if (as_of == NULL)
            return false;
        r->as_of = as_of;
        r->patients_capacity = patients;
    }
    if (rows > r->rows_capacity) {
        void *risks = realloc(r->risks, rows * sizeof *r->risks);
        if (risks == NULL)
            return false;
        r->risks = risks;
        r->rows_capacity = rows;
    }
    return true;
}

static unsigned count_bits(uint64_t bits)
{
    return (unsigned)__builtin_popcountll(bits);
}

/* Copies the rows of a part out of the answer to the union of all heads asked for. */
static void give(predict_part *part, const rz_risk *rows, uint64_t asked)
{
    size_t n_asked = count_bits(asked), out = 0;
    for (size_t i = 0; i < part->job->n; i++) {
        size_t k = 0;
        for (unsigned head = 0; head < 64; head++) {
            if ((asked >> head & 1) == 0)
                continue;
            if ((part->options.heads >> head & 1) != 0)
                part->risks[out++] = rows[i * n_asked + k];
            k++;
        }
    }
}

/* Onsets: one part, whose rows the model writes straight away. */
static rz_status answer_onsets(replica *r, predict_part *part, rz_error *error)
{
    predict_job *j = part->job;
    part->risks = calloc(j->n * part->n_heads + 1, sizeof *part->risks);
    if (part->risks == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for the onsets of %zu patients", j->n);
    return rz_predictor_onsets(r->predictor, (const rz_timeline *const *)j->timelines, j->as_of,
                               j->n, &part->onsets, r->config->batch_tokens_max, part->risks,
                               error);
}

/* Answers all parts of a batch with one packed call. */
static rz_status answer(replica *r, predict_part *batch, rz_predict_figures *figures,
                        rz_error *error)
{
    size_t patients = 0;
    uint64_t heads = 0;
    if (asks_onsets(batch))
        return answer_onsets(r, batch, error);
    for (predict_part *p = batch; p != NULL; p = p->next) {
        patients += p->job->n;
        heads |= p->options.heads;
    }
    size_t rows = patients * count_bits(heads);
    if (!grow(r, patients, rows))
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for a batch of %zu patients", patients);
    for (predict_part *p = batch; p != NULL; p = p->next) {
        p->risks = calloc(p->job->n * p->n_heads, sizeof *p->risks);
        if (p->risks == NULL)
            return rz_fail(error, RZ_E_NO_MEMORY, "no memory for a batch of %zu patients",
                           patients);
    }
    size_t k = 0;
    for (predict_part *p = batch; p != NULL; p = p->next)
        for (size_t i = 0; i < p->job->n; i++, k++) {
            r->timelines[k] = p->job->timelines[i];
            r->as_of[k] = p->job->as_of[i];
        }
    rz_predict_options options = batch->options;
    options.heads = heads;
    options.batch_tokens_max = r->config->batch_tokens_max;
    options.figures = figures;
    rz_status status = rz_predictor_risks(r->predictor, r->timelines, r->as_of, patients, &options,
                                          r->risks, error);
    const rz_risk *row = r->risks;
    for (predict_part *p = batch; status == RZ_OK && p != NULL; p = p->next) {
        give(p, row, heads);
        row += p->job->n * count_bits(heads);
    }
    return status;
}

/* ---- the thread ----------------------------------------------------------------------------- */

static size_t bucket_of(double seconds)
{
    size_t b = 0;
    while (b < REPLICA_TIME_BUCKETS && seconds > replica_bounds_s[b])
        b++;
    return b;
}

/* What the answers say of the patients: where risks lie among those of the tuning split, how far
 * patients have drifted from it, and codes that the model does not know. */
static void count_answers(replica *r, const predict_part *batch, const rz_predict_figures *figures)
{
    for (int system = 0; system < RZ_SYSTEM_COUNT; system++)
        r->figures.unmapped[system] += figures->unmapped[system];
    for (const predict_part *p = batch; p != NULL; p = p->next)
        for (size_t i = 0; i < p->job->n * p->n_heads; i++) {
            const rz_risk *risk = &p->risks[i];
            size_t patient = i / p->n_heads;
            int32_t birth = p->job->timelines[patient]->birth_day;
            if (isnan(risk->probability))
                continue;
            double age = rz_age_years(birth, p->job->as_of[patient]);
            size_t decile = drift_score_bin(r->drift, risk->head, risk->probability);
            r->figures.scores[risk->head][decile]++;
            drift_count(r->drift, risk, age);
        }
}

static void count(replica *r, const predict_part *batch, size_t patients, size_t tokens,
                  const rz_predict_figures *figures, double began, rz_status status)
{
    double infer_s = now_s() - began - figures->tokenize_s;
    size_t bucket = 0, size = 0;
    while (bucket + 1 < REPLICA_BUCKETS && patients > (size_t)1 << bucket)
        bucket++;
    while (size + 1 < REPLICA_BUCKETS && tokens > (size_t)REPLICA_TOKENS_FIRST << size)
        size++;
    (void)pthread_mutex_lock(&r->lock);
    r->figures.running = 0; /* before the answers are given */
    r->figures.batches++;
    r->figures.tokens += tokens;
    r->figures.batch_tokens[size]++;
    /* Drift is watched by tasks; an onset's head is a code. */
    if (status == RZ_OK && !batch->aside && !asks_onsets(batch))
        count_answers(r, batch, figures);
    r->figures.patients += patients;
    r->figures.batch_patients[bucket]++;
    r->figures.tokenize_s += figures->tokenize_s;
    r->figures.tokenize_buckets[bucket_of(figures->tokenize_s)]++;
    r->figures.infer_s += infer_s;
    r->figures.infer_buckets[bucket_of(infer_s)]++;
    for (const predict_part *p = batch; p != NULL; p = p->next) {
        r->figures.queue_s += began - p->queued_s;
        r->figures.queue_buckets[bucket_of(began - p->queued_s)]++;
        r->figures.parts_failed += status != RZ_OK ? 1 : 0;
    }
    (void)pthread_mutex_unlock(&r->lock);
}

/* Ends parts that nobody waits for; returns what is left. */
static predict_part *drop_abandoned(const replica *r, predict_part *batch, size_t *patients,
                                    size_t *tokens)
{
    predict_part *kept = NULL, **end = &kept;
    while (batch != NULL) {
        predict_part *p = batch;
        batch = p->next;
        p->next = NULL;
        if (job_state_of(&p->job->job) == JOB_WAITING) {
            *end = p;
            end = &p->next;
        } else {
            *patients -= p->job->n;
            *tokens -= tokens_of(r, p);
            p->status = RZ_E_CANCELED;
            part_done(p);
        }
    }
    return kept;
}

static void run_batch(replica *r, predict_part *batch, size_t patients, size_t tokens)
{
    rz_error error = {0};
    double began = now_s();
    rz_predict_figures figures = {0};
    batch = drop_abandoned(r, batch, &patients, &tokens);
    if (batch == NULL)
        return;
    rz_status status = answer(r, batch, &figures, &error);
    count(r, batch, patients, tokens, &figures, began, status);
    if (status != RZ_OK)
        log_event("error", "predict_failed", "{s:s, s:s, s:s}", "model", r->id, "status",
                  rz_status_name(status), "detail", error.text);
    while (batch != NULL) {
        predict_part *p = batch;
        batch = p->next;
        p->status = status;
        p->error = error;
        part_done(p);
    }
}

static void *replica_main(void *argument)
{
    replica *r = argument;
    (void)pthread_mutex_lock(&r->lock);
    for (;;) {
        while (r->first == NULL && !r->retired)
            (void)pthread_cond_wait(&r->wake, &r->lock);
        if (r->first == NULL)
            break;
        if (r->config->batch_wait_ms > 0 && r->waiting < r->config->batch_patients_max &&
            !r->retired) {
            struct timespec until;
            (void)clock_gettime(CLOCK_REALTIME, &until);
            until.tv_nsec += (long)(r->config->batch_wait_ms % 1000) * 1000000;
            until.tv_sec += r->config->batch_wait_ms / 1000 + until.tv_nsec / 1000000000;
            until.tv_nsec %= 1000000000;
            while (r->waiting < r->config->batch_patients_max && !r->retired &&
                   pthread_cond_timedwait(&r->wake, &r->lock, &until) == 0)
                continue;
        }
        size_t patients, tokens;
        predict_part *batch = take(r, &patients, &tokens);
        r->figures.running = patients;
        (void)pthread_mutex_unlock(&r->lock);
        run_batch(r, batch, patients, tokens);
        (void)pthread_mutex_lock(&r->lock);
        r->figures.running = 0; /* also where nobody waited any more */
    }
    (void)pthread_mutex_unlock(&r->lock);
    return NULL;
}

/* ---- life ----------------------------------------------------------------------------------- */

/* The first answer touches every buffer and page, so that no patient waits for that. */
static rz_status warm(replica *r, rz_error *error)
{
    const rz_head *heads;
    size_t n = rz_predictor_heads(r->predictor, &heads);
    rz_timeline_event events[2] = {{.day = 18000,
                                    .known_day = 18000,
                                    .kind = RZ_KIND_ENCOUNTER,
                                    .system = RZ_SYSTEM_LOCAL,
                                    .code = "outpatient"},
                                   {.day = 18400,
                                    .known_day = 18400,
                                    .kind = RZ_KIND_DIAGNOSIS,
                                    .system = RZ_SYSTEM_ICD10,
                                    .code = "I10"}};
    rz_timeline timeline = {.sex = RZ_SEX_FEMALE, .birth_day = 0, .n_events = 2, .events = events};
    const rz_timeline *one = &timeline;
    int32_t as_of = 18500;
    rz_predict_options options = rz_predict_options_defaults();
    const rz_onset_query largest = {.top = 1};
    rz_risk *risks = calloc(n + 1, sizeof *risks);
    rz_status status =
        risks == NULL ? rz_fail(error, RZ_E_NO_MEMORY, "no memory for %zu risks", n) : RZ_OK;
    if (status == RZ_OK && n > 0)
        status = rz_predictor_risks(r->predictor, &one, &as_of, 1, &options, risks, error);
    if (status == RZ_OK && rz_predictor_onset(r->predictor) != NULL)
        status = rz_predictor_onsets(r->predictor, &one, &as_of, 1, &largest,
                                     options.batch_tokens_max, risks, error);
    free(risks);
    return status;
}

static void destroy(replica *r)
{
    rz_predictor_close(r->predictor);
    rz_pool_free(r->pool);
    drift_free(r->drift);
    free(r->timelines);
    free(r->as_of);
    free(r->risks);
    (void)pthread_cond_destroy(&r->wake);
    (void)pthread_mutex_destroy(&r->lock);
    free(r);
}

rz_status replica_new(const config *c, const char *id, const char *folder, replica **out,
                      rz_error *error)
{
    replica *r = calloc(1, sizeof *r);
    if (r == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for model %s", id);
    r->config = c;
    (void)snprintf(r->id, sizeof r->id, "%s", id);
    atomic_init(&r->references, 1);
    atomic_init(&r->tested_day, RZ_DAY_NONE);
    (void)pthread_mutex_init(&r->lock, NULL);
    (void)pthread_cond_init(&r->wake, NULL);
    rz_status status = rz_pool_new(c->model_threads, &r->pool, error);
    if (status == RZ_OK)
        status = rz_predictor_open(folder, r->pool, &r->predictor, error);
    if (status == RZ_OK)
        status = warm(r, error);
    if (status == RZ_OK) {
        const rz_head *heads;
        size_t n = rz_predictor_heads(r->predictor, &heads);
        r->drift = drift_new(heads, n);
        if (r->drift == NULL)
            status = rz_fail(error, RZ_E_NO_MEMORY, "no memory for the drift of model %s", id);
    }
    if (status == RZ_OK) {
        struct timespec now;
        (void)clock_gettime(CLOCK_REALTIME, &now);
        r->figures.loaded_at = (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
        r->context = (size_t)rz_predictor_model(r->predictor)->config.context;
        if (pthread_create(&r->thread, NULL, replica_main, r) != 0)
            status = rz_fail(error, RZ_E_BUSY, "the thread of model %s could not be started", id);
    }
    if (status != RZ_OK) {
        destroy(r);
        return status;
    }
    *out = r;
    return RZ_OK;
}

replica *replica_keep(replica *r)
{
    (void)atomic_fetch_add(&r->references, 1);
    return r;
}

void replica_drop(replica *r)
{
    if (r != NULL && atomic_fetch_sub(&r->references, 1) == 1)
        destroy(r);
}

void replica_retire(replica *r)
{
    (void)pthread_mutex_lock(&r->lock);
    r->retired = true;
    (void)pthread_cond_signal(&r->wake);
    (void)pthread_mutex_unlock(&r->lock);
    (void)pthread_join(r->thread, NULL);
}

rz_status replica_add(replica *r, predict_part *part, rz_error *error)
{
    rz_status status = RZ_OK;
    (void)pthread_mutex_lock(&r->lock);
    if (r->retired) {
        status = rz_fail(error, RZ_E_BUSY, "model %s is being unloaded", r->id);
    } else if (r->waiting > 0 && r->waiting + part->job->n > r->config->queue_patients_max) {
        status = rz_fail(error, RZ_E_QUEUE_FULL,
                         "%zu patients wait for model %s (queue-patients-max); come again",
                         r->waiting, r->id);
    } else {
        (void)job_keep(&part->job->job);
        part->queued_s = now_s();
        part->next = NULL;
        if (r->last != NULL)
            r->last->next = part;
        else
            r->first = part;
        r->last = part;
        r->waiting += part->job->n;
        (void)pthread_cond_signal(&r->wake);
    }
    (void)pthread_mutex_unlock(&r->lock);
    return status;
}

const char *replica_id(const replica *r)
{
    return r->id;
}

const rz_predictor *replica_predictor(const replica *r)
{
    return r->predictor;
}

void replica_figures_of(replica *r, replica_figures *out)
{
    (void)pthread_mutex_lock(&r->lock);
    *out = r->figures;
    out->queue_depth = r->waiting;
    (void)pthread_mutex_unlock(&r->lock);
}

void replica_drift_of(replica *r, size_t head, replica_drift *out)
{
    (void)pthread_mutex_lock(&r->lock);
    out->patients = drift_patients(r->drift, head);
    for (int f = 0; f < DRIFT_FEATURES; f++)
        out->index[f] = drift_index(r->drift, head, (drift_feature)f);
    out->outcomes = r->outcomes[head];
    (void)pthread_mutex_unlock(&r->lock);
}

void replica_set_outcomes(replica *r, size_t head, const drift_outcomes *outcomes)
{
    (void)pthread_mutex_lock(&r->lock);
    r->outcomes[head] = *outcomes;
    (void)pthread_mutex_unlock(&r->lock);
}

int32_t replica_tested_day(const replica *r)
{
    return atomic_load(&r->tested_day);
}

void replica_set_tested_day(replica *r, int32_t day)
{
    atomic_store(&r->tested_day, day);
}
