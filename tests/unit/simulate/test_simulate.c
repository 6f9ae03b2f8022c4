#include "check.h"

#include "base/hash.h"
#include "base/size.h"
#include "simulate/simulate.h"

static rz_task tasks[RZ_TASKS_MAX];
static size_t n_tasks;

static int setup(void **state)
{
    (void)state;
    rz_error error = {0};
    char folder[512];
    (void)snprintf(folder, sizeof folder, "%s/models/tasks", getenv("REZEPT_SOURCE_ROOT"));
    if (rz_hash_setup(&error) != RZ_OK)
        return -1;
    return rz_tasks_load(folder, tasks, &n_tasks, &error) == RZ_OK && n_tasks == 4 ? 0 : -1;
}

static rz_simulate_options small(void)
{
    rz_simulate_options o = rz_simulate_options_defaults();
    o.patients = 60;
    o.tasks = tasks;
    o.n_tasks = n_tasks;
    o.continuations = 20;
    return o;
}

/* All of a stream as text; free it. */
static char *content(FILE *stream, size_t *n)
{
    long end = ftell(stream);
    char *text = malloc((size_t)end + 1);
    assert_true(end >= 0 && text != NULL);
    rewind(stream);
    *n = fread(text, 1, (size_t)end, stream);
    assert_int_equal(*n, end);
    text[end] = '\0';
    return text;
}

typedef struct output {
    char *claims, *truth;
    size_t n_claims, n_truth;
    rz_simulate_summary summary;
} output;

static output run(rz_simulate_options o, rz_pool *pool)
{
    rz_error error = {0};
    FILE *claims = tmpfile(), *truth = tmpfile();
    assert_true(claims != NULL && truth != NULL);
    output out = {0};
    check_ok(rz_simulate(&o, pool, claims, truth, NULL, &out.summary, &error));
    out.claims = content(claims, &out.n_claims);
    out.truth = content(truth, &out.n_truth);
    (void)fclose(claims);
    (void)fclose(truth);
    return out;
}

static void output_free(output *out)
{
    free(out->claims);
    free(out->truth);
}

static void digest(const char *text, size_t n, char out[RZ_SHA256_TEXT])
{
    rz_sha256 hash;
    rz_sha256_init(&hash);
    rz_sha256_add(&hash, text, n);
    rz_sha256_text(&hash, out);
}

/* The same bytes on every machine, at every level of optimisation, with any number of threads. A
 * change of these digests means a change of the simulator, or for the truth also of the cohort's
 * index rule: every truth made before is then void. */
static void bytes_are_pinned(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_pool *pool = NULL;
    check_ok(rz_pool_new(3, &pool, &error));
    for (int threads = 0; threads < 2; threads++) {
        char claims[RZ_SHA256_TEXT], truth[RZ_SHA256_TEXT];
        output out = run(small(), threads == 0 ? NULL : pool);
        digest(out.claims, out.n_claims, claims);
        digest(out.truth, out.n_truth, truth);
        assert_string_equal(claims,
                            "1463ac043088ce72c066aaff9dec8db9a33def409be324fe79e86d7f11112f6b");
        assert_string_equal(truth,
                            "966c2d6dcb8944e10fc51c63498679fa4f5c3749b83b85a4d5b8fd4de8911e1f");
        output_free(&out);
    }
    rz_pool_free(pool);
}

/* A patient does not depend on how many others there are. */
static void fewer_patients_are_a_prefix(void **state)
{
    (void)state;
    rz_simulate_options o = small();
    output all = run(o, NULL);
    o.patients = 33;
    output some = run(o, NULL);
    assert_true(some.n_claims < all.n_claims);
    assert_memory_equal(some.claims, all.claims, some.n_claims);
    assert_int_equal(some.summary.patients, 33);
    output_free(&all);
    output_free(&some);
}

static void seeds_and_frailty_change_the_claims(void **state)
{
    (void)state;
    rz_simulate_options o = small();
    o.patients = 5;
    output a = run(o, NULL);
    o.seed = 2;
    output b = run(o, NULL);
    o.seed = 1;
    o.frailty_deviation = 1.0;
    output c = run(o, NULL);
    assert_true(strcmp(a.claims, b.claims) != 0);
    assert_true(strcmp(a.claims, c.claims) != 0);
    output_free(&a);
    output_free(&b);
    output_free(&c);
}

typedef struct code_set {
    char code[1024][16];
    size_t n;
} code_set;

static void keep(code_set *set, const char *code, size_t n)
{
    for (size_t i = 0; i < set->n; i++)
        if (strlen(set->code[i]) == n && memcmp(set->code[i], code, n) == 0)
            return;
    assert_true(set->n < RZ_COUNT(set->code) && n < sizeof set->code[0]);
    memcpy(set->code[set->n], code, n);
    set->code[set->n++][n] = '\0';
}

/* Enough different codes really occur, here already in far fewer patients than quickstart's. */
static void many_codes_occur(void **state)
{
    (void)state;
    static code_set icd10, yj;
    rz_simulate_options o = small();
    o.patients = 400;
    o.tasks = NULL;
    rz_error error = {0};
    rz_simulate_summary summary;
    FILE *claims = tmpfile();
    assert_non_null(claims);
    check_ok(rz_simulate(&o, NULL, claims, NULL, NULL, &summary, &error));
    rewind(claims);
    static char line[1 << 18];
    while (fgets(line, sizeof line, claims) != NULL) {
        assert_non_null(strchr(line, '\n'));
        for (const char *at = line; (at = strstr(at, "\"system\":\"")) != NULL;) {
            bool drug = strncmp(at + 10, "yj", 2) == 0;
            const char *code = strstr(at, "\"code\":\"") + 8;
            at = strchr(code, '"');
            keep(drug ? &yj : &icd10, code, (size_t)(at - code));
        }
    }
    (void)fclose(claims);
    if (icd10.n < 300 || yj.n < 200)
        fail_msg("%zu ICD-10 and %zu YJ codes", icd10.n, yj.n);
    /* About 160 codes a patient: what training is dimensioned for. */
    check_near((double)(summary.events - summary.claims) / (double)summary.patients, 160.0, 40.0);
}

static void options_are_checked(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_simulate_summary summary;
    FILE *sink = tmpfile();
    assert_non_null(sink);
    rz_simulate_options o = small();
    o.patients = 0;
    check_fails(rz_simulate(&o, NULL, sink, NULL, NULL, &summary, &error), RZ_E_INVALID,
                "patients must be 1 to");
    o = small();
    o.hospitals = 1000;
    check_fails(rz_simulate(&o, NULL, sink, NULL, NULL, &summary, &error), RZ_E_INVALID,
                "hospitals must be 1 to 999, not 1000");
    o = small();
    o.frailty_deviation = NAN;
    check_fails(rz_simulate(&o, NULL, sink, NULL, NULL, &summary, &error), RZ_E_INVALID, "frailty");
    o = small();
    o.n_tasks = 0;
    check_fails(rz_simulate(&o, NULL, sink, sink, NULL, &summary, &error), RZ_E_INVALID,
                "the truth needs 1 to");
    (void)fclose(sink);
}

/* A task that is no single item has no true risk, and says so. */
static void foreign_tasks_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *prefix, *words;
    } cases[] = {{"Z99", "writes none of its codes"},
                 {"E11", "of the"},      /* part of diabetes, its nerves, its eyes */
                 {"I", "of the"},        /* several items */
                 {"J06", "writes none"}, /* only background */
                 {"B", "of the"}};
    for (size_t i = 0; i < RZ_COUNT(cases); i++) {
        rz_error error = {0};
        rz_simulate_summary summary;
        rz_simulate_options o = small();
        rz_task task = tasks[0];
        FILE *sink = tmpfile();
        assert_non_null(sink);
        task.kind = RZ_KIND_DIAGNOSIS;
        task.n_outcomes = 1;
        task.outcomes[0] = (rz_task_prefix){.system = RZ_SYSTEM_ICD10};
        (void)snprintf(task.outcomes[0].prefix, sizeof task.outcomes[0].prefix, "%s",
                       cases[i].prefix);
        o.tasks = &task;
        o.n_tasks = 1;
        check_fails(rz_simulate(&o, NULL, sink, sink, NULL, &summary, &error), RZ_E_INVALID,
                    cases[i].words);
        assert_int_equal(ftell(sink), 0);
        (void)fclose(sink);
    }
}

static bool stop_at_once(void *context, const rz_progress_report *report)
{
    (void)report;
    ++*(int *)context;
    return false;
}

static void interruption_stops_the_run(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_simulate_summary summary;
    rz_simulate_options o = small();
    o.patients = 2000;
    int calls = 0;
    rz_progress progress = {.fn = stop_at_once, .context = &calls};
    FILE *sink = tmpfile();
    assert_non_null(sink);
    check_fails(rz_simulate(&o, NULL, sink, NULL, &progress, &summary, &error), RZ_E_CANCELED,
                "of 2000 patients");
    assert_int_equal(calls, 1);
    (void)fclose(sink);
}

static void a_full_disk_is_an_error(void **state)
{
    (void)state;
    FILE *full = fopen("/dev/full", "wb");
    if (full == NULL)
        skip();
    rz_error error = {0};
    rz_simulate_summary summary;
    rz_simulate_options o = small();
    check_fails(rz_simulate(&o, NULL, full, NULL, NULL, &summary, &error), RZ_E_DISK_FULL,
                "cannot write the claims");
    (void)fclose(full);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(bytes_are_pinned),
                                       cmocka_unit_test(fewer_patients_are_a_prefix),
                                       cmocka_unit_test(seeds_and_frailty_change_the_claims),
                                       cmocka_unit_test(many_codes_occur),
                                       cmocka_unit_test(options_are_checked),
                                       cmocka_unit_test(foreign_tasks_are_refused),
                                       cmocka_unit_test(interruption_stops_the_run),
                                       cmocka_unit_test(a_full_disk_is_an_error)};
    return cmocka_run_group_tests(tests, setup, NULL);
}
