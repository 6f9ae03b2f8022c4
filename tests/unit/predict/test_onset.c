/* Onsets: the file out and in again and what hostile ones get, what counts as recorded and as
 * coming, the band, and the predictor's answers, alone and in any batch. */
#include "check.h"
#include "folder.h"

#include "base/file.h"
#include "base/portable_math.h"
#include "base/size.h"
#include "predict/predictor_own.h"

enum { CODES = 9, PATIENTS = 150, EVENTS_MAX = 40, AS_OF = 2000 };

static char folder[] = "/tmp/rezept-onset-XXXXXX";
static rz_vocabulary *vocabulary; /* D000000 … D000004, M000005 … M000008 */
static rz_predictor *predictor;
static rz_timeline timelines[PATIENTS];
static const rz_timeline *list[PATIENTS];
static int32_t as_of[PATIENTS];

static rz_timeline_event event(int32_t day, int32_t known, const char *code)
{
    return (rz_timeline_event){.day = day,
                               .known_day = known,
                               .kind = code[0] == 'D' ? RZ_KIND_DIAGNOSIS : RZ_KIND_MEDICATION,
                               .system = RZ_SYSTEM_LOCAL,
                               .code = code,
                               .value = NAN};
}

/* Every number another one, so that a column that is mixed up is found. */
static rz_onset make_onset(void)
{
    rz_error error = {0};
    rz_onset onset;
    check_ok(rz_onset_init(&onset, CODES, &error));
    for (size_t c = 0; c < CODES; c++) {
        double x = (double)c;
        onset.codes[c] = (rz_onset_code){.center = -3.0 - 0.1 * x,
                                         .intercept = 0.05 * x,
                                         .slope = 0.9 + 0.01 * x,
                                         .intercept_variance = 0.04 + 0.01 * x,
                                         .covariance = -0.002,
                                         .slope_variance = 0.01,
                                         .age_sex_beta = {c % 3 == 0 ? -4.0 : 1.0, 0.1, 0.01 * x},
                                         .train_n = 1000,
                                         .train_positives = (uint32_t)(10 * c),
                                         .tuning_n = (uint32_t)(200 + c),
                                         .tuning_positives = (uint32_t)c};
    }
    onset.kinds = json_pack("[{s:s}]", "kind", "any");
    onset.metrics = json_pack("{s:f}", "auroc_mean", 0.75);
    memcpy(onset.date, "2026-02-28", 11);
    return onset;
}

static void make_timelines(void)
{
    static rz_timeline_event events[PATIENTS][EVENTS_MAX];
    static char codes[CODES + 2][16];
    for (int i = 0; i < CODES + 2; i++)
        (void)snprintf(codes[i], sizeof codes[i], "%c%06d", i < 5 ? 'D' : 'M', i);
    for (int p = 0; p < PATIENTS; p++) {
        int n = 1 + p * 7 % (EVENTS_MAX - 1);
        for (int i = 0; i < n; i++) { /* a patient has some codes and never others */
            int code = (p + i % 4 * (1 + p % 3)) % (CODES + 2);
            events[p][i] = event(1000 + 20 * i, 1000 + 20 * i, codes[code]);
        }
        timelines[p] = (rz_timeline){.patient = p + 1,
                                     .sex = p % 2 ? RZ_SEX_MALE : RZ_SEX_FEMALE,
                                     .birth_day = p % 10 == 0 ? RZ_DAY_NONE : -15000 + 100 * p,
                                     .n_events = (size_t)n,
                                     .events = events[p]};
        list[p] = &timelines[p];
        as_of[p] = p % 11 == 0 ? 1100 : AS_OF; /* some have a short record */
    }
}

static int setup(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_model *model = NULL;
    const rz_config config = {.family = "encoder",
                              .size = "custom",
                              .hidden = 32,
                              .layers = 1,
                              .heads = 4,
                              .feed_forward = 32,
                              .age_hidden = 16,
                              .age_bins = 1200,
                              .context = 32,
                              .onset = true};
    const rz_checkpoint_origin origin = {.code_version = "test"};
    rz_onset onset = make_onset();
    rz_status status = temp_folder(folder) == NULL ? RZ_E_IO : rz_hash_setup(&error);
    if (status == RZ_OK)
        status = rz_vocabulary_synthetic(CODES, &vocabulary, &error);
    if (status == RZ_OK)
        status = rz_model_new(&config, vocabulary, NULL, 0, 3, NULL, &model, &error);
    for (size_t i = 0; status == RZ_OK && i < model->n_parameters; i++)
        model->parameters[i] *= 4.0f; /* larger than at the start, so that codes matter */
    if (status == RZ_OK)
        status = rz_checkpoint_begin(folder, &error);
    if (status == RZ_OK)
        status = rz_checkpoint_write(folder, model, &origin, &error);
    if (status == RZ_OK)
        status = rz_onset_write(folder, vocabulary, &onset, &error);
    if (status == RZ_OK)
        status = rz_checkpoint_finish(folder, &error);
    if (status == RZ_OK)
        status = rz_predictor_open(folder, NULL, &predictor, &error);
    if (status != RZ_OK)
        (void)fprintf(stderr, "# %s\n", error.text);
    rz_model_free(model);
    rz_onset_done(&onset);
    make_timelines();
    return status == RZ_OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    rz_predictor_close(predictor);
    rz_vocabulary_free(vocabulary);
    return 0;
}

static void written_is_read(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_onset onset = make_onset(), again;
    onset.codes[3].center = -1.0 / 3.0;
    char other[] = "/tmp/rezept-onset2-XXXXXX";
    assert_non_null(temp_folder(other));
    check_ok(rz_onset_write(other, vocabulary, &onset, &error));
    check_ok(rz_onset_read(other, vocabulary, &again, &error));
    assert_int_equal(again.n_codes, CODES);
    assert_memory_equal(again.codes, onset.codes, CODES * sizeof *onset.codes);
    assert_true(json_equal(again.kinds, onset.kinds) && json_equal(again.metrics, onset.metrics));
    assert_string_equal(again.date, onset.date);
    assert_string_equal(again.sha256, onset.sha256);
    assert_int_equal(strlen(again.sha256), RZ_SHA256_TEXT - 1);
    rz_onset_done(&again);
    rz_onset_done(&onset);
}

/* Each case changes the good file in one place. */
static void hostile_files_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *find, *replace, *words;
        rz_status status;
    } cases[] = {
        {"\"format_version\":1", "\"format_version\":2", "version 2", RZ_E_UNSUPPORTED},
        {"\"vocabulary_sha256\":\"", "\"vocabulary_sha256\":\"0", "another", RZ_E_CORRUPT},
        {"\"precision\":\"float32\"", "\"precision\":\"float99\"", "precision", RZ_E_CORRUPT},
        {"2026-02-28", "2026-02-30", "date", RZ_E_CORRUPT},
        {"\"horizon_days\":365", "\"horizon_days\":730", "horizon", RZ_E_UNSUPPORTED},
        {"\"kinds\":[", "\"others\":[", "kinds", RZ_E_CORRUPT},
        {"[-3.0,", "[\"x\",", "code 0: center must be a number", RZ_E_CORRUPT},
        {"[-3.0,", "[1e999,", "onset.json", RZ_E_FORMAT},
        {"[-3.0,", "[-1e10,", "center must be a number", RZ_E_CORRUPT},
        {"[-3.0,", "[0,-3.0,", "list of 18", RZ_E_CORRUPT},
        {",0.90000000000000002,", ",-0.9,", "slope", RZ_E_CORRUPT},
        {",0.040000000000000001,", ",-0.04,", "covariance", RZ_E_CORRUPT},
        {",-0.002,", ",-2.0,", "covariance", RZ_E_CORRUPT},
        {"1000,0,200,0]", "1000,0,200.5,0]", "tuning_n must be a count", RZ_E_CORRUPT},
        {"1000,0,200,0]", "1000,0,200,-1]", "count", RZ_E_CORRUPT},
        {"1000,0,200,0]", "1000,0,200,201]", "more positives", RZ_E_CORRUPT},
        {"1000,80,208,8]\n", "1000,80,208,8],[]\n", "10 codes, the vocabulary 9", RZ_E_CORRUPT},
        {"\"codes\":[\n", "\"codes\":[],\"x\":[\n", "0 codes", RZ_E_CORRUPT},
        {"{\"format", "[\"format", "onset.json", RZ_E_FORMAT},
    };
    rz_error error = {0};
    rz_onset out;
    size_t length;
    char *path = rz_path_join(folder, "onset.json"), *good;
    check_ok(rz_file_read(path, 1 << 20, &good, &length, &error));
    for (size_t i = 0; i < RZ_COUNT(cases); i++) {
        const char *place = strstr(good, cases[i].find);
        if (place == NULL)
            fail_msg("case %zu: %s is not in the file", i, cases[i].find);
        char *text = malloc(length + 100);
        assert_non_null(text);
        size_t before = (size_t)(place - good);
        (void)snprintf(text, length + 100, "%.*s%s%s", (int)before, good, cases[i].replace,
                       place + strlen(cases[i].find));
        rz_status status = onset_parse(text, strlen(text), vocabulary, &out, &error);
        const char *words =
            strcmp(cases[i].words, "another") == 0 ? "made for the vocabulary" : cases[i].words;
        if (status != cases[i].status || strstr(error.text, words) == NULL)
            fail_msg("case %zu: %s \"%s\", wanted \"%s\"", i, rz_status_name(status), error.text,
                     words);
        rz_error_clear(&error);
        free(text);
    }
    /* A tree is not built of more values than the vocabulary has use for. */
    size_t n = 80000;
    char *many = malloc(n + 3);
    assert_non_null(many);
    memset(many, '[', n);
    many[n] = '\0';
    check_fails(onset_parse(many, n, vocabulary, &out, &error), RZ_E_CORRUPT, "values");
    free(many);
    free(good);
    free(path);
}

static bool has(const uint64_t *bits, size_t code)
{
    return rz_onset_bit(bits, code);
}

/* Recorded: what was known by the day. Coming: what happens 1 … 365 days after it, whenever it gets
 * known. A code that happened before but gets known after is neither. */
static void history_and_future_do_not_mix(void **state)
{
    (void)state;
    rz_timeline_event events[] = {
        event(900, 2500, "D000000"),         /* happened before, known after: neither */
        event(1990, 1995, "D000001"),        /* recorded */
        event(1999, AS_OF, "M000005"),       /* known on the day itself: recorded */
        event(AS_OF, AS_OF + 1, "D000002"),  /* happens on the day, known later: neither */
        event(AS_OF + 1, 2100, "D000003"),   /* comes */
        event(AS_OF + 365, 2900, "M000006"), /* the last day of the horizon: comes */
        event(AS_OF + 366, 2900, "M000007"), /* too late */
        event(AS_OF + 10, 2100, "D999999"),  /* no code of the vocabulary */
        event(AS_OF + 10, 2100, "D000004"),  /* suspected */
        event(AS_OF + 20, 2100, "D000001"),  /* comes again: masked, as it is recorded */
        {.day = 2003, .known_day = 2003, .kind = RZ_KIND_PROCEDURE, .code = "M000008"},
    };
    events[8].flags = RZ_EVENT_SUSPECTED;
    const rz_timeline timeline = {.events = events, .n_events = RZ_COUNT(events)};
    uint64_t recorded[1] = {UINT64_MAX}, coming[1] = {UINT64_MAX};
    rz_onset_recorded(vocabulary, &timeline, AS_OF, recorded);
    rz_onset_coming(vocabulary, &timeline, AS_OF, coming);
    static const bool wanted[CODES][2] = {
        [1] = {true, true}, [3] = {false, true}, [5] = {true, false}, [6] = {false, true}};
    for (size_t c = 0; c < CODES; c++)
        if (has(recorded, c) != wanted[c][0] || has(coming, c) != wanted[c][1])
            fail_msg("code %zu: recorded %d, coming %d", c, has(recorded, c), has(coming, c));
    assert_true(recorded[0] >> CODES == 0 && coming[0] >> CODES == 0);
}

static void the_band_is_that_of_the_posterior(void **state)
{
    (void)state;
    const rz_onset_code code = {.center = -4.0,
                                .intercept = 0.2,
                                .slope = 0.8,
                                .intercept_variance = 0.09,
                                .covariance = -0.01,
                                .slope_variance = 0.04};
    rz_calibrated at, far;
    rz_onset_apply(&code, -4.0, &at);
    check_near(at.probability, rz_sigmoid(-3.8), 1e-12);
    check_near(at.low, rz_sigmoid(-3.8 - 1.959964 * 0.3), 1e-7);
    check_near(at.high, rz_sigmoid(-3.8 + 1.959964 * 0.3), 1e-7);
    rz_onset_apply(&code, -2.0, &far);
    double deviation = sqrt(0.09 - 2.0 * 2.0 * 0.01 + 4.0 * 0.04);
    check_near(far.probability, rz_sigmoid(-3.8 + 1.6), 1e-12);
    check_near(far.high, rz_sigmoid(-2.2 + 1.959964 * deviation), 1e-7);
}

static rz_risk *onsets_of(size_t first, size_t n, const rz_onset_query *query, size_t tokens)
{
    rz_error error = {0};
    rz_risk *out = calloc(n * (query->n_codes + query->top), sizeof *out);
    assert_non_null(out);
    check_ok(
        rz_predictor_onsets(predictor, list + first, as_of + first, n, query, tokens, out, &error));
    return out;
}

static void a_patient_is_the_same_in_every_batch(void **state)
{
    (void)state;
    static const uint32_t codes[] = {8, 0, 3};
    const rz_onset_query query = {.codes = codes, .n_codes = 3, .top = 4};
    rz_risk *all = onsets_of(0, PATIENTS, &query, 100000),
            *few = onsets_of(0, PATIENTS, &query, 90);
    size_t answered = 0, recorded = 0, short_history = 0, ranked = 0;
    for (size_t p = 0; p < PATIENTS; p++) {
        rz_risk *one = onsets_of(p, 1, &query, 16384);
        for (size_t k = 0; k < 7; k++) {
            const rz_risk *a = &all[7 * p + k], *b = &few[7 * p + k], *c = &one[k];
            assert_true(a->head == b->head && a->head == c->head);
            assert_memory_equal(&a->probability, &b->probability, sizeof(double));
            assert_memory_equal(&a->probability, &c->probability, sizeof(double));
            assert_int_equal(a->eligibility.reason, c->eligibility.reason);
            assert_int_equal(a->unmapped, c->unmapped);
            answered += k < 3 && a->eligibility.reason == RZ_REASON_NONE;
            recorded += a->eligibility.reason == RZ_REASON_ALREADY_RECORDED;
            short_history += a->eligibility.reason == RZ_REASON_SHORT_HISTORY;
            ranked += k >= 3 && a->head != RZ_ONSET_NONE;
        }
        free(one);
    }
    assert_true(answered > 50 && recorded > 50 && short_history > 5 && ranked > 50);
    free(all);
    free(few);
}

/* The list of the largest is what asking for every code and sorting gives. */
static void the_largest_excess_comes_first(void **state)
{
    (void)state;
    uint32_t codes[CODES];
    for (uint32_t c = 0; c < CODES; c++)
        codes[c] = c;
    const rz_onset_query all = {.codes = codes, .n_codes = CODES}, top = {.top = 3};
    size_t full = 0, partly = 0;
    for (size_t p = 0; p < PATIENTS; p++) {
        rz_risk *rows = onsets_of(p, 1, &all, 16384), *best = onsets_of(p, 1, &top, 16384);
        uint64_t recorded[1];
        rz_onset_recorded(vocabulary, list[p], as_of[p], recorded);
        bool used[CODES] = {false};
        size_t listed = 0;
        for (size_t k = 0; k < 3; k++) {
            double most = 0.0;
            size_t chosen = RZ_ONSET_NONE;
            for (size_t c = 0; c < CODES; c++) {
                if ((rows[c].eligibility.reason == RZ_REASON_ALREADY_RECORDED) != has(recorded, c))
                    fail_msg("patient %zu, code %zu: reason %d", p, c, rows[c].eligibility.reason);
                double excess = rows[c].probability - rows[c].age_sex_average;
                if (!used[c] && excess > most) {
                    most = excess;
                    chosen = c;
                }
            }
            assert_true(best[k].head == chosen);
            if (chosen == RZ_ONSET_NONE)
                continue;
            used[chosen] = true;
            check_near(best[k].probability - best[k].age_sex_average, most, 0.0);
            assert_true(best[k].low <= best[k].probability && best[k].probability <= best[k].high);
            assert_int_equal(best[k].similar_n, 200 + chosen);
            listed++;
        }
        full += listed == 3;
        partly += listed > 0 && listed < 3;
        free(rows);
        free(best);
    }
    if (!(full > 10 && partly > 3))
        fail_msg("%zu full lists and %zu others: the example shows too little", full, partly);
}

/* The row of one code without what one of the history's codes brings, from a history that is
 * written anew. */
static rz_risk without(size_t p, const char *code, size_t onset)
{
    static rz_timeline_event left[EVENTS_MAX];
    const uint32_t asked = (uint32_t)onset;
    const rz_onset_query query = {.codes = &asked, .n_codes = 1};
    rz_timeline less = timelines[p];
    const rz_timeline *one = &less;
    rz_error error = {0};
    rz_risk row;
    less.events = left;
    less.n_events = 0;
    for (size_t i = 0; i < timelines[p].n_events; i++)
        if (strcmp(timelines[p].events[i].code, code) != 0)
            left[less.n_events++] = timelines[p].events[i];
    check_ok(rz_predictor_onsets(predictor, &one, &as_of[p], 1, &query, 4096, &row, &error));
    return row;
}

static size_t check_contributions(size_t p, const rz_risk *row)
{
    for (size_t i = 0; i < row->n_contributions; i++) {
        const rz_contribution *c = &row->contributions[i];
        rz_risk less = without(p, c->code, row->head);
        if (less.eligibility.reason != RZ_REASON_NONE) /* the record became too short */
            continue;
        check_near(c->logit_change, row->logit - less.logit, 0.0);
        check_near(c->risk_change, row->probability - less.probability, 0.0);
        assert_true(i == 0 || fabs(c->logit_change) <= fabs(c[-1].logit_change));
        assert_string_not_equal(c->code,
                                vocabulary->entries[row->head].code); /* it is not recorded */
    }
    return row->n_contributions;
}

static void contributions_are_what_removal_changes(void **state)
{
    (void)state;
    static const uint32_t codes[] = {8, 0, 3};
    const rz_onset_query plain = {.codes = codes, .n_codes = 3, .top = 3},
                         explained = {.codes = codes, .n_codes = 3, .top = 3, .explain = 2};
    rz_risk *bare = onsets_of(0, PATIENTS, &plain, 300),
            *all = onsets_of(0, PATIENTS, &explained, 300);
    size_t told = 0, risks = 0;
    for (size_t k = 0; k < (size_t)PATIENTS * 6; k++) {
        assert_memory_equal(&bare[k].probability, &all[k].probability, sizeof(double));
        assert_int_equal(bare[k].n_contributions, 0);
        assert_true(all[k].n_contributions <= 2);
        if (isnan(all[k].probability))
            assert_int_equal(all[k].n_contributions, 0);
        risks += !isnan(all[k].probability);
        told += check_contributions(k / 6, &all[k]);
    }
    if (!(risks > 200 && told > risks))
        fail_msg("%zu contributions of %zu risks: the example shows too little", told, risks);
    free(bare);
    free(all);
}

static void recorded_codes_are_named(void **state)
{
    (void)state;
    static const uint32_t code[] = {1};
    const rz_onset_query query = {.codes = code, .n_codes = 1, .top = 2};
    rz_timeline_event events[] = {event(100, 110, "M000005"),
                                  event(700, 720, "D000001"),
                                  event(800, 820, "D000001"),
                                  {.day = 1500, .known_day = 1500, .kind = RZ_KIND_DEATH}};
    const rz_timeline timeline = {.events = events, .n_events = RZ_COUNT(events)}, *one = &timeline;
    static const struct {
        int32_t day;
        rz_reason reason;
    } cases[] = {{719, RZ_REASON_NONE},
                 {720, RZ_REASON_ALREADY_RECORDED},
                 {400, RZ_REASON_SHORT_HISTORY},
                 {1500, RZ_REASON_DEAD}};
    rz_error error = {0};
    rz_risk rows[3];
    for (size_t i = 0; i < RZ_COUNT(cases); i++) {
        check_ok(rz_predictor_onsets(predictor, &one, &cases[i].day, 1, &query, 100, rows, &error));
        assert_int_equal(rows[0].eligibility.reason, cases[i].reason);
        assert_int_equal(isnan(rows[0].probability), cases[i].reason != RZ_REASON_NONE);
        bool whole =
            cases[i].reason == RZ_REASON_SHORT_HISTORY || cases[i].reason == RZ_REASON_DEAD;
        assert_int_equal(rows[1].eligibility.reason, whole ? cases[i].reason : RZ_REASON_NONE);
        if (cases[i].reason == RZ_REASON_ALREADY_RECORDED) {
            assert_string_equal(rows[0].eligibility.code, "D000001");
            assert_int_equal(rows[0].eligibility.day, 700);
        }
    }
}

static void impossible_questions_are_refused(void **state)
{
    (void)state;
    static const uint32_t none[] = {CODES};
    rz_error error = {0};
    rz_risk out[4];
    const rz_onset_query beyond = {.codes = none, .n_codes = 1}, nothing = {0},
                         many = {.top = RZ_ONSET_TOP_MAX + 1};
    check_fails(rz_predictor_onsets(predictor, list, as_of, 1, &beyond, 100, out, &error),
                RZ_E_RANGE, "code 9, the vocabulary has 9");
    check_fails(rz_predictor_onsets(predictor, list, as_of, 1, &nothing, 100, out, &error),
                RZ_E_INVALID, "asks for codes");
    check_fails(rz_predictor_onsets(predictor, list, as_of, 1, &many, 100, out, &error),
                RZ_E_INVALID, "1 to 100");
    const rz_head *heads;
    assert_int_equal(rz_predictor_heads(predictor, &heads), 0);
    assert_string_equal(rz_predictor_tasks_sha256(predictor), "");
    assert_int_equal(rz_predictor_onset(predictor)->n_codes, CODES);
}

/* The folder is a model only with the file that its head needs. */
static void a_head_without_its_file_is_damage(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_predictor *out = NULL;
    char *path = rz_path_join(folder, "onset.json"), *good;
    size_t length;
    check_ok(rz_file_read(path, 1 << 20, &good, &length, &error));
    check_ok(rz_checkpoint_begin(folder, &error));
    assert_int_equal(remove(path), 0);
    check_ok(rz_checkpoint_finish(folder, &error));
    check_fails(rz_predictor_open(folder, NULL, &out, &error), RZ_E_NOT_FOUND, "onset.json");
    check_ok(rz_checkpoint_begin(folder, &error));
    check_ok(rz_file_write(path, good, length, &error));
    check_ok(rz_checkpoint_finish(folder, &error));
    check_ok(rz_predictor_open(folder, NULL, &out, &error));
    rz_predictor_close(out);
    free(good);
    free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(written_is_read),
                                       cmocka_unit_test(hostile_files_are_refused),
                                       cmocka_unit_test(history_and_future_do_not_mix),
                                       cmocka_unit_test(the_band_is_that_of_the_posterior),
                                       cmocka_unit_test(a_patient_is_the_same_in_every_batch),
                                       cmocka_unit_test(the_largest_excess_comes_first),
                                       cmocka_unit_test(contributions_are_what_removal_changes),
                                       cmocka_unit_test(recorded_codes_are_named),
                                       cmocka_unit_test(impossible_questions_are_refused),
                                       cmocka_unit_test(a_head_without_its_file_is_damage)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
