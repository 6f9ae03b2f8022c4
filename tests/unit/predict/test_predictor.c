/* The predictor: the same bytes alone or in any batch, eligibility, and leaving codes out. */
#include "check.h"
#include "folder.h"

#include "example.h"

#include "base/size.h"
#include "predict/predictor_own.h"

#include <unistd.h>

enum { PATIENTS = 40, EVENTS_MAX = 70 };

static char folder[] = "/tmp/rezept-predictor-XXXXXX";
static rz_predictor *predictor;
static rz_timeline timelines[PATIENTS];
static const rz_timeline *list[PATIENTS];
static int32_t as_of[PATIENTS];

/* Histories of other lengths, some longer than the context of 32, with codes that are unknown. */
static int make_timelines(void)
{
    static rz_timeline_event events[PATIENTS][EVENTS_MAX];
    static char codes[12][16];
    for (int i = 0; i < 12; i++)
        (void)snprintf(codes[i], sizeof codes[i], "%c%06d", i < 5 ? 'D' : 'M', i);
    for (int p = 0; p < PATIENTS; p++) {
        int n = p * 7 % EVENTS_MAX;
        for (int i = 0; i < n; i++) {
            int code = (p * 5 + i * i) % 12; /* 9, 10, 11 are not in the vocabulary */
            events[p][i] =
                (rz_timeline_event){.day = 1000 + 30 * i,
                                    .known_day = 1000 + 30 * i,
                                    .kind = code < 5 ? RZ_KIND_DIAGNOSIS : RZ_KIND_MEDICATION,
                                    .system = RZ_SYSTEM_LOCAL,
                                    .code = codes[code],
                                    .value = NAN};
        }
        timelines[p] = (rz_timeline){.patient = p + 1,
                                     .sex = p % 2 ? RZ_SEX_MALE : RZ_SEX_FEMALE,
                                     .birth_day = -15000 + 300 * p,
                                     .n_events = (size_t)n,
                                     .events = events[p]};
        list[p] = &timelines[p];
        as_of[p] = 2800;
    }
    return 0;
}

static int setup(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_vocabulary *vocabulary = NULL;
    rz_model *model = NULL;
    const char *names[] = {"ckd", "other"};
    rz_config config = {.family = "encoder",
                        .size = "custom",
                        .hidden = 64,
                        .layers = 2,
                        .heads = 4,
                        .feed_forward = 64,
                        .age_hidden = 32,
                        .age_bins = 1200,
                        .context = 32};
    rz_checkpoint_origin origin = {.code_version = "test"};
    rz_head heads[2] = {example_head("ckd"), example_head("other")};
    heads[0].task.n_outcomes = heads[1].task.n_outcomes = 1;
    heads[0].task.outcomes[0] = (rz_task_prefix){RZ_SYSTEM_ICD10, "N18"};
    heads[1].task.outcomes[0] = (rz_task_prefix){RZ_SYSTEM_LOCAL, "D000004"};
    rz_status status = temp_folder(folder) == NULL ? RZ_E_IO : rz_hash_setup(&error);
    for (int i = 0; i < 2 && status == RZ_OK; i++)
        status = rz_calibration_seal(&heads[i].calibration, &error);
    if (status == RZ_OK)
        status = rz_vocabulary_synthetic(9, &vocabulary, &error);
    if (status == RZ_OK)
        status = rz_model_new(&config, vocabulary, names, 2, 3, NULL, &model, &error);
    for (size_t i = 0; status == RZ_OK && i < model->n_parameters; i++)
        model->parameters[i] *= 4.0f; /* larger than at the start, so that codes matter */
    if (status == RZ_OK)
        status = rz_checkpoint_begin(folder, &error);
    if (status == RZ_OK)
        status = rz_checkpoint_write(folder, model, &origin, &error);
    if (status == RZ_OK)
        status = rz_heads_write(folder, heads, 2, &error);
    if (status == RZ_OK)
        status = rz_checkpoint_finish(folder, &error);
    if (status == RZ_OK)
        status = rz_predictor_open(folder, NULL, &predictor, &error);
    if (status != RZ_OK)
        (void)fprintf(stderr, "# %s\n", error.text);
    rz_model_free(model);
    rz_vocabulary_free(vocabulary);
    for (int i = 0; i < 2; i++)
        rz_head_done(&heads[i]);
    return status == RZ_OK ? make_timelines() : -1;
}

static int teardown(void **state)
{
    (void)state;
    rz_predictor_close(predictor);
    return 0;
}

static rz_risk *risks_of(size_t first, size_t n, rz_predict_options options)
{
    rz_error error = {0};
    rz_risk *out = calloc(2 * n, sizeof *out);
    assert_non_null(out);
    check_ok(rz_predictor_risks(predictor, list + first, as_of + first, n, &options, out, &error));
    return out;
}

/* To the bit, field by field: the padding of the structs is nobody's business. */
static void check_same(const rz_risk *a, const rz_risk *b)
{
    assert_int_equal(a->head, b->head);
    assert_int_equal(a->eligibility.reason, b->eligibility.reason);
    const double x[] = {a->probability, a->low, a->high, a->logit, a->age_sex_average};
    const double y[] = {b->probability, b->low, b->high, b->logit, b->age_sex_average};
    assert_memory_equal(x, y, sizeof x);
    assert_int_equal(a->similar_n, b->similar_n);
    assert_int_equal(a->unmapped, b->unmapped);
    assert_int_equal(a->left_out, b->left_out);
    assert_int_equal(a->n_contributions, b->n_contributions);
    for (size_t i = 0; i < a->n_contributions; i++) {
        const rz_contribution *c = &a->contributions[i], *d = &b->contributions[i];
        assert_string_equal(c->code, d->code);
        assert_int_equal(c->last_day, d->last_day);
        assert_int_equal(c->kind, d->kind);
        assert_int_equal(c->system, d->system);
        assert_int_equal(c->first_day, d->first_day);
        assert_int_equal(c->events, d->events);
        assert_memory_equal(&c->logit_change, &d->logit_change, sizeof c->logit_change);
        assert_memory_equal(&c->risk_change, &d->risk_change, sizeof c->risk_change);
    }
}

static void same_bytes_in_any_batch(void **state)
{
    (void)state;
    static const size_t tokens_max[] = {1, 40, 100, 333, 16384};
    rz_predict_options options = rz_predict_options_defaults();
    options.explain = 3;
    rz_risk *whole = risks_of(0, PATIENTS, options);
    for (size_t i = 0; i < RZ_COUNT(tokens_max); i++) {
        options.batch_tokens_max = tokens_max[i];
        rz_risk *other = risks_of(0, PATIENTS, options);
        for (size_t k = 0; k < 2 * PATIENTS; k++)
            check_same(&other[k], &whole[k]);
        free(other);
    }
    options = rz_predict_options_defaults();
    options.explain = 3;
    for (size_t p = 0; p < PATIENTS; p++) {
        rz_risk *alone = risks_of(p, 1, options);
        check_same(&alone[0], &whole[2 * p]);
        check_same(&alone[1], &whole[2 * p + 1]);
        free(alone);
    }
    free(whole);
}

static void rows_say_what_they_should(void **state)
{
    (void)state;
    rz_error error = {0};
    float *logits = calloc(2 * PATIENTS, sizeof *logits);
    size_t answered = 0, recorded = 0, shortened = 0;
    assert_non_null(logits);
    rz_predict_figures figures = {.tokenize_s = -1.0};
    rz_predict_options options = rz_predict_options_defaults();
    options.figures = &figures;
    rz_risk *rows = risks_of(0, PATIENTS, options);
    uint64_t unknown_codes = 0;
    check_ok(predictor_run(predictor, list, as_of, PATIENTS, 16384, logits, NULL, &error));
    for (size_t p = 0; p < PATIENTS; p++) {
        uint32_t unknown = 0;
        for (size_t i = 0; i < timelines[p].n_events; i++)
            unknown += timelines[p].events[i].known_day <= as_of[p] &&
                       strcmp(timelines[p].events[i].code, "M000009") >= 0;
        unknown_codes += unknown;
        for (size_t h = 0; h < 2; h++) {
            const rz_risk *row = &rows[2 * p + h];
            assert_int_equal(row->head, h);
            assert_in_range(row->tokens, 2, 32);
            assert_true(row->left_out == 0 || row->tokens == 32);
            assert_int_equal(row->unmapped, unknown);
            assert_int_equal(row->n_contributions, 0);
            assert_true(row->age_sex_average > 0 && row->age_sex_average < 1);
            shortened += row->left_out > 0;
            if (row->eligibility.reason == RZ_REASON_NONE) {
                answered++;
                check_near(row->logit, (double)logits[2 * p + h], 0);
                assert_true(row->low <= row->probability && row->probability <= row->high);
            } else {
                recorded += row->eligibility.reason == RZ_REASON_ALREADY_RECORDED;
                assert_true(isnan(row->probability) && isnan(row->logit));
            }
        }
    }
    assert_true(answered > 20);
    assert_true(recorded > 5);
    assert_true(shortened > 5);
    assert_true(figures.tokenize_s > 0.0);
    for (int system = 0; system < RZ_SYSTEM_COUNT; system++)
        assert_int_equal(figures.unmapped[system], system == RZ_SYSTEM_LOCAL ? unknown_codes : 0);
    /* Explaining runs shortened histories, which are not met in the world. */
    options.explain = 4;
    free(rows);
    rows = risks_of(0, PATIENTS, options);
    assert_int_equal(figures.unmapped[RZ_SYSTEM_LOCAL], unknown_codes);
    free(rows);
    free(logits);
}

static void only_the_heads_asked_for(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_predict_options options = rz_predict_options_defaults();
    rz_risk *both = risks_of(30, 1, options), one;
    options.heads = 2;
    check_ok(rz_predictor_risks(predictor, list + 30, as_of + 30, 1, &options, &one, &error));
    check_same(&one, &both[1]);
    options.heads = 4;
    check_fails(rz_predictor_risks(predictor, list, as_of, 1, &options, &one, &error), RZ_E_INVALID,
                "none of the model's 2 tasks");
    free(both);
}

/* The change of each contribution is what a second request without the code gives. */
static void contributions_are_what_leaving_out_gives(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_predict_options options = rz_predict_options_defaults();
    options.explain = RZ_CONTRIBUTIONS_MAX;
    options.heads = 1;
    size_t checked = 0;
    for (size_t p = 0; p < PATIENTS; p += 3) {
        rz_risk with, without;
        check_ok(rz_predictor_risks(predictor, list + p, as_of + p, 1, &options, &with, &error));
        for (size_t k = 0; k < with.n_contributions; k++) {
            const rz_contribution *c = &with.contributions[k];
            rz_timeline_event left[EVENTS_MAX];
            rz_timeline less = timelines[p];
            uint32_t gone = 0;
            less.events = left;
            less.n_events = 0;
            for (size_t i = 0; i < timelines[p].n_events; i++) {
                const rz_timeline_event *event = &timelines[p].events[i];
                if (event->known_day <= as_of[p] && strcmp(event->code, c->code) == 0)
                    gone++;
                else
                    left[less.n_events++] = *event;
            }
            const rz_timeline *only = &less;
            rz_predict_options plain = options;
            plain.explain = 0;
            check_ok(rz_predictor_risks(predictor, &only, as_of + p, 1, &plain, &without, &error));
            if (without.eligibility.reason != RZ_REASON_NONE)
                continue;
            assert_int_equal(c->events, gone);
            check_near(c->logit_change, with.logit - without.logit, 0);
            check_near(c->risk_change, with.probability - without.probability, 0);
            if (k > 0)
                assert_true(fabs(with.contributions[k - 1].logit_change) >= fabs(c->logit_change));
            checked++;
        }
    }
    assert_true(checked > 30);
}

/* No code of 31 or fewer is passed over, and no answer depends on which other risks are asked for.
 */
static void risks_are_explained_alone_as_together(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_predict_options options = rz_predict_options_defaults();
    options.explain = RZ_CONTRIBUTIONS_MAX;
    size_t full = 0;
    for (size_t p = 0; p < PATIENTS; p++) {
        rz_risk *both = risks_of(p, 1, options), one;
        for (uint64_t head = 0; head < 2; head++) {
            options.heads = (uint64_t)1 << head;
            check_ok(rz_predictor_risks(predictor, list + p, as_of + p, 1, &options, &one, &error));
            check_same(&one, &both[head]);
        }
        options.heads = UINT64_MAX;
        full += both[1].n_contributions > 2;
        free(both);
    }
    assert_true(full > 5);
}

/* A history with one code, and one with none that has a name. */
static void short_histories_are_explained(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_predict_options options = rz_predict_options_defaults();
    options.explain = RZ_CONTRIBUTIONS_MAX;
    rz_timeline_event events[] = {
        {.day = 1000, .known_day = 1000, .kind = RZ_KIND_DIAGNOSIS, .code = "D000001"},
        {.day = 1500, .known_day = 1500, .kind = RZ_KIND_DIAGNOSIS, .code = "D000001"},
        {.day = 1600, .known_day = 1600, .kind = RZ_KIND_MEDICATION, .code = "M000010"},
        {.day = 1700, .known_day = 2801, .kind = RZ_KIND_DIAGNOSIS, .code = "D000002"}};
    for (size_t i = 0; i < RZ_COUNT(events); i++) {
        events[i].system = RZ_SYSTEM_LOCAL;
        events[i].value = NAN;
    }
    rz_timeline one = {.sex = RZ_SEX_MALE, .birth_day = -9000, .n_events = 4, .events = events};
    const rz_timeline *only = &one;
    rz_risk with[2], without[2];
    check_ok(rz_predictor_risks(predictor, &only, as_of, 1, &options, with, &error));
    events[0] = events[1] = events[2]; /* not known to the vocabulary: nothing to explain with */
    check_ok(rz_predictor_risks(predictor, &only, as_of, 1, &options, without, &error));
    one.n_events = 0;
    for (size_t h = 0; h < 2; h++) {
        const rz_contribution *c = &with[h].contributions[0];
        assert_int_equal(with[h].n_contributions, 1);
        assert_string_equal(c->code, "D000001");
        assert_int_equal(c->events, 2);
        assert_int_equal(c->first_day, 1000);
        assert_int_equal(c->last_day, 1500);
        assert_true(c->logit_change != 0.0 && c->logit_change * c->risk_change > 0.0);
        assert_int_equal(without[h].n_contributions, 0);
        assert_int_equal(without[h].eligibility.reason, RZ_REASON_NONE);
    }
    check_ok(rz_predictor_risks(predictor, &only, as_of, 1, &options, without, &error));
    assert_int_equal(without[0].n_contributions, 0);
    assert_int_equal(without[0].eligibility.reason, RZ_REASON_SHORT_HISTORY);
}

/* A kept risk is, to the bit, the one that was worked out; other texts are refused. */
static void kept_risks_come_back_whole(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_buffer text;
    rz_predict_options options = rz_predict_options_defaults();
    options.explain = RZ_CONTRIBUTIONS_MAX;
    rz_risk *rows = risks_of(0, PATIENTS, options), back;
    size_t kept = 0, none = 0;
    bool complete = false;
    rz_buffer_init(&text, 1 << 16);
    for (size_t k = 0; k < 2 * PATIENTS; k++) {
        size_t p = k / 2, head = k % 2;
        check_ok(rz_predictor_recall(predictor, head, list[p], as_of[p], NULL, &back, &complete,
                                     &error));
        assert_int_equal(complete, rows[k].eligibility.reason != RZ_REASON_NONE);
        if (complete) {
            rows[k].tokens = rows[k].unmapped = rows[k].left_out = 0;
            check_same(&back, &rows[k]);
            none++;
            continue;
        }
        rz_buffer_clear(&text);
        check_ok(rz_risk_keep(&rows[k], &text, &error));
        check_ok(rz_predictor_recall(predictor, head, list[p], as_of[p], text.data, &back,
                                     &complete, &error));
        assert_true(complete);
        assert_int_equal(back.tokens, rows[k].tokens);
        check_same(&back, &rows[k]);
        kept++;
    }
    assert_true(kept > 20 && none > 5);
    static const char *const wrong[] = {
        "", "{}", "{\"logit\":1.0}",
        "{\"logit\":1.0,\"tokens\":-1,\"unmapped\":0,\"left_out\":0,\"contributions\":[]}",
        "{\"logit\":1.0,\"tokens\":3,\"unmapped\":0,\"left_out\":0,\"contributions\":[[]]}"};
    size_t k = 0;
    while (rows[k].eligibility.reason != RZ_REASON_NONE)
        k++;
    for (size_t i = 0; i < RZ_COUNT(wrong); i++)
        check_fails(rz_predictor_recall(predictor, k % 2, list[k / 2], as_of[k / 2], wrong[i],
                                        &back, &complete, &error),
                    RZ_E_CORRUPT, "kept explanation");
    rz_buffer_done(&text);
    free(rows);
}

static void folders_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_predictor *other = NULL;
    rz_head heads[2] = {example_head("other"), example_head("ckd")};
    for (int i = 0; i < 2; i++)
        check_ok(rz_calibration_seal(&heads[i].calibration, &error));
    char path[128];
    (void)snprintf(path, sizeof path, "%s/DONE", folder);
    for (size_t n = 1; n <= 2; n++) {
        assert_int_equal(unlink(path), 0);
        check_ok(rz_heads_write(folder, heads, n, &error));
        check_ok(rz_checkpoint_finish(folder, &error));
        check_fails(rz_predictor_open(folder, NULL, &other, &error), RZ_E_CORRUPT,
                    n == 1 ? "has 1 tasks, the model 2 heads"
                           : "is other, the model's head is ckd");
    }
    check_fails(rz_predictor_open("/nonexistent", NULL, &other, &error), RZ_E_NOT_FOUND,
                "/nonexistent");
    assert_null(other);
    for (int i = 0; i < 2; i++)
        rz_head_done(&heads[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_bytes_in_any_batch),
        cmocka_unit_test(rows_say_what_they_should),
        cmocka_unit_test(only_the_heads_asked_for),
        cmocka_unit_test(contributions_are_what_leaving_out_gives),
        cmocka_unit_test(risks_are_explained_alone_as_together),
        cmocka_unit_test(short_histories_are_explained),
        cmocka_unit_test(kept_risks_come_back_whole),
        cmocka_unit_test(folders_that_do_not_fit_are_refused),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
