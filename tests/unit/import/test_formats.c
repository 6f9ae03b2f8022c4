/* Each folder of tests/data/import holds the files of one import; beside it lies what must come
 * out. A case is named after its format. The ids and records in it are invented. */
#include "files.h"

#include "base/buffer.h"
#include "base/file.h"
#include "base/hash.h"

static void dump_claim(const rz_claim *claim, rz_buffer *out)
{
    char birth[RZ_DAY_TEXT], start[RZ_DAY_TEXT], end[RZ_DAY_TEXT], known[RZ_DAY_TEXT];
    rz_error error = {0};
    check_ok(rz_buffer_addf(out, "%s of %s: patient %s %s born %s, %s, %s to %s, known %s\n",
                            claim->claim_id, claim->facility, claim->patient_id,
                            rz_sex_name(claim->sex), rz_day_text(claim->birth_day, birth),
                            rz_setting_name(claim->setting), rz_day_text(claim->start_day, start),
                            rz_day_text(claim->end_day, end),
                            rz_day_text(claim->known_day, known)));
    for (size_t i = 0; i < claim->n_events; i++) {
        const rz_event *e = &claim->events[i];
        check_ok(rz_buffer_addf(out, "  %s %s %s %s known %s", rz_day_text(e->day, start),
                                rz_kind_name(e->kind), rz_code_system_name(e->system), e->code,
                                rz_day_text(e->known_day, known)));
        if (!isnan(e->value))
            check_ok(rz_buffer_addf(out, " = %g", e->value));
        check_ok(rz_buffer_addf(out, "%s%s%s\n", e->unit != NULL ? " " : "",
                                e->unit != NULL ? e->unit : "",
                                (e->flags & RZ_EVENT_SUSPECTED) != 0 ? " suspected" : ""));
    }
}

static void dump_summary(const rz_import_summary *s, rz_buffer *out)
{
    rz_error error = {0};
    check_ok(rz_buffer_addf(out, "rows %llu, claims %llu, events %llu\n",
                            (unsigned long long)s->rows_read, (unsigned long long)s->claims,
                            (unsigned long long)s->events));
    for (size_t i = 0; i < s->n_refusals; i++) {
        const rz_import_refusal *r = &s->refusals[i];
        check_ok(rz_buffer_addf(out, "refused %llu: %s:", (unsigned long long)r->rows, r->reason));
        for (int k = 0; k < RZ_IMPORT_EXAMPLES_MAX && r->examples[k].file[0] != '\0'; k++)
            check_ok(rz_buffer_addf(out, " %s:%llu", r->examples[k].file,
                                    (unsigned long long)r->examples[k].line));
        check_ok(rz_buffer_add_text(out, "\n"));
    }
}

static void run_once(const char *format, const char *name, rz_import_options options)
{
    rz_error error = {0};
    char folder[512], expected_path[600];
    const char *root = getenv("REZEPT_SOURCE_ROOT"), *paths[] = {folder};
    assert_non_null(root);
    (void)snprintf(folder, sizeof folder, "%s/tests/data/import/%s", root, name);
    (void)snprintf(expected_path, sizeof expected_path, "%s.expected", folder);
    rz_buffer out;
    rz_buffer_init(&out, 1 << 20);
    rz_import *import = NULL;
    check_ok(rz_import_open(format, paths, 1, &options, &import, &error));
    for (;;) {
        rz_claim claim;
        bool more = false;
        check_ok(rz_import_next(import, &claim, &more, &error));
        if (!more)
            break;
        dump_claim(&claim, &out);
    }
    dump_summary(rz_import_summary_of(import), &out);
    const rz_import_summary *s = rz_import_summary_of(import);
    assert_int_equal(s->bytes_read, s->bytes_total);
    rz_import_close(import);
    /* To look at a new case: REZEPT_TEST_WRITE=1 writes what came out. */
    if (getenv("REZEPT_TEST_WRITE") != NULL)
        check_ok(rz_file_write(expected_path, out.data, out.length, &error));
    char *expected = NULL;
    check_ok(rz_file_read(expected_path, 1 << 20, &expected, NULL, &error));
    assert_string_equal(out.data, expected);
    free(expected);
    rz_buffer_done(&out);
}

/* A thread that reads ahead changes nothing. */
static void run_case(const char *format, const char *name, rz_import_options options)
{
    run_once(format, name, options);
    options.read_ahead = true;
    run_once(format, name, options);
}

static void native(void **state)
{
    (void)state;
    run_case("native", "native", rz_import_options_defaults());
}

static void omop(void **state)
{
    (void)state;
    run_case("omop", "omop", rz_import_options_defaults());
    rz_import_options options = rz_import_options_defaults();
    options.facility = "north";
    run_case("omop", "omop-tabs", options);
}

static void synpuf(void **state)
{
    (void)state;
    run_case("synpuf", "synpuf", rz_import_options_defaults());
}

static void meds(void **state)
{
    (void)state;
    rz_import_options options = rz_import_options_defaults();
    options.shifted_dates = true;
    run_case("meds", "meds", options);
}

static int set_up(void **state)
{
    (void)state;
    return rz_hash_setup(NULL) == RZ_OK ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(native), cmocka_unit_test(omop),
                                       cmocka_unit_test(synpuf), cmocka_unit_test(meds)};
    return cmocka_run_group_tests(tests, set_up, NULL);
}
