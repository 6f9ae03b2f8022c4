/* The encoder outside of its numbers (tests/golden has those): sizes, tokens of a history, what
 * pretraining hides, equal bytes in any batch. */
#include "encoder_example.h"

static void sizes_have_the_counts_of_the_design(void **state)
{
    (void)state;
    static const struct {
        const char *size;
        size_t count;
    } wanted[] = {{"2.2m", 2190731},
                  {"4.7m", 4657803},
                  {"11m", 11361419},
                  {"32m", 31846539},
                  {"101m", 101128331}};
    rz_error error = {0};
    const rz_family *family = rz_family_find("encoder");
    assert_null(rz_family_find("decoder"));
    for (size_t i = 0; i < RZ_COUNT(wanted); i++) {
        rz_config config;
        rz_tensor_spec specs[128];
        size_t n, count = 0;
        check_ok(family->config_for_size(wanted[i].size, &config, &error));
        config.n_diagnoses = config.n_medications = 965;
        check_ok(family->tensor_table(&config, specs, RZ_COUNT(specs), &n, &error));
        for (size_t t = 0; t < n; t++)
            count += specs[t].count;
        if (count != wanted[i].count)
            fail_msg("%s has %zu parameters, wanted %zu", wanted[i].size, count, wanted[i].count);
    }
    rz_config config;
    check_fails(family->config_for_size("3m", &config, &error), RZ_E_INVALID, "2.2m, 4.7m");
}

static void configurations_go_to_json_and_back(void **state)
{
    (void)state;
    rz_error error = {0};
    const rz_family *family = rz_family_find("encoder");
    rz_config config = small_config(RZ_NORM_PRE, RZ_POOLING_MEAN, RZ_MASKING_CODE), back;
    config.onset = config.recency = true;
    json_t *json = family->config_write(&config);
    assert_non_null(json);
    check_ok(family->config_parse(json, &back, &error));
    assert_memory_equal(&back, &config, sizeof config);
    static const struct {
        const char *key, *value, *words;
    } bad[] = {{"hidden", "0", "hidden"},
               {"hidden", "40", "hidden"},
               {"hidden", "1e3", "hidden"},
               {"heads", "5", "multiple of heads"},
               {"layers", "1000", "layers"},
               {"norm", "\"sandwich\"", "norm"},
               {"pooling", "7", "pooling"},
               {"dropout", "1.5", "dropout"},
               {"dropout", "\"no\"", "dropout"},
               {"mask_share", "0.95", "mask_share"},
               {"mask_share", "\"no\"", "mask_share"},
               {"context", "2", "context"},
               {"onset", "1", "onset"},
               {"recency", "\"no\"", "recency must be true"},
               {"size", "\"a name that is too long\"", "size"}};
    for (size_t i = 0; i < RZ_COUNT(bad); i++) {
        json_t *copy = json_copy(json);
        (void)json_object_set_new(copy, bad[i].key,
                                  json_loads(bad[i].value, JSON_DECODE_ANY, NULL));
        check_fails(family->config_parse(copy, &back, &error), RZ_E_INVALID, bad[i].words);
        json_decref(copy);
    }
    json_decref(json);
}

static void a_model_is_its_seed(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_config config = small_config(RZ_NORM_POST, RZ_POOLING_CLS, RZ_MASKING_TOKEN);
    rz_pool *pool = NULL;
    check_ok(rz_pool_new(3, &pool, &error));
    rz_model *one = make_model(&config, 20, 2, NULL), *two = make_model(&config, 20, 2, pool);
    assert_int_equal(one->n_parameters, two->n_parameters);
    assert_memory_equal(one->parameters, two->parameters, one->n_parameters * sizeof(float));
    double squares = 0.0;
    const rz_tensor_spec *codes = rz_model_tensor(one, "embedding.code.weight");
    for (size_t i = 0; i < codes->count; i++)
        squares += (double)one->parameters[i] * (double)one->parameters[i];
    check_near(sqrt(squares / (double)codes->count), 0.3, 0.03);
    assert_true(
        one->parameters[rz_model_tensor(one, "layers.1.feed_forward.norm.weight")->offset] == 1.0f);
    assert_null(rz_model_tensor(one, "layers.2.feed_forward.norm.weight"));

    static const char *const other[] = {"three"}, *const twice[] = {"a", "a"},
                             *const empty[] = {""};
    rz_model *three = NULL;
    one->parameters[7] = 42.0f;
    check_ok(rz_model_with_heads(one, other, 1, false, 9, &three, &error));
    assert_true(three->parameters[7] == 42.0f && three->n_head_tensors == 2);
    assert_non_null(rz_model_tensor(three, "heads.three.weight"));
    assert_null(rz_model_tensor(three, "heads.one.weight"));
    rz_model_free(three);
    check_fails(rz_model_with_heads(one, twice, 2, false, 1, &three, &error), RZ_E_INVALID,
                "named a");
    check_fails(rz_model_with_heads(one, empty, 1, false, 1, &three, &error), RZ_E_INVALID,
                "head name");
    rz_config foreign = config;
    (void)strcpy(foreign.family, "abacus");
    check_fails(rz_model_new(&foreign, one->vocabulary, other, 1, 1, NULL, &three, &error),
                RZ_E_INVALID, "abacus");
    rz_model_free(one);
    rz_model_free(two);
    rz_pool_free(pool);
}

static rz_timeline_event event(int32_t day, int32_t known, rz_kind kind, const char *code)
{
    return (rz_timeline_event){.day = day,
                               .known_day = known,
                               .kind = (uint8_t)kind,
                               .system = RZ_SYSTEM_LOCAL,
                               .value = NAN,
                               .code = code};
}

/* With repeat_days a refill is left out, until so many days have gone by since it was kept. */
static void refills_may_be_left_out(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_config config = small_config(RZ_NORM_POST, RZ_POOLING_CLS, RZ_MASKING_TOKEN);
    config.repeat_days = 90;
    rz_model *model = make_model(&config, 20, 1, NULL);
    const rz_timeline_event events[] = {event(1000, 1000, RZ_KIND_DIAGNOSIS, "D000003"),
                                        event(1000, 1000, RZ_KIND_DIAGNOSIS, "D000004"),
                                        event(1030, 1030, RZ_KIND_DIAGNOSIS, "D000003"),
                                        event(1089, 1089, RZ_KIND_DIAGNOSIS, "D000003"),
                                        event(1090, 1090, RZ_KIND_DIAGNOSIS, "D000003")};
    for (int known = 0; known < 2; known++) {
        const rz_timeline timeline = {
            .birth_day = known ? 0 : RZ_DAY_NONE, .n_events = 5, .events = events};
        const rz_timeline *timelines[] = {&timeline};
        const int32_t as_of = 1100;
        rz_batch batch = {0};
        check_ok(model->family->batch_build(model, timelines, &as_of, 1, &batch, &error));
        assert_int_equal(batch.n_tokens, 2 + 3);
        assert_int_equal(batch.tokens[2], batch.tokens[4]);
        assert_true(batch.age_days[4] == (known ? 1090.0f : 0.0f));
        rz_batch_done(&batch);
    }
    rz_model_free(model);
}

static void histories_become_tokens(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_config config = small_config(RZ_NORM_POST, RZ_POOLING_CLS, RZ_MASKING_TOKEN);
    config.context = 6;
    rz_model *model = make_model(&config, 20, 1, NULL);
    const rz_timeline_event events[] = {
        event(1000, 1010, RZ_KIND_DIAGNOSIS, "D000003"),
        event(1000, 1010, RZ_KIND_LAB, "X"),
        event(1030, 1040, RZ_KIND_DIAGNOSIS, "D999999"),
        event(1060, 1070, RZ_KIND_MEDICATION, "M000012"),
        event(1065, 2000, RZ_KIND_DIAGNOSIS, "D000001"), /* written late */
        event(1070, 1070, RZ_KIND_MEDICATION, "M000019"),
        event(1080, 1080, RZ_KIND_DIAGNOSIS, "D000000")};
    rz_timeline known = {.sex = RZ_SEX_FEMALE, .birth_day = 900, .n_events = 7, .events = events};
    rz_timeline unknown = {
        .sex = RZ_SEX_UNKNOWN, .birth_day = RZ_DAY_NONE, .n_events = 1, .events = events};
    rz_timeline unborn = {.sex = RZ_SEX_MALE, .birth_day = 1020, .n_events = 1, .events = events};
    const rz_timeline *timelines[] = {&known, &unknown, &known, &unborn};
    const int32_t as_of[] = {1079, 1079, 1090, 1021};
    rz_batch b = {0};
    check_ok(model->family->batch_build(model, timelines, as_of, 4, &b, &error));
    const int32_t tokens[] = {RZ_TOKEN_CLS,
                              RZ_TOKEN_SEX_FEMALE,
                              8 + 3,
                              RZ_TOKEN_UNKNOWN_DIAGNOSIS,
                              8 + 12,
                              8 + 19,
                              RZ_TOKEN_CLS,
                              RZ_TOKEN_SEX_UNKNOWN,
                              8 + 3,
                              RZ_TOKEN_CLS,
                              RZ_TOKEN_SEX_FEMALE,
                              RZ_TOKEN_UNKNOWN_DIAGNOSIS,
                              8 + 12,
                              8 + 19,
                              8 + 0,
                              RZ_TOKEN_CLS,
                              RZ_TOKEN_SEX_MALE,
                              8 + 3};
    const float ages[] = {179, 179, 100, 130, 160, 170, 0, 0, 0,
                          190, 190, 130, 160, 170, 180, 1, 1, 0};
    const float before[] = {0, 0, 79, 49, 19, 9, 0, 0, 79, 0, 0, 60, 30, 20, 10, 0, 0, 21};
    const uint32_t offsets[] = {0, 6, 9, 15, 18}, unmapped[] = {1, 0, 1, 0},
                   left_out[] = {0, 0, 1, 0};
    assert_int_equal(b.n_tokens, 18);
    assert_memory_equal(b.offsets, offsets, sizeof offsets);
    assert_memory_equal(b.tokens, tokens, sizeof tokens);
    assert_memory_equal(b.age_days, ages, sizeof ages);
    assert_memory_equal(b.days_before, before, sizeof before);
    assert_memory_equal(b.unmapped, unmapped, sizeof unmapped);
    assert_memory_equal(b.left_out, left_out, sizeof left_out);
    for (size_t i = 0; i < 18; i++)
        assert_int_equal(b.age_hidden[i], i >= 6 && i < 9);
    rz_batch_done(&b);
    rz_model_free(model);
}

typedef struct hidden_counts {
    size_t codes, asked, masked, replaced, kept, ages, firsts, timelines;
} hidden_counts;

/* Masks many timelines and checks each target against the batch before; counts what happened. */
static hidden_counts mask_many(const rz_model *model)
{
    enum { SEQS = 400 };
    rz_error error = {0};
    rz_batch before = {0}, after = {0};
    rz_targets t = {0};
    static size_t lengths[SEQS];
    hidden_counts c = {.timelines = SEQS};
    for (size_t i = 0; i < SEQS; i++)
        lengths[i] = 60;
    make_batch(model, lengths, SEQS, &before);
    make_batch(model, lengths, SEQS, &after);
    check_ok(model->family->pretrain_targets(model, &after, 5, 6, &t, &error));
    for (size_t i = 0; i < before.n_tokens; i++)
        c.codes += before.tokens[i] >= RZ_TOKEN_SPECIALS;
    for (int kind = 0; kind < 2; kind++) {
        const uint32_t *positions = kind == 0 ? t.diagnosis_positions : t.medication_positions;
        const int32_t *labels = kind == 0 ? t.diagnosis_labels : t.medication_labels;
        size_t n = kind == 0 ? t.n_diagnoses : t.n_medications;
        int32_t first = RZ_TOKEN_SPECIALS + (kind == 0 ? 0 : model->config.n_diagnoses);
        int32_t count = kind == 0 ? model->config.n_diagnoses : model->config.n_medications;
        for (size_t i = 0; i < n; i++) {
            int32_t now = after.tokens[positions[i]], old = before.tokens[positions[i]];
            assert_int_equal(labels[i], old - first);
            assert_true(i == 0 || positions[i] > positions[i - 1]);
            assert_true(now == RZ_TOKEN_MASK || (now >= first && now < first + count));
            c.asked++;
            c.masked += now == RZ_TOKEN_MASK;
            c.kept += now == old;
            c.replaced += now != RZ_TOKEN_MASK && now != old;
        }
    }
    size_t asked = 0, hidden = 0;
    for (size_t i = 0; i < t.n_ages; i++) {
        uint32_t at = t.age_positions[i];
        assert_true(after.age_hidden[at] == 1 && (i == 0 || at > t.age_positions[i - 1]));
        check_near(t.age_values[i], (double)before.age_days[at] / 36525.0, 1e-6);
        bool first = before.tokens[at] == RZ_TOKEN_CLS;
        assert_true(!first || after.age_hidden[at + 1] == 1);
        c.firsts += first;
        c.ages += !first;
    }
    for (size_t i = 0; i < before.n_tokens; i++) {
        asked += after.tokens[i] != before.tokens[i];
        hidden += after.age_hidden[i];
    }
    assert_int_equal(asked, c.masked + c.replaced);
    assert_int_equal(hidden, c.ages + 2 * c.firsts);
    rz_batch_done(&before);
    rz_batch_done(&after);
    rz_targets_done(&t);
    return c;
}

static void pretraining_hides_its_share(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        rz_masking masking = i % 2 == 0 ? RZ_MASKING_TOKEN : RZ_MASKING_CODE;
        rz_config config = small_config(RZ_NORM_POST, RZ_POOLING_CLS, masking);
        config.mask_share = i < 2 ? 0.15f : 0.4f;
        rz_model *model = make_model(&config, 1000, 1, NULL);
        hidden_counts c = mask_many(model);
        double asked = (double)c.asked;
        check_near(asked / (double)c.codes, (double)config.mask_share, i < 2 ? 0.01 : 0.02);
        check_near((double)c.masked / asked, 0.80, 0.03);
        check_near((double)c.replaced / asked, 0.10, 0.02);
        check_near((double)c.kept / asked, 0.10, 0.02);
        check_near((double)c.ages / asked, 0.50, 0.03);
        check_near((double)c.firsts / (double)c.timelines, 0.15, 0.06);
        rz_model_free(model);
    }
}

/* By code: of a code, every occurrence in a timeline is asked or none. And short timelines always
 * ask for something, those without codes for nothing. */
static void codes_hide_whole_and_something_is_asked(void **state)
{
    (void)state;
    rz_error error = {0};
    for (rz_masking masking = RZ_MASKING_TOKEN; masking <= RZ_MASKING_CODE; masking++) {
        rz_config config = small_config(RZ_NORM_POST, RZ_POOLING_CLS, masking);
        rz_model *model = make_model(&config, 12, 1, NULL);
        static const size_t lengths[] = {2, 3, 4, 3, 80, 60, 3, 2, 5};
        rz_batch before = {0}, after = {0};
        rz_targets t = {0};
        make_batch(model, lengths, RZ_COUNT(lengths), &before);
        for (uint64_t stream = 0; stream < 20; stream++) {
            uint8_t asked[256] = {0};
            make_batch(model, lengths, RZ_COUNT(lengths), &after);
            check_ok(model->family->pretrain_targets(model, &after, 5, stream, &t, &error));
            for (size_t i = 0; i < t.n_diagnoses; i++)
                asked[t.diagnosis_positions[i]] = 1;
            for (size_t i = 0; i < t.n_medications; i++)
                asked[t.medication_positions[i]] = 1;
            for (size_t s = 0; s < RZ_COUNT(lengths); s++) {
                size_t n = 0, first = before.offsets[s], last = before.offsets[s + 1];
                for (size_t i = first; i < last; i++) {
                    n += asked[i];
                    for (size_t j = first; masking == RZ_MASKING_CODE && j < last; j++)
                        if (before.tokens[i] == before.tokens[j])
                            assert_int_equal(asked[i], asked[j]);
                }
                assert_true(lengths[s] == 2 ? n == 0 : n > 0);
            }
        }
        rz_batch_done(&before);
        rz_batch_done(&after);
        rz_targets_done(&t);
        rz_model_free(model);
    }
}

static void outputs(const rz_model *model, const rz_batch *batch, float *pooled, float *logits)
{
    rz_error error = {0};
    rz_scratch *scratch = NULL;
    rz_outputs out;
    check_ok(model->family->scratch_new(model, &scratch, &error));
    check_ok(model->family->forward(model, batch, &out, scratch, &error));
    memcpy(pooled, out.pooled, batch->n_seqs * (size_t)model->config.hidden * sizeof *pooled);
    memcpy(logits, out.logits, batch->n_seqs * model->n_heads * sizeof *logits);
    model->family->scratch_free(scratch);
}

/* Timeline i of a batch as a batch of its own; `alone` has room for it. */
static void take_alone(const rz_batch *batch, size_t i, rz_batch *alone)
{
    size_t first = batch->offsets[i], n = batch->offsets[i + 1] - first;
    alone->n_seqs = 1;
    alone->n_tokens = alone->offsets[1] = (uint32_t)n;
    alone->offsets[0] = 0;
    memcpy(alone->tokens, batch->tokens + first, n * sizeof *batch->tokens);
    memcpy(alone->age_days, batch->age_days + first, n * sizeof *batch->age_days);
    memcpy(alone->age_hidden, batch->age_hidden + first, n);
    memcpy(alone->days_before, batch->days_before + first, n * sizeof *batch->days_before);
}

static void check_same_alone(const rz_config *config)
{
    enum { N = RZ_COUNT(mixed) };
    rz_error error = {0};
    rz_pool *pool = NULL;
    check_ok(rz_pool_new(3, &pool, &error));
    rz_model *model = make_model(config, 40, 2, NULL);
    size_t h = (size_t)config->hidden;
    float *pooled = calloc(2 * N * h, sizeof *pooled), logits[2 * N * 2];
    rz_batch batch = {0}, alone = {0};
    make_batch(model, mixed, N, &batch);
    outputs(model, &batch, pooled, logits);
    model->pool = pool;
    outputs(model, &batch, pooled + N * h, logits + N * 2);
    assert_memory_equal(pooled, pooled + N * h, N * h * sizeof *pooled);
    assert_memory_equal(logits, logits + N * 2, N * 2 * sizeof *logits);
    check_ok(rz_batch_reserve(&alone, 1, 512, &error));
    for (size_t i = 0; i < N; i++) {
        take_alone(&batch, i, &alone);
        outputs(model, &alone, pooled + N * h, logits + N * 2);
        assert_memory_equal(pooled + i * h, pooled + N * h, h * sizeof *pooled);
        assert_memory_equal(logits + i * 2, logits + N * 2, 2 * sizeof *logits);
    }
    rz_batch_done(&batch);
    rz_batch_done(&alone);
    rz_model_free(model);
    rz_pool_free(pool);
    free(pooled);
}

static void a_patient_is_the_same_in_every_batch(void **state)
{
    (void)state;
    rz_error error = {0};
    for (rz_norm norm = RZ_NORM_POST; norm <= RZ_NORM_PRE; norm++)
        for (rz_pooling pooling = RZ_POOLING_CLS; pooling <= RZ_POOLING_MEAN; pooling++) {
            rz_config config = small_config(norm, pooling, RZ_MASKING_TOKEN);
            config.recency = pooling == RZ_POOLING_MEAN;
            check_same_alone(&config);
        }
    rz_config real;
    check_ok(rz_family_find("encoder")->config_for_size("2.2m", &real, &error));
    real.layers = 2; /* width matters here, depth is tested above */
    check_same_alone(&real);
}

/* Lower precisions change the scores a little, and nothing else: not with the batch, not without
 * sense. */
static void precisions_are_close_and_independent_of_the_batch(void **state)
{
    (void)state;
    rz_error error = {0};
    static const double near[RZ_PRECISION_COUNT] = {0.0, 0.03, 0.06};
    float whole[RZ_COUNT(mixed) * 2];
    for (rz_precision p = RZ_FLOAT32; p < RZ_PRECISION_COUNT; p++) {
        rz_config config = small_config(RZ_NORM_PRE, RZ_POOLING_MEAN, RZ_MASKING_TOKEN);
        rz_model *model = make_model(&config, 40, 2, NULL);
        rz_batch batch = {0}, alone = {0};
        rz_scratch *scratch;
        rz_outputs out;
        model->precision = p;
        make_batch(model, mixed, RZ_COUNT(mixed), &batch);
        check_ok(model->family->scratch_new(model, &scratch, &error));
        check_ok(model->family->forward(model, &batch, &out, scratch, &error));
        float scores[RZ_COUNT(mixed) * 2];
        memcpy(scores, out.logits, sizeof scores);
        if (p == RZ_FLOAT32)
            memcpy(whole, scores, sizeof whole);
        double worst = 0.0, largest = 0.0;
        for (size_t i = 0; i < RZ_COUNT(scores); i++) {
            worst = fmax(worst, fabs((double)scores[i] - (double)whole[i]));
            largest = fmax(largest, fabs((double)whole[i]));
        }
        check_near(worst / largest, 0.0, near[p]);
        assert_true(p == RZ_FLOAT32 || worst > 0.0);
        check_ok(rz_batch_reserve(&alone, 1, 512, &error));
        take_alone(&batch, 1, &alone);
        check_ok(model->family->forward(model, &alone, &out, scratch, &error));
        assert_memory_equal(out.logits, scores + 2, 2 * sizeof *scores);
        model->family->scratch_free(scratch);
        rz_batch_done(&batch);
        rz_batch_done(&alone);
        rz_model_free(model);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_have_the_counts_of_the_design),
        cmocka_unit_test(configurations_go_to_json_and_back),
        cmocka_unit_test(a_model_is_its_seed),
        cmocka_unit_test(histories_become_tokens),
        cmocka_unit_test(refills_may_be_left_out),
        cmocka_unit_test(pretraining_hides_its_share),
        cmocka_unit_test(codes_hide_whole_and_something_is_asked),
        cmocka_unit_test(a_patient_is_the_same_in_every_batch),
        cmocka_unit_test(precisions_are_close_and_independent_of_the_batch)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
