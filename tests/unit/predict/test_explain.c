/* Explanations of long histories: which codes are tried, and that what is told is the most that
 * trying them gives, also where a model passes over refills. */
#include "check.h"
#include "folder.h"

#include "example.h"

#include "base/rng.h"
#include "base/size.h"
#include "predict/predictor_own.h"

enum { CODES = 60, EVENTS = 150, TRIED = 31, AS_OF = 9000 };

static char folders[2][32] = {"/tmp/rezept-explain-a-XXXXXX", "/tmp/rezept-explain-b-XXXXXX"};
static rz_predictor *predictors[2]; /* the second passes over refills of 200 days */
static rz_timeline_event events[EVENTS];
static char codes[CODES][16];
static rz_timeline timeline = {
    .sex = RZ_SEX_FEMALE, .birth_day = -12000, .n_events = EVENTS, .events = events};

static rz_status make(char *folder, int32_t context, int32_t repeat_days, rz_predictor **out,
                      rz_error *error)
{
    rz_vocabulary *vocabulary = NULL;
    rz_model *model = NULL;
    const char *names[] = {"ckd"};
    rz_config config = {.family = "encoder",
                        .size = "custom",
                        .hidden = 32,
                        .layers = 2,
                        .heads = 4,
                        .feed_forward = 64,
                        .age_hidden = 32,
                        .age_bins = 1200,
                        .context = context,
                        .repeat_days = repeat_days,
                        .norm = RZ_NORM_PRE,
                        .pooling = RZ_POOLING_MEAN};
    rz_checkpoint_origin origin = {.code_version = "test"};
    rz_head head = example_head("ckd");
    rz_status status = temp_folder(folder) == NULL ? RZ_E_IO : rz_hash_setup(error);
    if (status == RZ_OK)
        status = rz_calibration_seal(&head.calibration, error);
    if (status == RZ_OK)
        status = rz_vocabulary_synthetic(CODES, &vocabulary, error);
    if (status == RZ_OK)
        status = rz_model_new(&config, vocabulary, names, 1, 7, NULL, &model, error);
    for (size_t i = 0; status == RZ_OK && i < model->n_parameters; i++)
        model->parameters[i] *= 2.0f; /* codes matter, and not in proportion */
    if (status == RZ_OK)
        status = rz_checkpoint_begin(folder, error);
    if (status == RZ_OK)
        status = rz_checkpoint_write(folder, model, &origin, error);
    if (status == RZ_OK)
        status = rz_heads_write(folder, &head, 1, error);
    if (status == RZ_OK)
        status = rz_checkpoint_finish(folder, error);
    if (status == RZ_OK)
        status = rz_predictor_open(folder, NULL, out, error);
    rz_model_free(model);
    rz_vocabulary_free(vocabulary);
    rz_head_done(&head);
    return status;
}

static int setup(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_rng rng;
    rz_rng_init(&rng, 5, 0);
    rz_status status = make(folders[0], 160, 0, &predictors[0], &error);
    if (status == RZ_OK)
        status = make(folders[1], 64, 200, &predictors[1], &error);
    if (status != RZ_OK) {
        (void)fprintf(stderr, "# %s\n", error.text);
        return -1;
    }
    for (size_t i = 0; i < CODES; i++) {
        const rz_vocabulary_entry *entry =
            &rz_predictor_model(predictors[0])->vocabulary->entries[i];
        memcpy(codes[i], entry->code, sizeof codes[i]);
    }
    for (size_t i = 0; i < EVENTS; i++) {
        uint32_t code = rz_rng_below(&rng, CODES);
        const rz_vocabulary_entry *entry =
            &rz_predictor_model(predictors[0])->vocabulary->entries[code];
        events[i] = (rz_timeline_event){.day = (int32_t)(20 * i),
                                        .known_day = (int32_t)(20 * i),
                                        .kind = (uint8_t)entry->kind,
                                        .system = (uint8_t)entry->system,
                                        .code = codes[code],
                                        .value = NAN};
    }
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    rz_predictor_close(predictors[0]);
    rz_predictor_close(predictors[1]);
    return 0;
}

static rz_risk risk_of(rz_predictor *p, const rz_timeline *t, unsigned explain)
{
    rz_error error = {0};
    rz_risk risk;
    const int32_t day = AS_OF;
    rz_predict_options options = rz_predict_options_defaults();
    options.explain = explain;
    check_ok(rz_predictor_risks(p, &t, &day, 1, &options, &risk, &error));
    assert_int_equal(risk.eligibility.reason, RZ_REASON_NONE);
    return risk;
}

/* What leaving out a code changes, from a history that is written anew. */
static double change_without(rz_predictor *p, size_t code, double whole)
{
    rz_timeline_event left[EVENTS];
    rz_timeline less = timeline;
    less.events = left;
    less.n_events = 0;
    for (size_t i = 0; i < EVENTS; i++)
        if (strcmp(events[i].code, codes[code]) != 0)
            left[less.n_events++] = events[i];
    return whole - risk_of(p, &less, 0).logit;
}

/* Codes by what they count for, from the model's own tokens; returns how many there are. */
static size_t ranking(rz_predictor *p, double *sums, size_t *order)
{
    rz_error error = {0};
    const rz_model *model = rz_predictor_model(p);
    const rz_timeline *one = &timeline;
    const int32_t day = AS_OF;
    const size_t logit = 0;
    rz_batch batch = {0};
    float counts[EVENTS + 2];
    size_t n = 0;
    bool seen[CODES] = {false};
    check_ok(model->family->batch_build(model, &one, &day, 1, &batch, &error));
    assert_in_range(batch.n_tokens, 40, EVENTS + 2);
    check_ok(model->family->attribute(model, &batch, &logit, 1, counts, p->scratch, &error));
    for (size_t i = 0; i < batch.n_tokens; i++)
        if (batch.tokens[i] >= RZ_TOKEN_SPECIALS) {
            size_t code = (size_t)(batch.tokens[i] - RZ_TOKEN_SPECIALS);
            sums[code] += (double)counts[i];
            if (!seen[code])
                order[n++] = code;
            seen[code] = true;
        }
    for (size_t i = 1; i < n; i++)
        for (size_t k = i; k > 0 && fabs(sums[order[k]]) > fabs(sums[order[k - 1]]); k--) {
            size_t other = order[k];
            order[k] = order[k - 1];
            order[k - 1] = other;
        }
    rz_batch_done(&batch);
    return n;
}

/* Returns for how many of the codes that are tried first order knows the direction. */
static size_t check_told(rz_predictor *p)
{
    double sums[CODES] = {0.0}, changes[TRIED];
    size_t order[CODES];
    rz_risk risk = risk_of(p, &timeline, RZ_CONTRIBUTIONS_MAX);
    size_t n = ranking(p, sums, order);
    assert_true(n > TRIED);
    assert_int_equal(risk.n_contributions, RZ_CONTRIBUTIONS_MAX);
    size_t larger = 0, alike = 0;
    double least = fabs(risk.contributions[RZ_CONTRIBUTIONS_MAX - 1].logit_change);
    for (size_t i = 0; i < TRIED; i++) {
        changes[i] = change_without(p, order[i], risk.logit);
        larger += fabs(changes[i]) > least;
    }
    assert_int_equal(larger, RZ_CONTRIBUTIONS_MAX - 1);
    for (size_t k = 0; k < RZ_CONTRIBUTIONS_MAX; k++) {
        const rz_contribution *c = &risk.contributions[k];
        size_t i = 0;
        while (i < TRIED && strcmp(codes[order[i]], c->code) != 0)
            i++;
        assert_true(i < TRIED);
        check_near(c->logit_change, changes[i], 0);
    }
    for (size_t i = 0; i < TRIED; i++)
        alike += sums[order[i]] * changes[i] > 0.0;
    return alike;
}

static void the_highest_ranked_are_tried(void **state)
{
    (void)state;
    assert_in_range(check_told(predictors[0]), 25, TRIED);
}

/* Without a code, older events come into the context, also past refills; so the direction may be
 * another one. */
static void refills_are_passed_over_alike(void **state)
{
    (void)state;
    (void)check_told(predictors[1]);
}

static void the_same_question_has_the_same_answer(void **state)
{
    (void)state;
    rz_risk first = risk_of(predictors[0], &timeline, RZ_CONTRIBUTIONS_MAX);
    for (unsigned n = 1; n <= RZ_CONTRIBUTIONS_MAX; n++) {
        rz_risk again = risk_of(predictors[0], &timeline, n);
        assert_int_equal(again.n_contributions, n);
        for (size_t k = 0; k < n; k++) {
            assert_string_equal(again.contributions[k].code, first.contributions[k].code);
            check_near(again.contributions[k].risk_change, first.contributions[k].risk_change, 0);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_highest_ranked_are_tried),
                                       cmocka_unit_test(refills_are_passed_over_alike),
                                       cmocka_unit_test(the_same_question_has_the_same_answer)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
