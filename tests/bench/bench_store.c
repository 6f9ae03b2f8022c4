/* Speed of the store: an import sorted by patient, the reading of histories, and worklists.
 *
 *   bench-store [--patients N] [--shuffled] [--json FILE]
 *
 * By default 5,000 patients of 40 claims with 5 events each, sorted by patient.
 *
 * Prints events/s of the import, the largest write-ahead log seen, histories/s, kept scores/s of
 * four tasks, and milliseconds of a page of 100 rows and of counting the whole list. */
#include "bench.h"

#include "base/rng.h"
#include "base/size.h"
#include "store/worklist.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CLAIMS_EACH = 40, EVENTS_EACH = 5, CODES = 500 };

static void put_claim(rz_store *store, int patient, int i, rz_rng *rng, rz_error *error)
{
    char patient_id[32], claim_id[48], codes[EVENTS_EACH][16];
    rz_event events[EVENTS_EACH];
    int32_t day = 15000 + 30 * i;
    (void)snprintf(patient_id, sizeof patient_id, "patient-%07d", patient);
    (void)snprintf(claim_id, sizeof claim_id, "%s-%03d", patient_id, i);
    for (int j = 0; j < EVENTS_EACH; j++) {
        (void)snprintf(codes[j], sizeof codes[j], "C%05u", rz_rng_below(rng, CODES));
        events[j] = (rz_event){.day = day + j,
                               .known_day = day + 40,
                               .kind = j % 2 == 0 ? RZ_KIND_DIAGNOSIS : RZ_KIND_MEDICATION,
                               .system = j % 2 == 0 ? RZ_SYSTEM_ICD10 : RZ_SYSTEM_YJ,
                               .code = codes[j],
                               .value = j % 2 == 0 ? (double)NAN : 30};
    }
    rz_claim claim = {.claim_id = claim_id,
                      .facility = "H001",
                      .patient_id = patient_id,
                      .sex = RZ_SEX_FEMALE,
                      .birth_day = -5000,
                      .setting = RZ_SETTING_OUTPATIENT,
                      .start_day = day,
                      .end_day = day + 30,
                      .known_day = day + 40,
                      .events = events,
                      .n_events = EVENTS_EACH};
    rz_put_outcome outcome;
    must(rz_store_put(store, &claim, &outcome, error), error);
}

/* Claim k of n: in the order of patients, or scattered by a multiplier without common factor. */
static void bench_import(bench_report *report, rz_store *store, int n_patients, bool shuffled,
                         rz_error *error)
{
    rz_rng rng;
    int64_t log_bytes_max = 0, n = (int64_t)n_patients * CLAIMS_EACH;
    rz_rng_init(&rng, 1, 0);
    double start = seconds_now();
    must(rz_store_begin_import(store, "bench", error), error);
    for (int64_t k = 0; k < n; k++) {
        int64_t at = shuffled ? k * 7368787 % n : k;
        put_claim(store, (int)(at / CLAIMS_EACH), (int)(at % CLAIMS_EACH), &rng, error);
        if (k % 5000 == 0) {
            rz_store_counts counts;
            must(rz_store_counts_of(store, &counts, error), error);
            if (counts.wal_bytes > log_bytes_max)
                log_bytes_max = counts.wal_bytes;
        }
    }
    must(rz_store_commit(store, error), error);
    double took = seconds_now() - start, events = (double)n * EVENTS_EACH;
    char note[64];
    (void)snprintf(note, sizeof note, "write-ahead log at most %.1f MB",
                   (double)log_bytes_max * 1e-6);
    bench_report_add(report,
                     &(bench_row){.work = shuffled ? "store import, shuffled" : "store import",
                                  .value = events / took,
                                  .unit = "events/s",
                                  .note = note});
}

static void bench_read(bench_report *report, rz_store *store, int n_patients, rz_error *error)
{
    enum { ROUNDS = 40000 };
    rz_rng rng;
    rz_arena arena;
    size_t events = 0;
    rz_arena_init(&arena, 1 << 24);
    rz_rng_init(&rng, 2, 0);
    double start = seconds_now();
    for (int i = 0; i < ROUNDS; i++) {
        rz_timeline *timeline = NULL;
        rz_patient_key key = 1 + (rz_patient_key)rz_rng_below(&rng, (uint32_t)n_patients);
        must(rz_store_timeline(store, key, RZ_DAY_MAX, RZ_RECORDED_NOW, &arena, &timeline, error),
             error);
        events += timeline->n_events;
        rz_arena_reset(&arena);
    }
    double took = seconds_now() - start;
    char note[64];
    (void)snprintf(note, sizeof note, "%.0f events on average", (double)events / ROUNDS);
    bench_report_add(report, &(bench_row){.work = "store timelines",
                                          .value = ROUNDS / took,
                                          .unit = "patients/s",
                                          .note = note});
    rz_arena_done(&arena);
}

static const char *const tasks[] = {"amlodipine", "ckd", "hypertension", "pregabalin"};

/* Every patient has a score of each task; three in ten a reason instead of a risk. */
static void bench_scores(bench_report *report, rz_store *store, int n_patients, rz_error *error)
{
    enum { WINDOW = 256 };
    rz_rng rng;
    rz_rng_init(&rng, 3, 0);
    double start = seconds_now();
    for (int first = 1; first <= n_patients; first += WINDOW) {
        rz_score_row rows[WINDOW * RZ_COUNT(tasks)];
        size_t n = 0;
        for (int key = first; key < first + WINDOW && key <= n_patients; key++)
            for (size_t t = 0; t < RZ_COUNT(tasks); t++) {
                double risk = rz_rng_uniform(&rng);
                bool none = rz_rng_below(&rng, 10) < 3;
                rows[n] = (rz_score_row){.patient = key,
                                         .task = tasks[t],
                                         .context = {"model", "tasks", "calibration"},
                                         .score = {.probability = none ? (double)NAN : risk * risk,
                                                   .low = none ? (double)NAN : 0.0,
                                                   .high = none ? (double)NAN : 1.0,
                                                   .average = 0.1,
                                                   .as_of = 20000,
                                                   .version = 1}};
                if (none)
                    (void)snprintf(rows[n].score.reason, sizeof rows[n].score.reason,
                                   "already_recorded");
                n++;
            }
        must(rz_store_scores_put(store, rows, n, error), error);
    }
    bench_report_add(report, &(bench_row){.work = "store scores",
                                          .value = n_patients * (double)RZ_COUNT(tasks) /
                                                   (seconds_now() - start),
                                          .unit = "scores/s",
                                          .note = "with the score of their month"});
}

static void bench_page(bench_report *report, rz_store *store, const char *work,
                       const rz_worklist_query *query, rz_error *error)
{
    enum { ROUNDS = 50, PAGE = 100 };
    rz_arena arena;
    rz_worklist_counts counts = {0};
    size_t n = 0;
    char counting[64];
    rz_arena_init(&arena, 1 << 24);
    rz_worklist_row *rows = rz_arena_alloc(&arena, PAGE, sizeof *rows);
    double start = seconds_now();
    for (int i = 0; i < ROUNDS; i++)
        must(rz_store_worklist(store, query, &arena, rows, PAGE, &n, error), error);
    double middle = seconds_now();
    for (int i = 0; i < ROUNDS; i++)
        must(rz_store_worklist_count(store, query, &counts, error), error);
    (void)snprintf(counting, sizeof counting, "%s, counted", work);
    bench_report_add(report, &(bench_row){.work = work,
                                          .value = 1e3 * (middle - start) / ROUNDS,
                                          .unit = "ms",
                                          .note = "a page of 100 rows"});
    bench_report_add(report, &(bench_row){.work = counting,
                                          .value = 1e3 * (seconds_now() - middle) / ROUNDS,
                                          .unit = "ms",
                                          .note = "the whole list"});
    rz_arena_done(&arena);
}

static void bench_worklists(bench_report *report, rz_store *store, rz_error *error)
{
    rz_worklist_query all = {.tasks = tasks, .n_tasks = RZ_COUNT(tasks)}, one = all, old = all;
    one.n_tasks = 1;
    old.by_age = true;
    old.age_min = 60;
    old.age_max = 150;
    bench_page(report, store, "worklist of four tasks", &all, error);
    bench_page(report, store, "worklist of one task", &one, error);
    bench_page(report, store, "worklist from an age on", &old, error);
}

int main(int argc, char **argv)
{
    rz_error error = {0};
    bench_report report;
    const char *json = NULL;
    double patients = 5000.0;
    bool shuffled = false;
    const bench_flag flags[] = {{"--json", .text = &json},
                                {"--patients", .number = &patients},
                                {"--shuffled", .on = &shuffled}};
    char folder[] = "rezept-bench-XXXXXX", path[64], command[64];
    bench_flags(argc, argv, flags, RZ_COUNT(flags),
                "bench-store [--patients N] [--shuffled] [--json FILE]");
    int n_patients = (int)patients;
    if (n_patients < 1 || mkdtemp(folder) == NULL) {
        (void)fprintf(stderr, "bench-store: no patients, or no folder for them\n");
        return 2;
    }
    bench_report_open(&report, json);
    (void)snprintf(path, sizeof path, "%s/rezept.db", folder);
    rz_store_options options = rz_store_options_defaults();
    rz_store *store = NULL;
    options.write = true;
    must(rz_store_open(path, &options, &store, &error), &error);
    bench_import(&report, store, n_patients, shuffled, &error);
    rz_store *reader = NULL;
    must(rz_store_open(path, NULL, &reader, &error), &error);
    bench_read(&report, reader, n_patients, &error);
    bench_scores(&report, store, n_patients, &error);
    bench_worklists(&report, reader, &error);
    rz_store_close(reader);
    rz_store_close(store);
    bench_report_close(&report);
    (void)snprintf(command, sizeof command, "rm -rf -- %s", folder);
    return system(command) == 0 ? 0 : 1;
}
