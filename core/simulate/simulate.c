/* The run: patients in parallel, output in order. The data end of a hospital is known only when all
 * its patients are, so the truth takes a second pass, which makes each patient again. */
#include "simulate/simulate.h"

#include "base/buffer.h"
#include "claims/claim_json.h"
#include "simulate/truth.h"
#include "tasks/cohort.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { PATIENTS_PER_TASK = 32, TASKS_PER_ROUND = 16 };
enum { PATIENT_BYTES_MAX = 64 << 20, TASK_BYTES_MAX = 256 << 20 };

/* The outcome of one task of the pool. */
typedef struct piece {
    rz_buffer text; /* claims in the first pass, truth rows in the second */
    rz_status status;
    rz_error error;
    rz_simulate_summary counts;
} piece;

typedef struct simulation {
    const rz_simulate_options *options;
    const rz_progress *progress;
    rz_sim_world *world;
    rz_sim_item items[RZ_TASKS_MAX];
    bool truth_pass;
    uint64_t first; /* patient of the round's first task */
    piece pieces[TASKS_PER_ROUND];
    rz_arena *arenas;      /* one a worker */
    int32_t *data_end_day; /* [n_workers, hospitals], then merged into the first row */
} simulation;

rz_simulate_options rz_simulate_options_defaults(void)
{
    return (rz_simulate_options){.seed = 1,
                                 .patients = 8000,
                                 .hospitals = 4,
                                 .draws = 1,
                                 .continuations = RZ_SIMULATE_CONTINUATIONS};
}

static rz_status write_claims(simulation *run, const rz_sim_patient *patient, unsigned worker,
                              piece *out)
{
    int32_t *end = &run->data_end_day[worker * run->options->hospitals + patient->hospital - 1];
    for (size_t i = 0; i < patient->n_claims; i++) {
        const rz_claim *claim = &patient->claims[i];
        rz_status status = rz_claim_to_json(claim, &out->text, &out->error);
        if (status == RZ_OK)
            status = rz_buffer_add(&out->text, "\n", 1);
        if (status != RZ_OK)
            return status;
        /* Claims end with their last event. */
        if (claim->end_day > *end)
            *end = claim->end_day;
        out->counts.events += claim->n_events;
    }
    out->counts.claims += patient->n_claims;
    out->counts.patients++;
    out->counts.deaths += patient->state.coded[RZ_SIM_DEATH] != RZ_DAY_NONE;
    return RZ_OK;
}

static rz_status write_truths(simulation *run, const rz_sim_patient *patient, rz_arena *arena,
                              piece *out)
{
    const rz_simulate_options *o = run->options;
    size_t n = 0;
    rz_sim_truth *truths = rz_arena_alloc(arena, o->n_tasks * o->draws, sizeof *truths);
    if (truths == NULL)
        return rz_fail(&out->error, RZ_E_NO_MEMORY, "no memory for the true risks of a patient");
    rz_status status = rz_sim_truths(run->world, patient, o->tasks, run->items, o->n_tasks,
                                     run->data_end_day[patient->hospital - 1], o->draws,
                                     o->continuations, arena, truths, &n, &out->error);
    for (size_t i = 0; i < n && status == RZ_OK; i++) {
        char day[RZ_DAY_TEXT];
        /* Nine decimals as an integer: printing a double would depend on the locale. */
        long long risk = (long long)(truths[i].risk * 1e9 + 0.5);
        long long deviation = (long long)(truths[i].standard_error * 1e9 + 0.5);
        status = rz_buffer_addf(&out->text, "%s,%s,%s,%s,%lld.%09lld,%lld.%09lld\n",
                                patient->facility, patient->id, o->tasks[truths[i].task].name,
                                rz_day_text(truths[i].index_day, day), risk / 1000000000,
                                risk % 1000000000, deviation / 1000000000, deviation % 1000000000);
        out->counts.truths++;
    }
    return status;
}

static void do_piece(void *context, size_t task, unsigned worker)
{
    simulation *run = context;
    piece *out = &run->pieces[task];
    rz_arena *arena = &run->arenas[worker];
    uint64_t from = run->first + (uint64_t)task * PATIENTS_PER_TASK;
    for (uint64_t number = from; number < from + PATIENTS_PER_TASK && out->status == RZ_OK;
         number++) {
        if (number > run->options->patients)
            break;
        rz_sim_patient patient;
        rz_arena_reset(arena);
        out->status = rz_sim_patient_make(run->world, number, arena, &patient, &out->error);
        if (out->status == RZ_OK)
            out->status = run->truth_pass ? write_truths(run, &patient, arena, out)
                                          : write_claims(run, &patient, worker, out);
    }
}

static rz_status write_pieces(simulation *run, FILE *stream, rz_simulate_summary *summary,
                              rz_error *error)
{
    for (size_t i = 0; i < TASKS_PER_ROUND; i++) {
        piece *p = &run->pieces[i];
        if (p->status != RZ_OK)
            return rz_fail(error, p->status, "%s",
                           p->error.text[0] != '\0'
                               ? p->error.text
                               : "a simulated patient does not fit into memory");
        if (p->text.length > 0 && fwrite(p->text.data, 1, p->text.length, stream) != p->text.length)
            return rz_fail_errno(error, errno, "cannot write the %s",
                                 run->truth_pass ? "truth" : "claims");
        rz_buffer_clear(&p->text);
        summary->patients += p->counts.patients;
        summary->claims += p->counts.claims;
        summary->events += p->counts.events;
        summary->deaths += p->counts.deaths;
        summary->truths += p->counts.truths;
        p->counts = (rz_simulate_summary){0};
    }
    return RZ_OK;
}

static double now_s(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static rz_status pass_over(simulation *run, rz_pool *pool, FILE *stream,
                           rz_simulate_summary *summary, rz_error *error)
{
    uint64_t total = run->options->patients;
    double start_s = now_s();
    for (run->first = 1; run->first <= total; run->first += PATIENTS_PER_TASK * TASKS_PER_ROUND) {
        rz_pool_run(pool, TASKS_PER_ROUND, do_piece, run);
        rz_status status = write_pieces(run, stream, summary, error);
        if (status != RZ_OK)
            return status;
        uint64_t done = run->first + PATIENTS_PER_TASK * TASKS_PER_ROUND - 1;
        done = done < total ? done : total;
        double rate = (double)done / (now_s() - start_s + 1e-9);
        rz_progress_report report = {.phase = run->truth_pass ? "truth" : "simulate",
                                     .done = done,
                                     .total = total,
                                     .unit = "patients",
                                     .rate_per_s = rate,
                                     .rate_unit = "patients",
                                     .loss = NAN,
                                     .seconds_left = (double)(total - done) / rate};
        if (!rz_progress_tell(run->progress, &report))
            return rz_fail(error, RZ_E_CANCELED,
                           "interrupted after %" PRIu64 " of %" PRIu64 " patients", done, total);
    }
    return RZ_OK;
}

static rz_status check_options(const rz_simulate_options *o, FILE *truth, rz_error *error)
{
    if (o->patients < 1 || o->patients > RZ_SIMULATE_PATIENTS_MAX)
        return rz_fail(error, RZ_E_INVALID, "patients must be 1 to %d, not %" PRIu64,
                       (int)RZ_SIMULATE_PATIENTS_MAX, o->patients);
    if (o->hospitals < 1 || o->hospitals > RZ_SIMULATE_HOSPITALS_MAX)
        return rz_fail(error, RZ_E_INVALID, "hospitals must be 1 to %d, not %u",
                       (int)RZ_SIMULATE_HOSPITALS_MAX, o->hospitals);
    if (!(o->frailty_deviation >= 0.0 && o->frailty_deviation <= 2.0))
        return rz_fail(error, RZ_E_INVALID, "the deviation of frailty must be 0 to 2, not %g",
                       o->frailty_deviation);
    if (truth != NULL && (o->n_tasks < 1 || o->n_tasks > RZ_TASKS_MAX || o->draws < 1 ||
                          o->draws > RZ_COHORT_DRAWS_MAX || o->continuations < 1))
        return rz_fail(error, RZ_E_INVALID,
                       "the truth needs 1 to %d tasks, 1 to %d index days and a continuation, not "
                       "%zu, %u and %u",
                       (int)RZ_TASKS_MAX, (int)RZ_COHORT_DRAWS_MAX, o->n_tasks, o->draws,
                       o->continuations);
    return RZ_OK;
}

static rz_status run_passes(simulation *run, rz_pool *pool, FILE *claims, FILE *truth,
                            rz_simulate_summary *summary, rz_error *error)
{
    const rz_simulate_options *o = run->options;
    rz_status status = RZ_OK;
    for (size_t i = 0; truth != NULL && i < o->n_tasks && status == RZ_OK; i++)
        status = rz_sim_task_item(run->world, &o->tasks[i], &run->items[i], error);
    if (status == RZ_OK)
        status = pass_over(run, pool, claims, summary, error);
    if (status != RZ_OK || truth == NULL)
        return status;
    for (size_t i = o->hospitals; i < (size_t)rz_pool_size(pool) * o->hospitals; i++)
        if (run->data_end_day[i] > run->data_end_day[i % o->hospitals])
            run->data_end_day[i % o->hospitals] = run->data_end_day[i];
    run->truth_pass = true;
    if (fputs("facility,patient,task,index_day,risk,standard_error\n", truth) < 0)
        return rz_fail_errno(error, errno, "cannot write the truth");
    return pass_over(run, pool, truth, summary, error);
}

rz_status rz_simulate(const rz_simulate_options *options, rz_pool *pool, FILE *claims, FILE *truth,
                      const rz_progress *progress, rz_simulate_summary *summary, rz_error *error)
{
    rz_status status = check_options(options, truth, error);
    if (status != RZ_OK)
        return status;
    size_t workers = rz_pool_size(pool), ends = workers * options->hospitals;
    simulation *run = calloc(1, sizeof *run);
    if (run != NULL) {
        run->options = options;
        run->progress = progress;
        run->world = malloc(sizeof *run->world);
        run->arenas = calloc(workers, sizeof *run->arenas);
        run->data_end_day = malloc(ends * sizeof *run->data_end_day);
    }
    if (run == NULL || run->world == NULL || run->arenas == NULL || run->data_end_day == NULL) {
        status = rz_fail(error, RZ_E_NO_MEMORY, "no memory for a simulation");
        goto out;
    }
    for (size_t i = 0; i < ends; i++)
        run->data_end_day[i] = RZ_DAY_NONE;
    for (size_t i = 0; i < workers; i++)
        rz_arena_init(&run->arenas[i], PATIENT_BYTES_MAX);
    for (size_t i = 0; i < TASKS_PER_ROUND; i++)
        rz_buffer_init(&run->pieces[i].text, TASK_BYTES_MAX);
    rz_simulate_summary counts = {0};
    status = rz_sim_world_init(run->world, options->seed, options->hospitals,
                               options->frailty_deviation, error);
    if (status == RZ_OK)
        status = run_passes(run, pool, claims, truth, &counts, error);
    if (status == RZ_OK)
        *summary = counts;
out:
    if (run != NULL) {
        for (size_t i = 0; run->arenas != NULL && i < workers; i++)
            rz_arena_done(&run->arenas[i]);
        for (size_t i = 0; i < TASKS_PER_ROUND; i++)
            rz_buffer_done(&run->pieces[i].text);
        free(run->world);
        free(run->arenas);
        free(run->data_end_day);
    }
    free(run);
    return status;
}
