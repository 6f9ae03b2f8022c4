/* Whether explanations point at what risks rest on: held-out simulated patients, every code of each
 * left out in turn, and beside it what one backward pass says, what is told, and random codes.
 *   study-explanations --db DB --model FOLDER [--patients 200] [--tasks a,b] [--seed 1]
 * Three tables for each task:
 *   ranking   where the code whose removal changes the logit most stands in the ranking
 *   deletion  mean change when the first k codes of an order are left out together
 *   drivers   how often codes that the simulator's own hazard reads are among the first k; the
 *             largest driver is the one without which the hazard of the next day changes most
 * The simulator's state is read off the claims, as models/SIMULATOR.md describes it. */
#include "base/options.h"
#include "base/rng.h"
#include "base/size.h"
#include "predict/predictor.h"
#include "simulate/world.h"
#include "store/store.h"
#include "tasks/cohort.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    CODES_MAX = 512,
    DRAWS = 5, /* random orders */
    TRIED = 31,
    TOLD = 8,
    STEPS = 5,
    PLACES = 6,
    ARENA_BYTES = 256 << 20,
    CHUNK = 64 /* shortened histories at a time */
};
static const size_t steps[STEPS] = {1, 2, 4, 8, 16};
static const size_t places[PLACES] = {1, 3, 5, 8, 16, 31};

typedef enum order { RANKED, CONFIRMED, RECENT, FREQUENT, RANDOM, ORDERS } order;
static const char *const order_names[ORDERS] = {"backward pass", "confirmed of its 31",
                                                "most recent", "most frequent", "random"};

/* One patient: the codes of the history and what each is worth in every view. */
typedef struct subject {
    const rz_timeline *timeline;
    int32_t as_of;
    double logit, probability;
    size_t n;
    int32_t token[CODES_MAX], last_day[CODES_MAX];
    double events[CODES_MAX];
    double ranked[CODES_MAX]; /* by the backward pass */
    double change[CODES_MAX]; /* of the logit: with minus without */
    double hazard[CODES_MAX]; /* the simulator's: with minus without the code's item */
} subject;

typedef struct totals {
    size_t subjects, long_ones; /* with codes; with more than TRIED */
    double codes;
    double best_at[2][PLACES]; /* best single removal in the first k: ranked, random */
    double best_in_tried, best_tried_random, best_tried_recent; /* of long ones */
    double top_found, top_wanted; /* of the TOLD largest, those among the TRIED */
    double logit_at[ORDERS][STEPS], risk_at[ORDERS][STEPS];
    double n_at[ORDERS][STEPS];
    size_t driven; /* subjects with a driver */
    double drivers, driver_share[2][PLACES], first_driver[2][PLACES];
    double signs, same_sign;
    double correlation;
    size_t n_correlation;
} totals;

typedef struct study {
    rz_store *store;
    rz_pool *pool;
    rz_predictor *predictor;
    const rz_model *model;
    rz_scratch *scratch;
    rz_sim_world *world;
    int16_t *item_of; /* [tokens] the simulator's item; -1 */
    size_t head;
    bool outcome[RZ_SIM_ITEMS]; /* items that are the task's outcome */
    rz_rng rng;
} study;

/* ---- the simulator's view ------------------------------------------------------------------- */

static void map_code(const study *s, rz_kind kind, rz_code_system system, const char *code,
                     rz_sim_item item)
{
    const rz_timeline_event event = {
        .kind = (uint8_t)kind, .system = (uint8_t)system, .code = code, .value = NAN};
    int32_t token = rz_vocabulary_token(s->model->vocabulary, &event);
    if (token >= RZ_TOKEN_SPECIALS && item < RZ_SIM_ITEMS)
        s->item_of[token] = (int16_t)item;
}

static void map_codes(study *s)
{
    for (size_t i = 0; i < rz_sim_n_diagnoses; i++)
        map_code(s, RZ_KIND_DIAGNOSIS, RZ_SYSTEM_ICD10, s->world->diagnosis[i],
                 rz_sim_diagnoses[i].item);
    for (size_t i = 0; i < rz_sim_n_drugs; i++)
        map_code(s, RZ_KIND_MEDICATION, RZ_SYSTEM_YJ, s->world->drug[i], rz_sim_drugs[i].item);
}

static bool is_outcome(const rz_task *task, rz_code_system system, const char *code)
{
    for (size_t i = 0; i < task->n_outcomes; i++)
        if (task->outcomes[i].system == system &&
            strncmp(code, task->outcomes[i].prefix, strlen(task->outcomes[i].prefix)) == 0)
            return true;
    return false;
}

static void find_outcome(study *s, const rz_task *task)
{
    memset(s->outcome, 0, sizeof s->outcome);
    for (size_t i = 0; i < rz_sim_n_diagnoses; i++)
        if (is_outcome(task, RZ_SYSTEM_ICD10, s->world->diagnosis[i]))
            s->outcome[rz_sim_diagnoses[i].item] = true;
    for (size_t i = 0; i < rz_sim_n_drugs; i++)
        if (rz_sim_drugs[i].item < RZ_SIM_ITEMS &&
            is_outcome(task, RZ_SYSTEM_YJ, s->world->drug[i]))
            s->outcome[rz_sim_drugs[i].item] = true;
}

/* The outcome's rate on the day after the index; the hospital's habit is a common factor. */
static double rate(study *s, const rz_sim_state *state, int32_t day)
{
    static const bool none[RZ_SIM_ITEMS];
    double sum = 0.0;
    for (int item = 0; item < RZ_SIM_DEATH; item++) {
        rz_sim_state copy = *state;
        if (s->outcome[item])
            sum +=
                rz_sim_live(&s->world->engine, &copy, day, day, none, (rz_sim_item)item, &s->rng);
    }
    return sum * 365.25;
}

static void true_effects(study *s, subject *p)
{
    rz_sim_state state = {
        .birth_day = p->timeline->birth_day, .sex = p->timeline->sex, .frailty = 1.0};
    double without[RZ_SIM_ITEMS];
    for (int item = 0; item < RZ_SIM_ITEMS; item++)
        state.coded[item] = RZ_DAY_NONE;
    for (size_t i = 0; i < p->timeline->n_events; i++) {
        const rz_timeline_event *event = &p->timeline->events[i];
        int32_t token = event->known_day <= p->as_of
                            ? rz_vocabulary_token(s->model->vocabulary, event)
                            : RZ_TOKEN_NONE;
        int16_t item = token >= RZ_TOKEN_SPECIALS ? s->item_of[token] : (int16_t)-1;
        if (item >= 0 && (state.coded[item] == RZ_DAY_NONE || event->day < state.coded[item]))
            state.coded[item] = event->day;
    }
    double whole = rate(s, &state, p->as_of + 1);
    for (int item = 0; item < RZ_SIM_DEATH; item++) {
        rz_sim_state less = state;
        less.coded[item] = RZ_DAY_NONE;
        without[item] = state.coded[item] == RZ_DAY_NONE ? whole : rate(s, &less, p->as_of + 1);
    }
    for (size_t c = 0; c < p->n; c++) {
        int16_t item = s->item_of[p->token[c]];
        p->hazard[c] = item >= 0 ? whole - without[item] : 0.0;
    }
}

/* ---- the model's view ----------------------------------------------------------------------- */

/* The history without some codes: gone[token]. */
static rz_timeline *shorten(const study *s, const subject *p, const bool *gone, rz_arena *arena)
{
    rz_timeline *less = rz_arena_alloc(arena, 1, sizeof *less);
    rz_timeline_event *left = rz_arena_alloc(arena, p->timeline->n_events + 1, sizeof *left);
    if (less == NULL || left == NULL)
        return NULL;
    *less = *p->timeline;
    less->events = left;
    less->n_events = 0;
    for (size_t i = 0; i < p->timeline->n_events; i++) {
        int32_t token = rz_vocabulary_token(s->model->vocabulary, &p->timeline->events[i]);
        if (token < RZ_TOKEN_SPECIALS || !gone[token])
            left[less->n_events++] = p->timeline->events[i];
    }
    return less;
}

/* Logit and risk of n shortened histories; gone [n, tokens]. The outcome's own codes are not in the
 * history of someone who has a risk, so none loses its risk by it. */
static rz_status run_without(study *s, const subject *p, const bool *gone, size_t n, rz_risk *out,
                             rz_error *error)
{
    size_t n_tokens = RZ_TOKEN_SPECIALS + rz_model_codes(s->model);
    rz_predict_options options = rz_predict_options_defaults();
    options.heads = (uint64_t)1 << s->head;
    rz_status status = RZ_OK;
    for (size_t first = 0; first < n && status == RZ_OK; first += CHUNK) {
        rz_arena arena;
        const rz_timeline *list[CHUNK];
        int32_t days[CHUNK];
        size_t here = n - first < CHUNK ? n - first : CHUNK;
        rz_arena_init(&arena, ARENA_BYTES);
        for (size_t i = 0; i < here && status == RZ_OK; i++) {
            list[i] = shorten(s, p, gone + (first + i) * n_tokens, &arena);
            days[i] = p->as_of;
            if (list[i] == NULL)
                status = rz_fail(error, RZ_E_NO_MEMORY, "no memory for a history");
        }
        if (status == RZ_OK)
            status =
                rz_predictor_risks(s->predictor, list, days, here, &options, out + first, error);
        rz_arena_done(&arena);
    }
    return status;
}

static size_t find_code(const subject *p, int32_t token)
{
    size_t c = 0;
    while (c < p->n && p->token[c] != token)
        c++;
    return c;
}

/* Codes that the model reads, with the sums of the backward pass. */
static rz_status read_codes(study *s, subject *p, rz_error *error)
{
    rz_batch batch = {0};
    float counts[CODES_MAX];
    rz_status status =
        s->model->family->batch_build(s->model, &p->timeline, &p->as_of, 1, &batch, error);
    if (status == RZ_OK && batch.n_tokens > CODES_MAX)
        status = rz_fail(error, RZ_E_RANGE, "%zu tokens, at most %d are read here", batch.n_tokens,
                         CODES_MAX);
    if (status == RZ_OK)
        status =
            s->model->family->attribute(s->model, &batch, &s->head, 1, counts, s->scratch, error);
    for (size_t i = 0; i < batch.n_tokens && status == RZ_OK; i++) {
        if (batch.tokens[i] < RZ_TOKEN_SPECIALS)
            continue;
        size_t c = find_code(p, batch.tokens[i]);
        if (c == p->n) {
            p->token[p->n++] = batch.tokens[i];
            p->ranked[c] = p->events[c] = 0.0;
        }
        p->ranked[c] += (double)counts[i];
        p->events[c] += 1.0;
    }
    for (size_t i = 0; i < p->timeline->n_events && status == RZ_OK; i++) {
        const rz_timeline_event *event = &p->timeline->events[i];
        size_t c = event->known_day <= p->as_of
                       ? find_code(p, rz_vocabulary_token(s->model->vocabulary, event))
                       : p->n;
        if (c < p->n)
            p->last_day[c] = event->day;
    }
    rz_batch_done(&batch);
    return status;
}

static rz_status remove_each(study *s, subject *p, rz_error *error)
{
    size_t n_tokens = RZ_TOKEN_SPECIALS + rz_model_codes(s->model);
    bool *gone = calloc(p->n + 1, n_tokens);
    rz_risk *risks = calloc(p->n + 1, sizeof *risks);
    rz_status status = gone == NULL || risks == NULL
                           ? rz_fail(error, RZ_E_NO_MEMORY, "no memory for %zu codes", p->n)
                           : RZ_OK;
    for (size_t c = 0; c < p->n && status == RZ_OK; c++)
        gone[(c + 1) * n_tokens + (size_t)p->token[c]] = true;
    if (status == RZ_OK)
        status = run_without(s, p, gone, p->n + 1, risks, error);
    if (status == RZ_OK) {
        p->logit = risks[0].logit;
        p->probability = risks[0].probability;
        for (size_t c = 0; c < p->n; c++)
            p->change[c] = p->logit - risks[c + 1].logit;
    }
    free(gone);
    free(risks);
    return status;
}

/* ---- orders --------------------------------------------------------------------------------- */

/* Codes by |value|, the largest first; equals as they stand. */
static void sort_by(const double *value, size_t n, size_t *out)
{
    for (size_t c = 0; c < n; c++) {
        size_t at = c;
        for (; at > 0 && fabs(value[out[at - 1]]) < fabs(value[c]); at--)
            out[at] = out[at - 1];
        out[at] = c;
    }
}

static void make_order(study *s, const subject *p, order which, size_t *out)
{
    double value[CODES_MAX];
    size_t ranked[CODES_MAX];
    sort_by(p->ranked, p->n, ranked);
    for (size_t c = 0; c < p->n; c++)
        value[c] = which == RECENT     ? (double)(p->last_day[c] - RZ_DAY_MIN)
                   : which == FREQUENT ? p->events[c]
                   : which == RANDOM   ? rz_rng_uniform(&s->rng) + 1e-9
                   : which == RANKED   ? p->ranked[c]
                                       : 0.0;
    for (size_t i = 0; i < p->n && i < TRIED && which == CONFIRMED; i++)
        value[ranked[i]] = p->change[ranked[i]];
    sort_by(value, p->n, out);
}

static size_t place_of(const size_t *sorted, size_t n, size_t code)
{
    size_t i = 0;
    while (i < n && sorted[i] != code)
        i++;
    return i;
}

/* 1 - probability that k of n drawn without return miss all m. */
static double chance(size_t n, size_t m, size_t k)
{
    double miss = 1.0;
    for (size_t i = 0; i < k; i++)
        miss *= i < n && n - i > m ? (double)(n - m - i) / (double)(n - i) : 0.0;
    return 1.0 - miss;
}

/* ---- tables --------------------------------------------------------------------------------- */

/* Ranks of |x|, ties by place: good enough for numbers that differ. */
static double rank_correlation(const subject *p)
{
    size_t a[CODES_MAX], b[CODES_MAX];
    double sum = 0.0, n = (double)p->n;
    sort_by(p->ranked, p->n, a);
    sort_by(p->change, p->n, b);
    for (size_t i = 0; i < p->n; i++) {
        double d = (double)i - (double)place_of(b, p->n, a[i]);
        sum += d * d;
    }
    return 1.0 - 6.0 * sum / (n * (n * n - 1.0));
}

static void count_ranking(study *s, const subject *p, totals *t)
{
    size_t ranked[CODES_MAX], truly[CODES_MAX] = {0}, recent[CODES_MAX];
    sort_by(p->ranked, p->n, ranked);
    sort_by(p->change, p->n, truly);
    make_order(s, p, RECENT, recent);
    size_t place = place_of(ranked, p->n, truly[0]);
    for (size_t k = 0; k < PLACES; k++) {
        t->best_at[0][k] += place < places[k];
        t->best_at[1][k] += chance(p->n, 1, places[k]);
    }
    if (p->n > TRIED) {
        t->long_ones++;
        t->best_in_tried += place < TRIED;
        t->best_tried_random += chance(p->n, 1, TRIED);
        t->best_tried_recent += place_of(recent, p->n, truly[0]) < TRIED;
    }
    for (size_t i = 0; i < p->n && i < TOLD; i++) {
        t->top_wanted += 1.0;
        t->top_found += place_of(ranked, p->n, truly[i]) < TRIED;
    }
    if (p->n >= 5) {
        t->correlation += rank_correlation(p);
        t->n_correlation++;
    }
}

/* All orders and steps of one patient are one call. */
static rz_status count_deletion(study *s, const subject *p, totals *t, rz_error *error)
{
    enum { SETS = (ORDERS + DRAWS - 1) * STEPS };
    size_t n_tokens = RZ_TOKEN_SPECIALS + rz_model_codes(s->model);
    bool *gone = calloc(SETS, n_tokens);
    rz_risk *risks = calloc(SETS, sizeof *risks);
    rz_status status = gone == NULL || risks == NULL
                           ? rz_fail(error, RZ_E_NO_MEMORY, "no memory for %d histories", SETS)
                           : RZ_OK;
    for (size_t i = 0; i < SETS / STEPS && status == RZ_OK; i++) {
        size_t sorted[CODES_MAX];
        make_order(s, p, (order)(i < RANDOM ? i : RANDOM), sorted);
        for (size_t k = 0; k < STEPS; k++)
            for (size_t c = 0; c < steps[k] && c < p->n; c++)
                gone[(i * STEPS + k) * n_tokens + (size_t)p->token[sorted[c]]] = true;
    }
    if (status == RZ_OK)
        status = run_without(s, p, gone, SETS, risks, error);
    for (size_t i = 0; i < SETS && status == RZ_OK; i++) {
        size_t which = i / STEPS < RANDOM ? i / STEPS : RANDOM, k = i % STEPS;
        if (p->n <= steps[k]) /* a choice there must be */
            continue;
        t->logit_at[which][k] += fabs(p->logit - risks[i].logit);
        t->risk_at[which][k] += fabs(p->probability - risks[i].probability);
        t->n_at[which][k] += 1.0;
    }
    free(gone);
    free(risks);
    return status;
}

static void count_drivers(study *s, const subject *p, totals *t)
{
    size_t told[CODES_MAX], truly[CODES_MAX], drivers = 0, first = 0;
    make_order(s, p, CONFIRMED, told);
    sort_by(p->hazard, p->n, truly);
    while (drivers < p->n && fabs(p->hazard[truly[drivers]]) > 1e-12)
        drivers++;
    if (drivers == 0 || drivers == p->n)
        return;
    /* Codes of one item have the same effect: any of the largest counts. */
    double largest = fabs(p->hazard[truly[0]]);
    while (first < drivers && fabs(p->hazard[truly[first]]) > largest * (1.0 - 1e-9))
        first++;
    t->driven++;
    t->drivers += (double)drivers;
    for (size_t k = 0; k < PLACES; k++) {
        size_t shown = p->n < places[k] ? p->n : places[k], found = 0, most = 0;
        for (size_t i = 0; i < shown; i++) {
            double effect = fabs(p->hazard[told[i]]);
            found += effect > 1e-12;
            most += effect > largest * (1.0 - 1e-9);
        }
        t->driver_share[0][k] += (double)found / (double)shown;
        t->driver_share[1][k] += (double)drivers / (double)p->n;
        t->first_driver[0][k] += most > 0;
        t->first_driver[1][k] += chance(p->n, first, places[k]);
    }
    for (size_t i = 0; i < TOLD && i < p->n; i++)
        if (fabs(p->hazard[told[i]]) > 1e-12) {
            t->signs += 1.0;
            t->same_sign += p->hazard[told[i]] * p->change[told[i]] > 0.0;
        }
}

static void print_row(const char *name, const double *values, size_t n, const double *counts,
                      double count, int digits)
{
    (void)printf("  %-22s", name);
    for (size_t k = 0; k < n; k++)
        (void)printf("  %-7.*f", digits, values[k] / (counts != NULL ? counts[k] : count));
    (void)printf("\n");
}

static void print_head(const char *what, const size_t *k, size_t n)
{
    (void)printf("  %-22s", what);
    for (size_t i = 0; i < n; i++)
        (void)printf("  k = %-3zu", k[i]);
    (void)printf("\n");
}

static void print(const char *task, const totals *t)
{
    double n = (double)t->subjects;
    (void)printf("%s: %zu patients, %.1f codes each, %zu with more than %d\n", task, t->subjects,
                 t->codes / n, t->long_ones, TRIED);
    print_head("best removal in first", places, PLACES);
    print_row("backward pass", t->best_at[0], PLACES, NULL, n, 3);
    print_row("random", t->best_at[1], PLACES, NULL, n, 3);
    if (t->long_ones > 0)
        (void)printf(
            "  of more than %d codes the best is among %d: backward pass %.3f, most recent "
            "%.3f, random %.3f\n",
            TRIED, TRIED, t->best_in_tried / (double)t->long_ones,
            t->best_tried_recent / (double)t->long_ones,
            t->best_tried_random / (double)t->long_ones);
    (void)printf("  of the %d largest, among the %d tried: %.4f; rank correlation %.3f\n", TOLD,
                 TRIED, t->top_found / t->top_wanted, t->correlation / (double)t->n_correlation);
    print_head("mean |change|, logit", steps, STEPS);
    for (size_t i = 0; i < ORDERS; i++)
        print_row(order_names[i], t->logit_at[i], STEPS, t->n_at[i], 0.0, 3);
    print_head("mean |change|, risk", steps, STEPS);
    for (size_t i = 0; i < ORDERS; i++)
        print_row(order_names[i], t->risk_at[i], STEPS, t->n_at[i], 0.0, 4);
    if (t->driven == 0)
        return;
    n = (double)t->driven;
    (void)printf("  %zu patients with drivers, %.1f codes each\n", t->driven, t->drivers / n);
    print_head("drivers among first", places, PLACES);
    print_row("contributions", t->driver_share[0], PLACES, NULL, n, 3);
    print_row("random", t->driver_share[1], PLACES, NULL, n, 3);
    print_head("largest driver in first", places, PLACES);
    print_row("contributions", t->first_driver[0], PLACES, NULL, n, 3);
    print_row("random", t->first_driver[1], PLACES, NULL, n, 3);
    (void)printf("  drivers told with the simulator's sign: %.3f\n\n", t->same_sign / t->signs);
}

/* ---- all of it ------------------------------------------------------------------------------ */

static rz_status study_patient(study *s, const rz_cohort_member *m, totals *t, rz_error *error)
{
    static subject p; /* large */
    rz_arena arena;
    rz_timeline *timeline = NULL;
    rz_arena_init(&arena, ARENA_BYTES);
    rz_status status = rz_store_timeline(s->store, m->patient, m->index_day, RZ_RECORDED_NOW,
                                         &arena, &timeline, error);
    if (status == RZ_OK) {
        p = (subject){.timeline = timeline, .as_of = m->index_day};
        status = read_codes(s, &p, error);
    }
    if (status == RZ_OK && p.n > 0) {
        status = remove_each(s, &p, error);
        if (status == RZ_OK)
            status = count_deletion(s, &p, t, error);
        if (status == RZ_OK) {
            true_effects(s, &p);
            count_ranking(s, &p, t);
            count_drivers(s, &p, t);
            t->subjects++;
            t->codes += (double)p.n;
        }
    }
    rz_arena_done(&arena);
    return status;
}

static rz_status study_task(study *s, const rz_task *task, size_t patients, rz_error *error)
{
    static totals t;
    rz_cohort cohort = {0};
    t = (totals){0};
    find_outcome(s, task);
    rz_status status =
        rz_cohort_build(s->store, task, 1, &(rz_cohort_options){0}, NULL, &cohort, error);
    for (size_t i = 0; i < cohort.n && t.subjects < patients && status == RZ_OK; i++)
        if (cohort.members[i].split == RZ_SPLIT_HELD_OUT)
            status = study_patient(s, &cohort.members[i], &t, error);
    rz_cohort_done(&cohort);
    if (status == RZ_OK && t.subjects > 0)
        print(task->name, &t);
    return status;
}

static rz_status open_study(study *s, const rz_options *options, rz_error *error)
{
    rz_store_options how = rz_store_options_defaults();
    rz_rng_init(&s->rng, (uint64_t)rz_options_int(options, "seed"), 0);
    how.write = false;
    rz_status status = rz_hash_setup(error);
    if (status == RZ_OK)
        status = rz_store_open(rz_options_text(options, "db"), &how, &s->store, error);
    if (status == RZ_OK)
        status = rz_pool_new(rz_cores(), &s->pool, error);
    if (status == RZ_OK)
        status =
            rz_predictor_open(rz_options_text(options, "model"), s->pool, &s->predictor, error);
    if (status != RZ_OK)
        return status;
    s->model = rz_predictor_model(s->predictor);
    size_t n_tokens = RZ_TOKEN_SPECIALS + rz_model_codes(s->model);
    s->item_of = calloc(n_tokens, sizeof *s->item_of);
    s->world = calloc(1, sizeof *s->world);
    if (s->item_of == NULL || s->world == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for the simulator's tables");
    for (size_t i = 0; i < n_tokens; i++)
        s->item_of[i] = -1;
    status = rz_sim_world_init(s->world, 1, 1, 0.0, error);
    if (status == RZ_OK)
        status = s->model->family->scratch_new(s->model, &s->scratch, error);
    if (status == RZ_OK)
        map_codes(s);
    return status;
}

static void close_study(study *s)
{
    if (s->scratch != NULL)
        s->model->family->scratch_free(s->scratch);
    rz_predictor_close(s->predictor);
    rz_pool_free(s->pool);
    rz_store_close(s->store);
    free(s->item_of);
    free(s->world);
}

static bool wanted(const rz_options *options, const char *task)
{
    const char *list = rz_options_text(options, "tasks");
    size_t n = strlen(task);
    for (const char *at = list; at != NULL && *at != '\0'; at += at[0] == ',' ? 1 : 0) {
        size_t length = strcspn(at, ",");
        if (length == n && memcmp(at, task, n) == 0)
            return true;
        at += length;
    }
    return list == NULL;
}

int main(int argc, char **argv)
{
    static const rz_option table[] = {
        {"db", RZ_OPTION_TEXT, NULL, .value = "PATH", .help = "a store of simulated claims"},
        {"model", RZ_OPTION_TEXT, NULL, .value = "FOLDER", .help = "a fine-tuned model"},
        {"tasks", RZ_OPTION_TEXT, NULL, .value = "NAME,…", .help = "tasks of the model [all]"},
        {"patients", RZ_OPTION_INT, "200", .min = 1, .max = 1e6, .value = "N",
         .help = "held-out patients of each task"},
        {"seed", RZ_OPTION_INT, "1", .min = 0, .max = 1e9, .value = "N", .help = "random orders"}};
    static study s;
    rz_error error = {0};
    rz_options *options = NULL;
    const rz_head *heads;
    rz_status status = rz_options_new(table, RZ_COUNT(table), "REZEPT", &options, &error);
    if (status == RZ_OK)
        status = rz_options_read_arguments(options, argc, argv, &error);
    if (status == RZ_OK && rz_options_wants_help(options)) {
        rz_options_print_help(options, stdout);
        goto out;
    }
    if (status == RZ_OK &&
        (rz_options_text(options, "db") == NULL || rz_options_text(options, "model") == NULL))
        status = rz_fail(&error, RZ_E_USAGE, "--db and --model are needed; --help explains");
    if (status == RZ_OK)
        status = open_study(&s, options, &error);
    size_t n = status == RZ_OK ? rz_predictor_heads(s.predictor, &heads) : 0;
    for (s.head = 0; s.head < n && status == RZ_OK; s.head++)
        if (wanted(options, heads[s.head].task.name))
            status = study_task(&s, &heads[s.head].task,
                                (size_t)rz_options_int(options, "patients"), &error);
    if (status != RZ_OK)
        (void)fprintf(stderr, "study-explanations: %s\n", error.text);
out:
    close_study(&s);
    rz_options_free(options);
    return status == RZ_OK ? 0 : 1;
}
