/* The public data sets, where they are present: the counts of their README. */
#include "files.h"

#include "base/hash.h"
#include "base/size.h"

typedef struct totals {
    rz_import_summary summary;
    uint64_t refused;
} totals;

/* Imports the named files of a data set; its whole folder when there are no names. */
static bool import_set(const char *format, const char *set, const char *const *names,
                       rz_import_options options, totals *out)
{
    rz_error error = {0};
    char folder[512], files[8][600];
    const char *paths[8] = {folder};
    size_t n = 1;
    if (check_shared_data(set, folder, sizeof folder) == NULL)
        return false;
    for (size_t i = 0; names != NULL && names[i] != NULL; i++) {
        (void)snprintf(files[i], sizeof files[i], "%s/%s.csv.gz", folder, names[i]);
        paths[i] = files[i];
        n = i + 1;
    }
    rz_import *import = NULL;
    bool more = true;
    check_ok(rz_import_open(format, paths, n, &options, &import, &error));
    while (more) {
        rz_claim claim;
        check_ok(rz_import_next(import, &claim, &more, &error));
    }
    *out = (totals){.summary = *rz_import_summary_of(import)};
    for (size_t i = 0; i < out->summary.n_refusals; i++)
        out->refused += out->summary.refusals[i].rows;
    rz_import_close(import);
    return true;
}

/* Rows of one OMOP event table, each of which must become a claim of one event. */
static void check_table(const char *set, const char *table, uint64_t persons, uint64_t rows,
                        bool shifted)
{
    totals t;
    const char *names[] = {"person", "concept", table, NULL};
    rz_import_options options = rz_import_options_defaults();
    options.shifted_dates = shifted;
    if (!import_set("omop", set, names, options, &t))
        skip();
    assert_int_equal(t.refused, 0);
    assert_int_equal(t.summary.patients_listed, persons);
    assert_int_equal(t.summary.rows_read, persons + rows);
    assert_int_equal(t.summary.claims, rows);
    assert_int_equal(t.summary.events, rows);
}

static void eunomia(void **state)
{
    (void)state;
    static const char set[] = "eunomia-gibleed-omop";
    totals t;
    check_table(set, "visit_occurrence", 1340, 513, false);
    check_table(set, "condition_occurrence", 1340, 32400, false);
    check_table(set, "drug_exposure", 1340, 33761, false);
    check_table(set, "procedure_occurrence", 1340, 17874, false);
    check_table(set, "measurement", 1340, 21671, false);
    check_table(set, "observation", 1340, 668, false);
    assert_true(import_set("omop", set, NULL, rz_import_options_defaults(), &t));
    assert_int_equal(t.refused, 0);
    assert_int_equal(t.summary.rows_read, 1340 + 513 + 32400 + 33761 + 17874 + 21671 + 668);
    /* Every person has a NSAID: the drugs must have come out as RxNorm, vaccines as local CVX. */
    assert_int_equal(t.summary.events_by_system[RZ_SYSTEM_RXNORM], 33761 - 12827);
    assert_int_equal(t.summary.events_by_system[RZ_SYSTEM_ICD10CM], 245); /* the GI bleeds */
    assert_int_equal(t.summary.events_by_kind[RZ_KIND_DIAGNOSIS], 32400 + 668);
}

static void mimic(void **state)
{
    (void)state;
    static const char set[] = "mimic-iv-demo-omop-5.3";
    totals t;
    check_table(set, "visit_occurrence", 55, 490, true);
    check_table(set, "condition_occurrence", 55, 9008, true);
    check_table(set, "drug_exposure", 55, 10154, true);
    check_table(set, "procedure_occurrence", 55, 11107, true);
    check_table(set, "death", 55, 9, true);
    /* Shifted by a century: without leave, each dated row is refused. */
    const char *names[] = {"person", "condition_occurrence", NULL};
    assert_true(import_set("omop", set, names, rz_import_options_defaults(), &t));
    assert_int_equal(t.summary.claims, 0);
    assert_int_equal(t.refused, 9008);
    assert_int_equal(t.summary.n_refusals, 1);
    assert_string_equal(t.summary.refusals[0].reason, "date in the future");
    assert_string_equal(t.summary.refusals[0].examples[0].file, "condition_occurrence.csv.gz");
    assert_int_equal(t.summary.refusals[0].examples[0].line, 2);
}

static void synpuf_omop(void **state)
{
    (void)state;
    static const char set[] = "synpuf-omop-50";
    totals t;
    check_table(set, "visit_occurrence", 50, 1847, false);
    check_table(set, "condition_occurrence", 50, 5121, false);
    check_table(set, "drug_exposure", 50, 2140, false);
    check_table(set, "procedure_occurrence", 50, 4713, false);
    check_table(set, "measurement", 50, 1065, false);
    check_table(set, "observation", 50, 733, false);
    check_table(set, "device_exposure", 50, 29, false);
    check_table(set, "death", 50, 4, false);
    assert_true(import_set("omop", set, NULL, rz_import_options_defaults(), &t));
    /* ICD-9-CM codes are diagnoses also where the tables hold them among procedures (313),
     * measurements (13) and observations (484). */
    assert_int_equal(t.summary.events_by_kind[RZ_KIND_DIAGNOSIS], 5121 + 313 + 13 + 484);
}

static void synpuf(void **state)
{
    (void)state;
    totals t;
    if (!import_set("synpuf", "cms-desynpuf-claims", NULL, rz_import_options_defaults(), &t))
        skip();
    const rz_import_summary *s = &t.summary;
    assert_int_equal(s->patients_listed, 266);
    assert_int_equal(s->rows_read, 266 + 261 + 257 + 11498 + 136 + 1931 + 11278);
    /* The README's records are codes in rows with dates; "visits" are claims but prescriptions. */
    assert_int_equal(s->codes_by_kind[RZ_KIND_DIAGNOSIS], 52586);
    assert_int_equal(s->codes_by_kind[RZ_KIND_MEDICATION], 11278);
    assert_int_equal(s->codes_by_kind[RZ_KIND_PROCEDURE], 33199);
    assert_int_equal(s->codes_by_kind[RZ_KIND_ENCOUNTER], 13513 + 11278);
    assert_int_equal(s->codes_by_kind[RZ_KIND_DEATH], 5 + 4 + 2);
    assert_int_equal(s->claims, 13513 + 11278 + 11);
    /* A claim repeats its diagnoses on its lines: one of each stays. Two codes XX000 and one 0851
     * are impossible. */
    assert_int_equal(s->events_by_kind[RZ_KIND_DIAGNOSIS], 42238);
    assert_int_equal(s->events_by_kind[RZ_KIND_PROCEDURE], 27736);
    assert_int_equal(s->events_by_kind[RZ_KIND_MEDICATION], 11278);
    assert_int_equal(s->n_refusals, 2);
    assert_int_equal(s->refusals[0].rows, 3);
    assert_int_equal(s->refusals[1].rows, 52);
}

static void parquet_is_refused_with_the_remedy(void **state)
{
    (void)state;
    rz_error error = {0};
    char folder[512], file[600];
    if (check_shared_data("mimic-iv-demo-meds", folder, sizeof folder) == NULL)
        skip();
    (void)snprintf(file, sizeof file, "%s/events.parquet", folder);
    const char *paths[] = {folder, file};
    rz_import_options options = rz_import_options_defaults();
    rz_import *import = NULL;
    rz_claim claim;
    bool more = true;
    check_fails(rz_import_open("meds", paths, 1, &options, &import, &error), RZ_E_UNSUPPORTED,
                "export them to CSV");
    check_ok(rz_import_open("meds", paths + 1, 1, &options, &import, &error));
    check_fails(rz_import_next(import, &claim, &more, &error), RZ_E_UNSUPPORTED,
                "events.parquet: the file is Parquet, which is not read; export it to CSV");
    rz_import_close(import);
}

static int set_up(void **state)
{
    (void)state;
    return rz_hash_setup(NULL) == RZ_OK ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(eunomia), cmocka_unit_test(mimic),
                                       cmocka_unit_test(synpuf_omop), cmocka_unit_test(synpuf),
                                       cmocka_unit_test(parquet_is_refused_with_the_remedy)};
    return cmocka_run_group_tests(tests, set_up, NULL);
}
