/* Writing, loading, predicting and explaining while each allocation in turn fails, alone and with
 * all that follow it: the answer is then "out of memory", nothing leaks, and the next try works. */
#include "../unit/predict/example.h"
#include "allocations.h"
#include "check.h"
#include "folder.h"

#include "base/size.h"

enum { EVENTS = 40 };

/* -1 = all succeed; else the allocation with this number fails. */
static long fail_at = -1, allocations;
static bool fail_after; /* and all after it */

static bool allocation_fails(void)
{
    long number = allocations++;
    return fail_at >= 0 && (number == fail_at || (fail_after && number > fail_at));
}

static char folder[] = "/tmp/rezept-memory-XXXXXX";
static rz_timeline_event events[EVENTS];
static const rz_timeline timeline = {
    .sex = RZ_SEX_FEMALE, .birth_day = -10000, .n_events = EVENTS, .events = events};

static rz_status count(rz_vocabulary **out, rz_error *error)
{
    rz_vocabulary_builder *builder = NULL;
    rz_status status = rz_vocabulary_builder_new(rz_code_levels_defaults(), &builder, error);
    for (int i = 0; i < 2 && status == RZ_OK; i++)
        status = rz_vocabulary_builder_add(builder, &timeline, error);
    if (status == RZ_OK)
        status = rz_vocabulary_builder_finish(builder, 1, out, error);
    rz_vocabulary_builder_free(builder);
    return status;
}

static rz_status write_all(rz_error *error)
{
    const char *names[] = {"ckd"};
    rz_config config = {.family = "encoder",
                        .size = "custom",
                        .hidden = 16,
                        .layers = 1,
                        .heads = 2,
                        .feed_forward = 16,
                        .age_hidden = 16,
                        .age_bins = 1200,
                        .context = 32,
                        .onset = true};
    const rz_checkpoint_origin origin = {.code_version = "test"};
    rz_vocabulary *vocabulary = NULL;
    rz_model *model = NULL;
    rz_onset onset = {0};
    rz_head head = {
        .task = example_task("ckd"), .calibration = example_calibration(), .age_sex_beta = {-3}};
    rz_status status = count(&vocabulary, error);
    if (status == RZ_OK)
        status = rz_model_new(&config, vocabulary, names, 1, 1, NULL, &model, error);
    if (status == RZ_OK)
        status = rz_calibration_seal(&head.calibration, error);
    if (status == RZ_OK)
        status = rz_checkpoint_begin(folder, error);
    if (status == RZ_OK)
        status = rz_checkpoint_write(folder, model, &origin, error);
    if (status == RZ_OK)
        status = rz_heads_write(folder, &head, 1, error);
    if (status == RZ_OK)
        status = rz_onset_init(&onset, rz_model_codes(model), error);
    for (size_t i = 0; i < onset.n_codes; i++)
        onset.codes[i].slope = 1.0;
    onset.kinds = json_array();
    onset.metrics = json_object();
    memcpy(onset.date, "2026-02-28", 11);
    if (status == RZ_OK)
        status = rz_onset_write(folder, vocabulary, &onset, error);
    if (status == RZ_OK)
        status = rz_checkpoint_finish(folder, error);
    rz_onset_done(&onset);
    rz_model_free(model);
    rz_vocabulary_free(vocabulary);
    return status;
}

static rz_status load_and_predict(rz_error *error)
{
    const rz_timeline *list[] = {&timeline, &timeline};
    const int32_t as_of[] = {2000, 2100};
    rz_predict_options options = rz_predict_options_defaults();
    rz_risk risks[2];
    rz_predictor *predictor = NULL;
    options.explain = 3;
    rz_status status = rz_predictor_open(folder, NULL, &predictor, error);
    if (status == RZ_OK)
        status = rz_predictor_risks(predictor, list, as_of, 2, &options, risks, error);
    const rz_onset_query query = {.top = 1};
    if (status == RZ_OK)
        status = rz_predictor_onsets(predictor, list, as_of, 2, &query, 100, risks, error);
    rz_predictor_close(predictor);
    return status;
}

static void each_allocation_fails(rz_status work(rz_error *), const char *name)
{
    rz_error error = {0};
    allocations = 0;
    check_ok(work(&error));
    long all = allocations, failures = 0;
    for (long i = 0; i < 2 * all; i++) {
        rz_error_clear(&error);
        allocations = 0;
        fail_at = i / 2;
        fail_after = i % 2 == 1;
        rz_status status = work(&error);
        fail_at = -1;
        failures += status != RZ_OK;
        if (status != RZ_OK && status != RZ_E_NO_MEMORY)
            fail_msg("%s, allocation %ld: %s: %s", name, i / 2, rz_status_name(status), error.text);
        if (status != RZ_OK)
            assert_true(error.text[0] != '\0');
    }
    print_message("# %s: %ld allocations, %ld of %ld failures ended the call\n", name, all,
                  failures, 2 * all);
    assert_true(failures > all);
    rz_error_clear(&error);
    check_ok(work(&error));
}

static void writing(void **state)
{
    (void)state;
    json_set_alloc_funcs(__wrap_malloc, free);
    each_allocation_fails(write_all, "writing");
}

static void predicting(void **state)
{
    (void)state;
    /* jansson's parser takes a failed allocation for a syntax error, so here it is spared. */
    json_set_alloc_funcs(__real_malloc, free);
    each_allocation_fails(load_and_predict, "predicting");
}

static int setup(void **state)
{
    (void)state;
    rz_error error = {0};
    static const char *const codes[] = {"I10", "E119", "J459"};
    for (int i = 0; i < EVENTS; i++)
        events[i] = (rz_timeline_event){.day = 1000 + 20 * i,
                                        .known_day = 1000 + 20 * i,
                                        .kind = RZ_KIND_DIAGNOSIS,
                                        .system = RZ_SYSTEM_ICD10,
                                        .code = codes[i % 3],
                                        .value = NAN};
    return temp_folder(folder) == NULL || rz_hash_setup(&error) != RZ_OK ? -1 : 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(writing), cmocka_unit_test(predicting)};
    return cmocka_run_group_tests(tests, setup, NULL);
}
