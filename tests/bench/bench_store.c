/* Speed of the store: an import sorted by patient and the reading of histories.
 *
 *   bench-store [--patients N] [--shuffled] [--json FILE]
 *
 * By default 5,000 patients of 40 claims with 5 events each, sorted by patient.
 *
 * Prints events/s of the import, the largest write-ahead log seen, and histories/s. */
#include "bench.h"

#include "base/rng.h"
#include "base/size.h"
#include "store/store.h"

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
    rz_store_close(reader);
    rz_store_close(store);
    bench_report_close(&report);
    (void)snprintf(command, sizeof command, "rm -rf -- %s", folder);
    return system(command) == 0 ? 0 : 1;
}
