/* Speed of the native format: claims to NDJSON, NDJSON to claims, and NDJSON into a store.
 *
 *   bench-import [--patients N] [--json FILE]   default 2,000 patients of 36 claims with 8 events
 *                                               each, sorted by patient
 *
 * The files are made in the working folder and removed. */
#include "bench.h"

#include "base/hash.h"
#include "base/rng.h"
#include "base/size.h"
#include "claims/claim_json.h"
#include "import/import.h"
#include "store/store.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CLAIMS_EACH = 36, EVENTS_EACH = 8, CODES = 500 };

static const char file_path[] = "bench-import.ndjson", db_path[] = "bench-import.db";

static void remove_files(void)
{
    static const char *const suffixes[] = {"", "-wal", "-shm", ".lock"};
    (void)unlink(file_path);
    for (int i = 0; i < 4; i++) {
        char path[64];
        (void)snprintf(path, sizeof path, "%s%s", db_path, suffixes[i]);
        (void)unlink(path);
    }
}

static void write_claim(int patient, int i, rz_rng *rng, rz_buffer *out)
{
    rz_error error = {0};
    char patient_id[32], claim_id[48], codes[EVENTS_EACH][16];
    rz_event events[EVENTS_EACH];
    int32_t day = 15000 + 30 * i;
    (void)snprintf(patient_id, sizeof patient_id, "patient-%07d", patient);
    (void)snprintf(claim_id, sizeof claim_id, "%s-%03d", patient_id, i);
    for (int j = 0; j < EVENTS_EACH; j++) {
        rz_kind kind = j < 4 ? RZ_KIND_DIAGNOSIS : j < 7 ? RZ_KIND_MEDICATION : RZ_KIND_LAB;
        unsigned code = rz_rng_below(rng, CODES);
        (void)snprintf(codes[j], sizeof codes[j],
                       kind == RZ_KIND_DIAGNOSIS    ? "C%03u"
                       : kind == RZ_KIND_MEDICATION ? "2171%03uF1029"
                                                    : "%u-4",
                       code);
        events[j] = (rz_event){.day = day + j,
                               .kind = kind,
                               .system = kind == RZ_KIND_DIAGNOSIS    ? RZ_SYSTEM_ICD10
                                         : kind == RZ_KIND_MEDICATION ? RZ_SYSTEM_YJ
                                                                      : RZ_SYSTEM_LOINC,
                               .code = codes[j],
                               .value = kind == RZ_KIND_DIAGNOSIS ? (double)NAN : 0.1 * code};
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
    must(rz_claim_to_json(&claim, out, &error), &error);
    must(rz_buffer_add(out, "\n", 1), &error);
}

static double write_file(int patients)
{
    rz_buffer line;
    rz_rng rng;
    FILE *file = fopen(file_path, "wb");
    if (file == NULL)
        exit(1);
    rz_rng_init(&rng, 1, 0);
    rz_buffer_init(&line, 1 << 20);
    double started = seconds_now();
    for (int patient = 0; patient < patients; patient++) {
        rz_buffer_clear(&line);
        for (int i = 0; i < CLAIMS_EACH; i++)
            write_claim(patient, i, &rng, &line);
        if (fwrite(line.data, 1, line.length, file) != line.length)
            exit(1);
    }
    if (fclose(file) != 0)
        exit(1);
    rz_buffer_done(&line);
    return seconds_now() - started;
}

/* Reads the whole file, into the store when there is one; returns the number of events. */
static uint64_t read_file(rz_store *store)
{
    rz_error error = {0};
    rz_import_options options = rz_import_options_defaults();
    options.read_ahead = true; /* as rezept-train import does */
    rz_import *import = NULL;
    const char *path = file_path;
    bool more = true;
    must(rz_import_open("native", &path, 1, &options, &import, &error), &error);
    if (store != NULL)
        must(rz_store_begin_import(store, "bench", &error), &error);
    while (more) {
        rz_claim claim;
        rz_put_outcome outcome;
        must(rz_import_next(import, &claim, &more, &error), &error);
        if (more && store != NULL)
            must(rz_store_put(store, &claim, &outcome, &error), &error);
    }
    if (store != NULL)
        must(rz_store_commit(store, &error), &error);
    uint64_t events = rz_import_summary_of(import)->events;
    rz_import_close(import);
    return events;
}

static void report_speed(bench_report *report, const char *work, double events, double seconds)
{
    bench_report_add(report,
                     &(bench_row){.work = work, .value = events / seconds, .unit = "events/s"});
}

int main(int argc, char **argv)
{
    rz_error error = {0};
    bench_report report;
    const char *json = NULL;
    double patients = 2000.0;
    const bench_flag flags[] = {{"--json", .text = &json}, {"--patients", .number = &patients}};
    rz_store_options options = rz_store_options_defaults();
    rz_store *store = NULL;
    bench_flags(argc, argv, flags, RZ_COUNT(flags), "bench-import [--patients N] [--json FILE]");
    bench_report_open(&report, json);
    options.write = true;
    must(rz_hash_setup(&error), &error);
    remove_files();
    double write_s = write_file((int)patients);
    double started = seconds_now();
    double events = (double)read_file(NULL);
    double read_s = seconds_now() - started;
    must(rz_store_open(db_path, &options, &store, &error), &error);
    started = seconds_now();
    (void)read_file(store);
    double import_s = seconds_now() - started;
    rz_store_close(store);
    remove_files();
    report_speed(&report, "NDJSON written", events, write_s);
    report_speed(&report, "NDJSON read", events, read_s);
    report_speed(&report, "NDJSON imported", events, import_s);
    bench_report_close(&report);
    return 0;
}
