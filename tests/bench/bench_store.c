/* Speed of the store: an import sorted by patient and the reading of histories.
 *
 *   bench-store [PATIENTS [shuffled]]   default 5,000 patients of 40 claims with 5 events each,
 *                                       sorted by patient
 *
 * Prints events/s of the import, the largest write-ahead log seen, and histories/s. */
#include "bench.h"

#include "base/rng.h"
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
static void bench_import(rz_store *store, int n_patients, bool shuffled, rz_error *error)
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
    (void)printf("import: %.0f events in %.2f s, %.0f events/s, log at most %.1f MB\n", events,
                 took, events / took, (double)log_bytes_max * 1e-6);
}

static void bench_read(rz_store *store, int n_patients, rz_error *error)
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
    (void)printf("timeline: %d of %.0f events on average, %.0f/s\n", ROUNDS,
                 (double)events / ROUNDS, ROUNDS / took);
    rz_arena_done(&arena);
}

int main(int argc, char **argv)
{
    rz_error error = {0};
    int n_patients = argc > 1 ? atoi(argv[1]) : 5000;
    char folder[] = "/tmp/rezept-bench-XXXXXX", path[64], command[64];
    if (n_patients < 1 || mkdtemp(folder) == NULL) {
        (void)fprintf(stderr, "usage: bench-store [PATIENTS [shuffled]]\n");
        return 2;
    }
    (void)snprintf(path, sizeof path, "%s/rezept.db", folder);
    rz_store_options options = rz_store_options_defaults();
    rz_store *store = NULL;
    options.write = true;
    must(rz_store_open(path, &options, &store, &error), &error);
    bench_import(store, n_patients, argc > 2, &error);
    rz_store *reader = NULL;
    must(rz_store_open(path, NULL, &reader, &error), &error);
    bench_read(reader, n_patients, &error);
    rz_store_close(reader);
    rz_store_close(store);
    (void)snprintf(command, sizeof command, "rm -rf -- %s", folder);
    return system(command) == 0 ? 0 : 1;
}
