/* One thread, one window at a time: which patients lack a fresh score, their histories, the risks,
 * one write; then, patient by patient, what the highest risks rest on. While nothing changes it
 * only looks at a counter. */
#include "scorer.h"

#include "backtest.h"
#include "explained.h"
#include "log.h"
#include "readers.h"
#include "registry.h"
#include "writer.h"

#include "store/scores.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct scorer {
    server *server;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool stop; /* under lock */
    atomic_ullong scored;
    size_t window;        /* patients of a batch at most */
    rz_patient_key *keys; /* [window + rescore_explain] */
    uint64_t seen_changes, seen_loads;
    int32_t seen_day;
    bool behind;       /* the last round was not finished */
    bool unexplained;  /* since the last round the top of the worklists has not been explained */
    uint64_t answered; /* patients that had been answered after our last window, ours among them */
    double rest_until; /* where requests come; monotonic */
    backtest *test;    /* under way; NULL when there is none */
};

int32_t scorer_day(const config *c)
{
    /* Before the hour, the day is still yesterday's. */
    time_t now = time(NULL) - (time_t)c->rescore_hour_utc * 3600;
    return (int32_t)(now / 86400) + (c->rescore_hour_utc >= 12 ? 1 : 0);
}

uint64_t scorer_scored(const scorer *sc)
{
    return sc != NULL ? atomic_load(&sc->scored) : 0;
}

/* Sleeps; true when the scorer is to end. */
static bool pause_ms(scorer *sc, int ms)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += (long)(ms % 1000) * 1000000;
    until.tv_sec += ms / 1000 + until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    (void)pthread_mutex_lock(&sc->lock);
    while (!sc->stop && pthread_cond_timedwait(&sc->wake, &sc->lock, &until) == 0)
        continue;
    bool stop = sc->stop;
    (void)pthread_mutex_unlock(&sc->lock);
    return stop;
}

/* Waits for a job that no connection waits for; false when the scorer is to end first. */
static bool wait_for(scorer *sc, job *j)
{
    while (job_state_of(j) == JOB_WAITING) {
        if (pause_ms(sc, 2)) {
            (void)job_abandon(j, JOB_TIMED_OUT);
            return false;
        }
    }
    return job_state_of(j) == JOB_FINISHED;
}

/* ---- writing -------------------------------------------------------------------------------- */

typedef struct scores_op {
    write_op op;        /* first */
    predict_job *job;   /* one reference: the rows borrow from its model */
    rz_score_row *rows; /* owned */
    size_t n;
} scores_op;

static void destroy(job *j)
{
    scores_op *s = (scores_op *)j;
    job_drop(&s->job->job);
    free(s->rows);
    free(s);
}

static rz_status run(write_op *op, rz_store *store, rz_error *error)
{
    scores_op *s = (scores_op *)op;
    return rz_store_scores_put(store, s->rows, s->n, error);
}

static void fill_row(rz_score_row *row, const predict_job *j, size_t patient, size_t head,
                     const int64_t *versions, const rz_risk *risk)
{
    const rz_head *heads;
    (void)rz_predictor_heads(replica_predictor(j->parts[0].replica), &heads);
    bool has = risk->eligibility.reason == RZ_REASON_NONE;
    row->patient = j->timelines[patient]->patient;
    row->task = heads[head].task.name;
    row->context = explained_context(j->parts[0].replica, head);
    row->score = (rz_score){.probability = has ? risk->probability : (double)NAN,
                            .low = has ? risk->low : (double)NAN,
                            .high = has ? risk->high : (double)NAN,
                            .average = risk->age_sex_average,
                            .as_of = j->as_of[patient],
                            .version = versions[patient]};
    (void)snprintf(row->score.reason, sizeof row->score.reason, "%s",
                   rz_reason_text(risk->eligibility.reason));
}

/* Writes what the job answered; takes the job's reference. */
static bool write_scores(scorer *sc, predict_job *j, const int64_t *versions)
{
    const predict_part *part = &j->parts[0];
    rz_error error = {0};
    scores_op *s = calloc(1, sizeof *s);
    rz_score_row *rows = calloc(j->n * part->n_heads, sizeof *rows);
    if (s == NULL || rows == NULL || part->status != RZ_OK) {
        free(s);
        free(rows);
        job_drop(&j->job);
        return false;
    }
    job_init(&s->op.job, NULL, destroy);
    s->op.run = run;
    s->op.derived = true;
    s->job = j;
    s->rows = rows;
    for (size_t i = 0; i < j->n; i++) {
        size_t k = 0;
        for (size_t head = 0; head < 64; head++)
            if ((part->options.heads >> head & 1) != 0)
                fill_row(&rows[s->n++], j, i, head, versions,
                         &part->risks[i * part->n_heads + k++]);
    }
    bool written = writer_add(sc->server->writer, &s->op, &error) == RZ_OK &&
                   wait_for(sc, &s->op.job) && s->op.status == RZ_OK;
    if (written)
        (void)atomic_fetch_add(&sc->scored, j->n);
    job_drop(&s->op.job);
    return written;
}

/* ---- one window ----------------------------------------------------------------------------- */

/* The patient of a key, as the store lists it. */
static rz_status patient_of(rz_store *store, rz_patient_key key, rz_patient *out, rz_error *error)
{
    size_t n = 0;
    rz_status status = rz_store_patients(store, key - 1, NULL, out, 1, &n, error);
    if (status == RZ_OK && (n == 0 || out->key != key))
        status = rz_fail(error, RZ_E_NOT_FOUND, "the patient is gone");
    return status;
}

static rz_status load(const rz_patient_key *keys, rz_store *store, size_t n, int32_t day,
                      predict_job *j, int64_t *versions)
{
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        rz_error error = {0};
        rz_patient patient;
        /* The version first: a change in between makes the score stale, not wrongly fresh. */
        rz_status status = patient_of(store, keys[i], &patient, &error);
        if (status == RZ_OK)
            status = rz_store_timeline(store, keys[i], day, RZ_RECORDED_NOW, &j->arena,
                                       &j->timelines[kept], &error);
        if (status == RZ_E_NOT_FOUND)
            continue; /* erased meanwhile */
        if (status != RZ_OK)
            return status;
        versions[kept] = patient.version;
        j->as_of[kept++] = day;
    }
    j->n = kept;
    return RZ_OK;
}

/* Patients that the model answers in rescore-batch-ms, by its own figures: a batch is not broken
 * off, so a request that comes in between waits for its end. */
static size_t window_of(const scorer *sc, const replica_figures *f)
{
    enum { UNKNOWN = 4 };
    double wanted = UNKNOWN;
    if (f->patients > 0 && f->infer_s > 0.0)
        wanted = 1e-3 * sc->server->config.rescore_batch_ms * (double)f->patients /
                 (f->tokenize_s + f->infer_s);
    return wanted < 1.0 ? 1 : wanted < (double)sc->window ? (size_t)wanted : sc->window;
}

/* Scores up to `window` patients after *after that lack a fresh score; false on a failure. */
static bool score_window(scorer *sc, replica *rep, uint64_t heads, size_t driver, int32_t day,
                         size_t window, rz_patient_key *after, size_t *found)
{
    rz_store *store = NULL;
    rz_error error = {0};
    predict_job *j = NULL;
    const rz_head *table;
    int64_t *versions = calloc(window, sizeof *versions);
    rz_score_context context = explained_context(rep, driver);
    (void)rz_predictor_heads(replica_predictor(rep), &table);
    rz_status status =
        versions == NULL ? RZ_E_NO_MEMORY : readers_take(sc->server->readers, &store, &error);
    if (status == RZ_OK)
        status = rz_store_scores_missing(store, table[driver].task.name, day, &context, *after,
                                         sc->keys, window, found, &error);
    if (status == RZ_OK && *found > 0) {
        *after = sc->keys[*found - 1];
        status = predict_job_new(NULL, *found, 1,
                                 *found * (sc->server->config.history_bytes_max / 8), &j, &error);
        if (status == RZ_OK)
            status = load(sc->keys, store, *found, day, j, versions);
    }
    readers_give(sc->server->readers, store);
    bool done = status == RZ_OK;
    if (status == RZ_OK && j != NULL && j->n > 0) {
        predict_part *part = &j->parts[0];
        part->replica = replica_keep(rep);
        part->options = rz_predict_options_defaults();
        part->options.heads = heads;
        part->n_heads = (size_t)__builtin_popcountll(heads);
        status = replica_add(rep, part, &error);
        done = status == RZ_OK && wait_for(sc, &j->job) &&
               write_scores(sc, (predict_job *)(void *)job_keep(&j->job), versions);
    }
    if (status != RZ_OK && status != RZ_E_BUSY && status != RZ_E_QUEUE_FULL)
        log_event("warning", "rescore_failed", "{s:s}", "detail", error.text);
    if (j != NULL)
        job_drop(&j->job);
    free(versions);
    return done;
}

static double now_s(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Patients that any model has before it, and that all have answered: models share the cores. */
static void load_of(const scorer *sc, size_t *waiting, uint64_t *answered)
{
    replica *all[MODELS_MAX];
    size_t n = registry_replicas(sc->server->registry, all, MODELS_MAX);
    *waiting = 0;
    *answered = 0;
    for (size_t i = 0; i < n; i++) {
        replica_figures f;
        replica_figures_of(all[i], &f);
        *waiting += f.queue_depth + f.running;
        *answered += f.patients;
        replica_drop(all[i]);
    }
}

/* Waits until the next window may run; false when the scorer is to end. Windows follow each other
 * while nothing else is asked; while requests come, each is followed by a pause of so many times
 * its length that requests keep nearly all of the cores, and the background still comes to its
 * end. */
static bool wait_turn(scorer *sc)
{
    enum { LOOK_MS = 20 };
    for (;;) {
        size_t waiting;
        uint64_t answered;
        load_of(sc, &waiting, &answered);
        bool requests = waiting > 0 || answered > sc->answered;
        sc->answered = answered;
        if (!requests || now_s() >= sc->rest_until)
            return true;
        if (pause_ms(sc, LOOK_MS))
            return false;
    }
}

/* A window of so many patients is over. */
static void end_turn(scorer *sc, double began, size_t patients)
{
    enum { PAUSE_TIMES = 19 };
    sc->rest_until = now_s() + PAUSE_TIMES * (now_s() - began);
    sc->answered += patients;
}

/* All patients for one model, beginning with the head `driver`. */
static bool score_model(scorer *sc, replica *rep, uint64_t heads, size_t driver, int32_t day)
{
    rz_patient_key after = 0;
    for (size_t found = 1; found > 0;) {
        replica_figures f;
        if (!wait_turn(sc))
            return false;
        double began = now_s();
        replica_figures_of(rep, &f);
        found = 0;
        if (!score_window(sc, rep, heads, driver, day, window_of(sc, &f), &after, &found) ||
            pause_ms(sc, 0))
            return false;
        end_turn(sc, began, found);
    }
    return true;
}

/* ---- explanations --------------------------------------------------------------------------- */

/* One patient, of all heads; false when the scorer is to end or has to come again. A patient that
 * cannot be explained is passed over: the first question will say why. */
static bool explain_one(scorer *sc, replica *rep, uint64_t heads, rz_patient_key key, int32_t day)
{
    rz_store *store = NULL;
    rz_error error = {0};
    predict_job *j = NULL;
    int64_t version = 0;
    bool more = true;
    rz_status status =
        predict_job_new(NULL, 1, 1, sc->server->config.history_bytes_max, &j, &error);
    if (status == RZ_OK)
        status = readers_take(sc->server->readers, &store, &error);
    if (status == RZ_OK) {
        status = load(&key, store, 1, day, j, &version);
        readers_give(sc->server->readers, store);
    }
    if (status == RZ_OK && j->n > 0) {
        predict_part *part = &j->parts[0];
        part->replica = replica_keep(rep);
        part->options = rz_predict_options_defaults();
        part->options.heads = heads;
        part->options.explain = RZ_CONTRIBUTIONS_MAX;
        part->n_heads = (size_t)__builtin_popcountll(heads);
        part->aside = true;
        more = replica_add(rep, part, &error) == RZ_OK && wait_for(sc, &j->job);
        write_op *op =
            more && part->status == RZ_OK ? explained_keep(sc->server, j, 0, 0, version) : NULL;
        if (op != NULL) {
            more = wait_for(sc, &op->job);
            job_drop(&op->job);
        }
    }
    if (j != NULL)
        job_drop(&j->job);
    return more;
}

/* The highest risks of a head that lack it; true when none is left. New scores come first. */
static bool explain_head(scorer *sc, replica *rep, uint64_t heads, size_t head, int32_t day)
{
    rz_store *store = NULL;
    rz_error error = {0};
    const rz_head *table;
    const rz_score_context context = explained_context(rep, head);
    size_t n = 0, top = sc->server->config.rescore_explain;
    (void)rz_predictor_heads(replica_predictor(rep), &table);
    rz_status status = readers_take(sc->server->readers, &store, &error);
    if (status == RZ_OK)
        status = rz_store_explanations_missing(store, table[head].task.name, day, &context, top,
                                               sc->keys, top, &n, &error);
    readers_give(sc->server->readers, store);
    if (status != RZ_OK)
        log_event("warning", "explain_failed", "{s:s}", "detail", error.text);
    for (size_t i = 0; status == RZ_OK && i < n; i++) {
        if (!wait_turn(sc))
            return false;
        double began = now_s();
        if (!explain_one(sc, rep, heads, sc->keys[i], day) || pause_ms(sc, 0) ||
            writer_changes(sc->server->writer) != sc->seen_changes ||
            registry_loads(sc->server->registry) != sc->seen_loads)
            return false;
        end_turn(sc, began, 1);
    }
    return status == RZ_OK;
}

/* The top of the worklists of all tasks that this model answers. */
static bool explain_model(scorer *sc, replica *rep, uint64_t heads, size_t driver, int32_t day)
{
    (void)driver;
    bool done = true;
    for (size_t head = 0; head < RZ_HEADS_MAX && done; head++)
        if ((heads >> head & 1) != 0)
            done = explain_head(sc, rep, heads, head, day);
    return done;
}

/* ---- all models ----------------------------------------------------------------------------- */

typedef bool model_work(scorer *sc, replica *rep, uint64_t heads, size_t driver, int32_t day);

static bool all_models(scorer *sc, model_work *work, int32_t day)
{
    task_route routes[RZ_TASKS_MAX];
    registry *g = sc->server->registry;
    size_t n = registry_tasks(g, routes, RZ_TASKS_MAX);
    bool done = true;
    for (size_t i = 0; i < n && done; i++) {
        replica *rep = NULL;
        size_t head = 0, other;
        uint64_t heads = 0;
        rz_error error = {0};
        if (registry_task(g, routes[i].task, &rep, &head, &error) != RZ_OK)
            continue;
        /* One pass answers all tasks that this model is routed for. */
        for (size_t k = 0; k < n; k++) {
            replica *same = NULL;
            if (strcmp(routes[k].model, routes[i].model) != 0 ||
                registry_task(g, routes[k].task, &same, &other, &error) != RZ_OK)
                continue;
            if (same == rep)
                heads |= (uint64_t)1 << other;
            replica_drop(same);
        }
        done = work(sc, rep, heads | (uint64_t)1 << head, head, day);
        replica_drop(rep);
    }
    return done;
}

/* ---- backtests ------------------------------------------------------------------------------ */

/* The next model that had none on this day; true when one is under way then. */
static bool begin_test(scorer *sc, int32_t day, rz_error *error)
{
    replica *all[MODELS_MAX];
    size_t n = registry_replicas(sc->server->registry, all, MODELS_MAX);
    for (size_t i = 0; i < n; i++) {
        if (sc->test == NULL && replica_tested_day(all[i]) != day) {
            rz_status status = backtest_new(sc->server, all[i], &sc->test, error);
            if (status != RZ_E_BUSY) /* one that fails is not tried all day long */
                replica_set_tested_day(all[i], day);
            if (status != RZ_OK && status != RZ_E_BUSY)
                log_event("warning", "backtest_failed", "{s:s, s:s}", "model", replica_id(all[i]),
                          "detail", error->text);
        }
        replica_drop(all[i]);
    }
    return sc->test != NULL;
}

static void end_test(scorer *sc, rz_status status, const rz_error *error)
{
    if (status == RZ_OK)
        backtest_finish(sc->test);
    else if (status != RZ_E_CANCELED)
        log_event("warning", "backtest_failed", "{s:s, s:s}", "model",
                  replica_id(backtest_replica(sc->test)), "detail", error->text);
    backtest_free(sc->test);
    sc->test = NULL;
}

/* One window of the backtest under way. */
static rz_status test_window(scorer *sc, bool *done, rz_error *error)
{
    replica_figures f;
    predict_job *j = NULL;
    replica *rep = backtest_replica(sc->test);
    double began = now_s();
    replica_figures_of(rep, &f);
    rz_status status = backtest_ask(sc->test, window_of(sc, &f), &j, done, error);
    if (status != RZ_OK || j == NULL)
        return status;
    status = replica_add(rep, &j->parts[0], error);
    if (status == RZ_E_BUSY || (status == RZ_OK && !wait_for(sc, &j->job)))
        status = RZ_E_CANCELED; /* the model is being unloaded, or the scorer is to end */
    if (status == RZ_OK && j->parts[0].status != RZ_OK)
        status = rz_fail(error, j->parts[0].status, "%s", j->parts[0].error.text);
    if (status == RZ_OK)
        backtest_count(sc->test, j);
    end_turn(sc, began, j->n);
    job_drop(&j->job);
    return status;
}

/* Goes on with backtests until none is due, or until there is a history or a model to score. */
static void run_tests(scorer *sc)
{
    rz_error error = {0};
    while (sc->test != NULL || begin_test(sc, sc->seen_day, &error)) {
        bool done = false;
        if (!wait_turn(sc))
            return;
        rz_error_clear(&error);
        rz_status status = test_window(sc, &done, &error);
        bool crowded = status == RZ_E_QUEUE_FULL || status == RZ_E_BUSY; /* come again */
        if (!crowded && (status != RZ_OK || done))
            end_test(sc, status, &error);
        rz_error_clear(&error);
        if (crowded || pause_ms(sc, 0) || writer_changes(sc->server->writer) != sc->seen_changes ||
            registry_loads(sc->server->registry) != sc->seen_loads)
            return;
    }
}

static void *scorer_main(void *argument)
{
    scorer *sc = argument;
    while (!pause_ms(sc, sc->server->config.rescore_pause_ms)) {
        uint64_t changes = writer_changes(sc->server->writer);
        uint64_t loads = registry_loads(sc->server->registry);
        int32_t day = scorer_day(&sc->server->config);
        if (sc->behind || changes != sc->seen_changes || loads != sc->seen_loads ||
            day != sc->seen_day) {
            sc->seen_changes = changes;
            sc->seen_loads = loads;
            sc->seen_day = day;
            sc->behind = !all_models(sc, score_model, day);
            sc->unexplained = true;
        }
        if (!sc->behind && sc->unexplained)
            sc->unexplained = !all_models(sc, explain_model, sc->seen_day);
        if (!sc->behind && !sc->unexplained)
            run_tests(sc);
    }
    return NULL;
}

rz_status scorer_new(server *s, scorer **out, rz_error *error)
{
    *out = NULL;
    if (!s->config.rescore)
        return RZ_OK;
    scorer *sc = calloc(1, sizeof *sc);
    size_t room = s->config.batch_patients_max + s->config.rescore_explain;
    if (sc != NULL)
        sc->keys = calloc(room, sizeof *sc->keys);
    if (sc == NULL || sc->keys == NULL) {
        free(sc);
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for the background scorer");
    }
    sc->server = s;
    sc->window = s->config.batch_patients_max;
    sc->behind = true;
    (void)pthread_mutex_init(&sc->lock, NULL);
    (void)pthread_cond_init(&sc->wake, NULL);
    if (pthread_create(&sc->thread, NULL, scorer_main, sc) != 0) {
        free(sc->keys);
        free(sc);
        return rz_fail(error, RZ_E_BUSY, "the background scorer could not be started");
    }
    *out = sc;
    return RZ_OK;
}

void scorer_free(scorer *sc)
{
    if (sc == NULL)
        return;
    (void)pthread_mutex_lock(&sc->lock);
    sc->stop = true;
    (void)pthread_cond_signal(&sc->wake);
    (void)pthread_mutex_unlock(&sc->lock);
    (void)pthread_join(sc->thread, NULL);
    backtest_free(sc->test);
    (void)pthread_cond_destroy(&sc->wake);
    (void)pthread_mutex_destroy(&sc->lock);
    free(sc->keys);
    free(sc);
}
