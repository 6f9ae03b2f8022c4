/* rezept-train import: files of claims into a store, as one batch that becomes visible whole or not
 * at all. Afterwards it says what was read, kept, changed and refused. */
#include "base/size.h"
#include "import/import.h"
#include "program.h"
#include "store/store.h"

#include <math.h>
#include <string.h>
#include <time.h>

static const rz_option table[] = {
    {"db", RZ_OPTION_TEXT, NULL, .value = "FILE",
     .help = "database to import into (made if absent)"},
    {"format", RZ_OPTION_TEXT, "native", .value = "NAME", .help = "native, omop, synpuf or meds"},
    {"facility", RZ_OPTION_TEXT, NULL, .value = "NAME",
     .help = "facility of formats that name none (default: the format); the patients' namespace"},
    {"shifted-dates", RZ_OPTION_SWITCH, "false",
     .help = "accept dates in the far future (to 2400)"},
    {"prefix-map", RZ_OPTION_TEXT, NULL, .value = "FILE",
     .help = "meds: table of prefix,kind,system in place of the built-in one"},
    {"shared-patient-ids", RZ_OPTION_SWITCH, "false",
     .help = "one id names one patient in all facilities (must fit the database)"},
    {"pseudonym-key", RZ_OPTION_SECRET, NULL, .value = "HEX",
     .help = "64 hex digits; ids are stored as HMAC (must fit the database)"},
};

static const char usage[] = "usage: rezept-train import --db FILE [--format NAME] PATH...\n\n"
                            "Reads claims from files or folders (plain, .gz or .zst).\n\n";

/* What became of the claims in the store. */
typedef struct outcome_counts {
    uint64_t added, unchanged, superseded;
} outcome_counts;

static rz_status parse_key(const char *text, unsigned char out[32], rz_error *error)
{
    for (size_t i = 0; i < 64; i++) {
        static const char digits[] = "0123456789abcdef";
        char c = text[i] >= 'A' && text[i] <= 'F' ? (char)(text[i] - 'A' + 'a') : text[i];
        const char *digit = c != '\0' ? strchr(digits, c) : NULL;
        if (digit == NULL)
            return rz_fail(error, RZ_E_USAGE, "pseudonym-key must be 64 hexadecimal digits");
        unsigned value = (unsigned)(digit - digits);
        out[i / 2] = (unsigned char)(i % 2 == 0 ? value << 4 : out[i / 2] | value);
    }
    if (text[64] != '\0')
        return rz_fail(error, RZ_E_USAGE, "pseudonym-key must be 64 hexadecimal digits");
    return RZ_OK;
}

static double seconds_now(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Reports bytes, because only of them the total is known; the rate is of events. The total itself
 * is reported once, when all is done: decoders read ahead of the claims. */
static bool tell(const rz_progress *progress, const rz_import_summary *s, double started,
                 bool finished)
{
    double elapsed = seconds_now() - started;
    bool moving = s->bytes_read > 0 && elapsed > 0.5;
    uint64_t total = s->bytes_total, done = s->bytes_read; /* total 0: from a pipe */
    if (total > 0 && done >= total)
        done = finished ? total : total - 1;
    bool end_in_sight = moving && total > 0;
    rz_progress_report report = {
        .phase = "import",
        .done = done,
        .total = total,
        .unit = "bytes",
        .rate_per_s = moving ? (double)s->events / elapsed : (double)NAN,
        .rate_unit = "events",
        .loss = (double)NAN,
        .seconds_left =
            end_in_sight ? elapsed * (double)(total - done) / (double)s->bytes_read : (double)NAN,
    };
    return rz_progress_tell(progress, &report);
}

static rz_status put_claim(rz_store *store, rz_import *import, const rz_claim *claim,
                           outcome_counts *counts, rz_error *error)
{
    rz_put_outcome outcome = RZ_PUT_ADDED;
    rz_error refusal = {0};
    rz_status status = rz_store_put(store, claim, &outcome, &refusal);
    if (status == RZ_E_CONFLICT && outcome == RZ_PUT_REFUSED) {
        rz_import_refuse(import, claim, "demographics conflict");
        return RZ_OK;
    }
    if (status != RZ_OK)
        return rz_fail(error, status, "%s", refusal.text);
    counts->added += outcome == RZ_PUT_ADDED;
    counts->unchanged += outcome == RZ_PUT_UNCHANGED;
    counts->superseded += outcome == RZ_PUT_SUPERSEDED;
    return RZ_OK;
}

static rz_status interrupted(rz_error *error)
{
    return rz_fail(error, RZ_E_CANCELED,
                   "interrupted: nothing of this import was kept, the database is as before; the "
                   "same command begins again from the start");
}

static rz_status copy_claims(rz_store *store, rz_import *import, outcome_counts *counts,
                             rz_error *error)
{
    enum { CLAIMS_PER_REPORT = 256 };
    rz_progress progress = program_progress();
    const rz_import_summary *summary = rz_import_summary_of(import);
    double started = seconds_now();
    rz_status status = RZ_OK;
    for (uint64_t i = 0;; i++) {
        rz_claim claim;
        bool more = false;
        if (i % CLAIMS_PER_REPORT == 0 && !tell(&progress, summary, started, false))
            return interrupted(error);
        status = rz_import_next(import, &claim, &more, error);
        if (status == RZ_OK && !more && !tell(&progress, summary, started, true))
            return interrupted(error);
        if (status != RZ_OK || !more)
            return status;
        status = put_claim(store, import, &claim, counts, error);
        if (status != RZ_OK)
            return status;
    }
}

static void print_summary(const rz_import_summary *s, const outcome_counts *counts)
{
    if (s->patients_listed > 0)
        (void)printf("patients listed  %10llu\n", (unsigned long long)s->patients_listed);
    (void)printf("rows read        %10llu\nclaims           %10llu\n",
                 (unsigned long long)s->rows_read, (unsigned long long)s->claims);
    (void)printf("  added          %10llu\n  unchanged      %10llu\n  superseding    %10llu\n",
                 (unsigned long long)counts->added, (unsigned long long)counts->unchanged,
                 (unsigned long long)counts->superseded);
    (void)printf("events kept      %10llu\n", (unsigned long long)s->events);
    for (int i = 0; i < RZ_KIND_COUNT; i++)
        if (s->events_by_kind[i] > 0 || s->codes_by_kind[i] > 0)
            (void)printf("  %-14s %10llu  of %llu read\n", rz_kind_name((rz_kind)i),
                         (unsigned long long)s->events_by_kind[i],
                         (unsigned long long)s->codes_by_kind[i]);
    (void)printf("by code system\n");
    for (int i = 0; i < RZ_SYSTEM_COUNT; i++)
        if (s->events_by_system[i] > 0)
            (void)printf("  %-14s %10llu\n", rz_code_system_name((rz_code_system)i),
                         (unsigned long long)s->events_by_system[i]);
    for (size_t i = 0; i < s->n_refusals; i++) {
        const rz_import_refusal *r = &s->refusals[i];
        (void)printf("refused: %s %llu (first:", r->reason, (unsigned long long)r->rows);
        for (int k = 0; k < RZ_IMPORT_EXAMPLES_MAX && r->examples[k].file[0] != '\0'; k++)
            (void)printf(" %s:%llu", r->examples[k].file, (unsigned long long)r->examples[k].line);
        (void)printf(")\n");
    }
}

static rz_status open_store(const rz_options *options, rz_store **out, rz_error *error)
{
    unsigned char key[32];
    rz_store_options store_options = rz_store_options_defaults();
    const char *key_text = rz_options_text(options, "pseudonym-key");
    store_options.write = true;
    store_options.shared_patient_ids = rz_options_switch(options, "shared-patient-ids");
    if (key_text != NULL) {
        rz_status status = parse_key(key_text, key, error);
        if (status != RZ_OK)
            return status;
        store_options.pseudonym_key = key;
    }
    return rz_store_open(rz_options_text(options, "db"), &store_options, out, error);
}

/* May take as long as writing did, so it is told. */
static void roll_back(rz_store *store, const outcome_counts *counts)
{
    program_progress_end();
    if (counts->added + counts->superseded > 0)
        (void)fprintf(stderr, "rezept-train: removing the %llu claims of this import again\n",
                      (unsigned long long)(counts->added + counts->superseded));
    rz_store_rollback(store);
}

/* Opens the files first: a mistake in their names should not make a database. */
static rz_status import_files(const rz_options *options, rz_error *error)
{
    const char *const *paths;
    size_t n_paths = rz_options_operands(options, &paths);
    const char *format = rz_options_text(options, "format");
    rz_import_options import_options = rz_import_options_defaults();
    import_options.facility = rz_options_text(options, "facility");
    import_options.shifted_dates = rz_options_switch(options, "shifted-dates");
    import_options.prefix_map = rz_options_text(options, "prefix-map");
    import_options.read_ahead = true;
    rz_import *import = NULL;
    rz_store *store = NULL;
    outcome_counts counts = {0};
    rz_status status = rz_import_open(format, paths, n_paths, &import_options, &import, error);
    if (status == RZ_OK)
        status = open_store(options, &store, error);
    if (status == RZ_OK)
        status = rz_store_begin_import(store, format, error);
    if (status == RZ_OK) {
        status = copy_claims(store, import, &counts, error);
        if (status == RZ_OK)
            status = rz_store_commit(store, error);
        else
            roll_back(store, &counts);
    }
    program_progress_end();
    if (status == RZ_OK)
        print_summary(rz_import_summary_of(import), &counts);
    rz_store_close(store);
    rz_import_close(import);
    return status;
}

rz_status cmd_import(int argc, char *const *argv, rz_error *error)
{
    rz_options *options = NULL;
    bool stop = false;
    rz_status status =
        program_options(table, RZ_COUNT(table), usage, true, argc, argv, &options, &stop, error);
    if (status == RZ_OK && !stop) {
        if (rz_options_text(options, "db") == NULL)
            status =
                rz_fail(error, RZ_E_USAGE, "--db FILE is missing: the database to import into");
        else
            status = import_files(options, error);
    }
    rz_options_free(options);
    return status;
}
