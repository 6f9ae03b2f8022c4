/* rezept-train vocab: counts the codes of the training split and writes vocab.json. A second pass
 * tells how much of the training and of the tuning histories the vocabulary covers; what it lacks
 * there, it will lack at serving. Held-out patients are not looked at. */
#include "base/size.h"
#include "model/vocabulary.h"
#include "program.h"
#include "store/store.h"
#include "tasks/cohort.h"
#include "train_options.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PAGE = 256, TIMELINE_BYTES_MAX = 1 << 30 };

static const rz_option table[] = {
    {"db", RZ_OPTION_TEXT, NULL, .value = "FILE", .help = "database to read"},
    {"out", RZ_OPTION_TEXT, "vocab.json", .value = "FILE", .help = "file to write"},
    {"levels", RZ_OPTION_LIST, NULL, .value = "SYSTEM=N,...",
     .help = "characters kept of a code, 0 = all (icd10=4,icd9=0,yj=7,atc=7,ndc=9)"},
    {"min-patients", RZ_OPTION_INT, "0", .min = 0, .max = 1e9, .value = "N",
     .help = "patients that a code needs; 0 = 0.1 % of them, at least 2"},
    FACILITY_OPTION_ROWS,
};

static const char usage[] = "usage: rezept-train vocab --db FILE [--out FILE]\n\n"
                            "Makes the vocabulary of the training split.\n\n";

/* "icd10=4,yj=7" over the defaults. */
static rz_status parse_levels(const char *text, rz_code_levels *out, rz_error *error)
{
    struct {
        const char *name;
        int *value;
    } const members[] = {{"icd10", &out->icd10_chars},
                         {"icd9", &out->icd9_chars},
                         {"yj", &out->yj_chars},
                         {"atc", &out->atc_chars},
                         {"ndc", &out->ndc_chars}};
    while (text != NULL && *text != '\0') {
        size_t name = strcspn(text, "=,"), i = 0;
        while (i < RZ_COUNT(members) &&
               (strlen(members[i].name) != name || strncmp(text, members[i].name, name) != 0))
            i++;
        const char *digits = text + name + (text[name] == '=');
        size_t n = strspn(digits, "0123456789");
        if (i == RZ_COUNT(members) || text[name] != '=' || n == 0 || n > 2 ||
            (digits[n] != '\0' && digits[n] != ',') || atoi(digits) >= RZ_CODE_TEXT)
            return rz_fail(error, RZ_E_USAGE,
                           "--levels: \"%.*s\": icd10, icd9, yj, atc or ndc = 0 to %d is expected",
                           (int)strcspn(text, ","), text, RZ_CODE_TEXT - 1);
        *members[i].value = atoi(digits);
        text = digits + n + (digits[n] == ',');
    }
    return RZ_OK;
}

/* What a pass does with one patient. */
typedef rz_status visit_fn(void *context, rz_split split, const rz_timeline *timeline,
                           rz_error *error);

static rz_status for_each_patient(rz_store *store, const rz_facilities *facilities,
                                  const char *phase, visit_fn *visit, void *context,
                                  rz_error *error)
{
    rz_progress progress = program_progress();
    rz_store_counts counts;
    rz_arena arena;
    rz_arena_init(&arena, TIMELINE_BYTES_MAX);
    rz_patient *page = malloc(PAGE * sizeof *page);
    rz_status status = page == NULL ? rz_fail(error, RZ_E_NO_MEMORY, "no memory for patients")
                                    : rz_store_counts_of(store, &counts, error);
    rz_patient_key after = 0;
    uint64_t done = 0;
    for (size_t n = PAGE; status == RZ_OK && n == PAGE;) {
        status = rz_store_patients_of(store, after, facilities, page, PAGE, &n, error);
        for (size_t i = 0; status == RZ_OK && i < n; i++) {
            rz_timeline *timeline = NULL;
            rz_arena_reset(&arena);
            status = rz_store_timeline(store, page[i].key, RZ_DAY_MAX, RZ_RECORDED_NOW, &arena,
                                       &timeline, error);
            rz_split split =
                status == RZ_OK ? rz_split_of(timeline->hash, RZ_COHORT_SEED) : RZ_SPLIT_HELD_OUT;
            if (split != RZ_SPLIT_HELD_OUT)
                status = visit(context, split, timeline, error);
            after = page[i].key;
            done++;
        }
        rz_progress_report report = {
            .phase = phase,
            .done = done,
            .total = status == RZ_OK && facilities->n == 0 ? (uint64_t)counts.patients : 0,
            .unit = "patients",
            .rate_per_s = NAN,
            .loss = NAN,
            .seconds_left = NAN};
        if (status == RZ_OK && !rz_progress_tell(&progress, &report))
            status = rz_fail(error, RZ_E_CANCELED, "interrupted; nothing was written");
    }
    program_progress_end();
    rz_arena_done(&arena);
    free(page);
    return status;
}

static rz_status count_codes(void *context, rz_split split, const rz_timeline *timeline,
                             rz_error *error)
{
    return split == RZ_SPLIT_TRAIN ? rz_vocabulary_builder_add(context, timeline, error) : RZ_OK;
}

typedef struct coverage {
    const rz_vocabulary *vocabulary;
    uint64_t patients[2], tokens[2], mapped[2]; /* by rz_split: train, tuning */
} coverage;

static rz_status count_mapped(void *context, rz_split split, const rz_timeline *timeline,
                              rz_error *error)
{
    (void)error;
    coverage *c = context;
    c->patients[split]++;
    for (size_t i = 0; i < timeline->n_events; i++) {
        int32_t token = rz_vocabulary_token(c->vocabulary, &timeline->events[i]);
        c->tokens[split] += token != RZ_TOKEN_NONE;
        c->mapped[split] += token >= RZ_TOKEN_SPECIALS;
    }
    return RZ_OK;
}

static void print_summary(const coverage *c, const char *path)
{
    const rz_vocabulary *v = c->vocabulary;
    (void)printf(
        "codes       %zu: %zu diagnoses, %zu medications, of at least %" PRIu32 " patients\n",
        v->n_diagnoses + v->n_medications, v->n_diagnoses, v->n_medications, v->min_patients);
    for (int split = RZ_SPLIT_TRAIN; split <= RZ_SPLIT_TUNING; split++)
        (void)printf("%-11s %" PRIu64 " patients, %" PRIu64 " tokens, %.2f %% in the vocabulary\n",
                     rz_split_name((rz_split)split), c->patients[split], c->tokens[split],
                     c->tokens[split] == 0
                         ? 0.0
                         : 100.0 * (double)c->mapped[split] / (double)c->tokens[split]);
    (void)printf("sha256      %s\nwritten     %s\n", v->sha256, path);
}

static rz_status make_vocabulary(const rz_options *options, rz_error *error)
{
    rz_code_levels levels = rz_code_levels_defaults();
    rz_store_options store_options = rz_store_options_defaults();
    rz_facilities facilities = {0};
    rz_store *store = NULL;
    rz_vocabulary_builder *builder = NULL;
    rz_vocabulary *vocabulary = NULL;
    const char *out = rz_options_text(options, "out");
    rz_status status = parse_levels(rz_options_text(options, "levels"), &levels, error);
    if (status == RZ_OK)
        status = train_facilities_read(options, &facilities, error);
    if (status == RZ_OK)
        status = rz_store_open(rz_options_text(options, "db"), &store_options, &store, error);
    if (status == RZ_OK)
        status = rz_store_check_facilities(store, &facilities, error);
    if (status == RZ_OK)
        status = rz_vocabulary_builder_new(levels, &builder, error);
    if (status == RZ_OK)
        status = for_each_patient(store, &facilities, "vocab", count_codes, builder, error);
    if (status == RZ_OK)
        status = rz_vocabulary_builder_finish(
            builder, (uint32_t)rz_options_int(options, "min-patients"), &vocabulary, error);
    coverage c = {.vocabulary = vocabulary};
    if (status == RZ_OK)
        status = for_each_patient(store, &facilities, "coverage", count_mapped, &c, error);
    if (status == RZ_OK)
        status = rz_vocabulary_write(vocabulary, out, error);
    if (status == RZ_OK)
        print_summary(&c, out);
    rz_vocabulary_free(vocabulary);
    rz_vocabulary_builder_free(builder);
    rz_store_close(store);
    return status;
}

rz_status cmd_vocab(int argc, char *const *argv, rz_error *error)
{
    rz_options *options = NULL;
    bool stop = false;
    rz_status status =
        program_options(table, RZ_COUNT(table), usage, false, argc, argv, &options, &stop, error);
    if (status == RZ_OK && !stop) {
        if (rz_options_text(options, "db") == NULL)
            status = rz_fail(error, RZ_E_USAGE, "--db FILE is missing: the database to read");
        else
            status = make_vocabulary(options, error);
    }
    rz_options_free(options);
    return status;
}
