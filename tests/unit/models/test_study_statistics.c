/* Figures, intervals and differences of a study against what they are by definition, and the choice
 * of sizes on tasks whose answer is known. */
#include "check.h"

#include "base/portable_math.h"
#include "base/rng.h"
#include "metrics/rank.h"
#include "study_choice.h"

enum { N = 1500, SEEDS = 3, CELLS_MAX = 64, BOOTSTRAPS = 300 };

/* A study in memory: one task, patients of known risk, and cells that see it through noise. */
typedef struct made {
    study_results results;
    study_panel panel;
    study_cell cells[CELLS_MAX];
    study_measure measures[CELLS_MAX];
    double *score[2 * CELLS_MAX];
    uint8_t *label;
    double *eta;
} made;

static void made_new(made *m, size_t n, uint64_t seed)
{
    rz_rng rng;
    rz_rng_init(&rng, seed, 0);
    *m = (made){.results = {.design = {.n_tasks = 1,
                                       .n_sizes = 3,
                                       .n_labels = 1,
                                       .n_engines = 1,
                                       .tasks = {{.name = "ckd"}},
                                       .sizes = {"2.2m", "11m", "32m"},
                                       .engines = {"xgboost"}}}};
    m->panel.n = n;
    m->label = calloc(n, 1);
    m->eta = calloc(n, sizeof *m->eta);
    m->panel.truth = calloc(n, sizeof(double));
    m->panel.truth_known = true;
    double *age = calloc(n, sizeof *age);
    assert_true(m->label != NULL && m->eta != NULL && m->panel.truth != NULL && age != NULL);
    for (size_t i = 0; i < n; i++) {
        double years = rz_rng_normal(&rng);
        m->eta[i] = 0.6 * years + 1.3 * rz_rng_normal(&rng) - 2.2;
        m->label[i] = rz_rng_uniform(&rng) < rz_sigmoid(m->eta[i]);
        m->panel.truth[i] = rz_sigmoid(m->eta[i]);
        age[i] = rz_sigmoid(0.6 * years - 2);
    }
    m->panel.label = m->label;
    m->panel.measures = m->measures;
    m->panel.score = m->score;
    m->score[0] = age; /* the first column: age and sex, for every cell */
    m->panel.n_scores = 1;
    m->results.cells = m->cells;
    m->results.tuning = &m->panel;
}

static void made_done(made *m)
{
    for (size_t i = 0; i < m->panel.n_scores; i++)
        free(m->score[i]);
    free(m->label);
    free(m->eta);
    free(m->panel.truth);
}

/* Adds a cell whose scores are the true logit and noise; grain > 0 rounds to it, which ties. */
static void made_add(made *m, study_arm arm, uint64_t seed, double noise, double grain)
{
    size_t c = m->results.n_cells++;
    assert_true(c < CELLS_MAX);
    bool engine = arm.engine != STUDY_NONE;
    m->cells[c] = (study_cell){.name = "cell",
                               .kind = engine ? STUDY_BASELINE : STUDY_FINETUNE,
                               .size = arm.size,
                               .engine = arm.engine,
                               .init = arm.init,
                               .tasks = 1,
                               .n_tasks = 1,
                               .seed = seed,
                               .cpu_seconds = 10.0 * (arm.size + 2),
                               .parameters = 1e6 * (arm.size + 2),
                               .model = engine ? NULL : "models/the-model"};
    double *score = calloc(m->panel.n, sizeof *score);
    assert_non_null(score);
    rz_rng rng;
    rz_rng_init(&rng, 99, c);
    for (size_t i = 0; i < m->panel.n; i++) {
        double p = rz_sigmoid(m->eta[i] + noise * rz_rng_normal(&rng));
        score[i] = grain > 0.0 ? floor(p / grain) * grain : p;
    }
    m->score[m->panel.n_scores] = score;
    m->measures[m->panel.n_measures++] =
        (study_measure){.cell = c, .score = m->panel.n_scores++, .age_sex = 0};
}

static const study_arm small = {0, STUDY_NONE, STUDY_PRETRAINED},
                       middle = {1, STUDY_NONE, STUDY_PRETRAINED},
                       large = {2, STUDY_NONE, STUDY_PRETRAINED},
                       scratch = {0, STUDY_NONE, STUDY_SCRATCH},
                       onset = {0, STUDY_NONE, STUDY_ONSET}, trees = {STUDY_NONE, 0, STUDY_SCRATCH};

static const study_contrast *contrast(const study_statistics *s, study_contrast_kind kind,
                                      study_arm a, study_arm b)
{
    for (size_t i = 0; i < s->n_contrasts; i++) {
        const study_contrast *c = &s->contrasts[i];
        const study_arm x = s->groups[c->a].arm;
        if (c->kind != kind || x.size != a.size || x.init != a.init || x.engine != a.engine)
            continue;
        if (c->b == SIZE_MAX)
            return c;
        const study_arm y = s->groups[c->b].arm;
        if (y.size == b.size && y.init == b.init && y.engine == b.engine)
            return c;
    }
    return NULL;
}

/* ---- resamples ---- */

static void counts_are_expanded_patients(void **state)
{
    (void)state;
    enum { FEW = 300 };
    double score[FEW], expanded[FEW];
    uint8_t label[FEW], expanded_label[FEW];
    uint32_t count[FEW];
    rz_rng rng;
    rz_rng_init(&rng, 8, 0);
    for (int i = 0; i < FEW; i++) {
        score[i] = floor(rz_rng_uniform(&rng) * 25) / 25; /* many ties */
        label[i] = rz_rng_uniform(&rng) < 0.3 * score[i];
    }
    rz_ranked *ranked = rz_rank(score, label, FEW);
    assert_non_null(ranked);
    for (unsigned b = 0; b < 100; b++) {
        double auroc, precision;
        size_t n = 0;
        rz_resample(5, b, NULL, FEW, count);
        for (int i = 0; i < FEW; i++)
            for (uint32_t k = 0; k < count[i]; k++) {
                expanded[n] = score[i];
                expanded_label[n++] = label[i];
            }
        assert_int_equal(n, FEW);
        rz_rank_figures(ranked, FEW, count, &auroc, &precision);
        check_near(auroc, rz_auroc(expanded, expanded_label, n), 1e-14);
        check_near(precision, rz_average_precision(expanded, expanded_label, n), 1e-14);
    }
    free(ranked);
}

/* ---- groups and contrasts ---- */

static void figures_are_means_over_seeds(void **state)
{
    (void)state;
    rz_error error = {0};
    made m;
    study_statistics s;
    made_new(&m, N, 1);
    for (uint64_t seed = SEEDS; seed > 0; seed--) { /* the order of cells means nothing */
        made_add(&m, trees, seed, 2.5, 0);
        made_add(&m, small, seed, 1.0, 0.02);
        made_add(&m, scratch, seed, 3.0, 0);
        made_add(&m, onset, seed, 0.2, 0);
    }
    check_ok(study_statistics_compute(&m.results, &m.panel, BOOTSTRAPS, 3, NULL, NULL, &s, &error));
    assert_int_equal(s.n_groups, 4);
    const study_group *g = study_group_find(&s, 0, 0, small);
    assert_int_equal(g->n_seeds, SEEDS);
    double precision = 0.0, auroc = 0.0;
    for (size_t i = 0; i < SEEDS; i++) {
        assert_int_equal(m.cells[g->measure[i]->cell].seed, i + 1);
        precision += rz_average_precision(m.score[g->measure[i]->score], m.label, N) / SEEDS;
        auroc += rz_auroc(m.score[g->measure[i]->score], m.label, N) / SEEDS;
    }
    check_near(g->interval[STUDY_PRECISION].value, precision, 1e-14);
    check_near(g->interval[STUDY_AUROC].value, auroc, 1e-14);
    check_near(g->age_sex_interval[STUDY_PRECISION].value,
               rz_average_precision(m.score[0], m.label, N), 1e-14);
    assert_true(g->interval[STUDY_PRECISION].low < precision &&
                precision < g->interval[STUDY_PRECISION].high);
    check_near(s.truth[0][STUDY_PRECISION].value, rz_average_precision(m.panel.truth, m.label, N),
               1e-14);

    /* noise 1 against 2.5, 3, age alone, and the truth: all clear, and of the right size */
    const study_contrast *c = contrast(&s, STUDY_OVER_ENGINE, small, trees);
    assert_non_null(c);
    check_near(c->interval[STUDY_PRECISION].value,
               precision - study_group_find(&s, 0, 0, trees)->interval[STUDY_PRECISION].value,
               1e-14);
    assert_true(c->interval[STUDY_PRECISION].low > 0.0);
    c = contrast(&s, STUDY_PRETRAINING, small, scratch);
    assert_true(c != NULL && c->interval[STUDY_PRECISION].low > 0.0);
    c = contrast(&s, STUDY_OVER_AGE_SEX, small, small);
    assert_true(c != NULL && c->interval[STUDY_AUROC].low > 0.0);
    c = contrast(&s, STUDY_BELOW_TRUTH, small, small);
    assert_true(c != NULL && c->interval[STUDY_PRECISION].high < 0.0);
    c = contrast(&s, STUDY_SHARE_OF_TRUTH, small, small);
    check_near(c->interval[STUDY_PRECISION].value, precision / s.truth[0][STUDY_PRECISION].value,
               1e-14);
    c = contrast(&s, STUDY_ONSETS, onset, small);
    assert_true(c != NULL && c->interval[STUDY_PRECISION].low > 0.0);
    /* once, in one direction, and all onsets against their own size's tasks only */
    assert_null(contrast(&s, STUDY_PRETRAINING, scratch, small));
    assert_null(contrast(&s, STUDY_PRETRAINING, small, onset));
    assert_null(contrast(&s, STUDY_ONSETS, scratch, small));
    assert_null(contrast(&s, STUDY_ONSETS, onset, scratch));
    study_statistics_done(&s);
    made_done(&m);
}

/* The interval of one cell is the plain patient bootstrap of metrics.h, resample by resample. */
static void one_seed_is_the_patient_bootstrap(void **state)
{
    (void)state;
    rz_error error = {0};
    made m;
    study_statistics s;
    rz_metrics whole;
    rz_interval auroc, precision;
    made_new(&m, 600, 2);
    made_add(&m, small, 1, 1.0, 0);
    made_add(&m, large, 1, 0.5, 0);
    check_ok(study_statistics_compute(&m.results, &m.panel, BOOTSTRAPS, 3, NULL, NULL, &s, &error));
    check_ok(rz_metrics_compute(m.score[1], m.label, NULL, 600, BOOTSTRAPS, 3, &whole, &error));
    const study_group *g = study_group_find(&s, 0, 0, small);
    check_near(g->interval[STUDY_PRECISION].low, whole.average_precision.low, 1e-14);
    check_near(g->interval[STUDY_PRECISION].high, whole.average_precision.high, 1e-14);
    check_near(g->interval[STUDY_AUROC].low, whole.auroc.low, 1e-14);
    check_ok(rz_metrics_compare(m.score[2], m.score[1], m.label, NULL, 600, BOOTSTRAPS, 3, &auroc,
                                &precision, &error));
    const study_contrast *c = contrast(&s, STUDY_SIZES, large, small);
    check_near(c->interval[STUDY_PRECISION].low, precision.low, 1e-14);
    check_near(c->interval[STUDY_AUROC].high, auroc.high, 1e-14);
    study_statistics_done(&s);
    made_done(&m);
}

static void seeds_are_resampled_and_paired(void **state)
{
    (void)state;
    rz_error error = {0};
    made m;
    study_statistics s;
    made_new(&m, N, 3);
    /* Seeds that differ wildly, and another size with the very same scores at each seed. */
    for (uint64_t seed = 1; seed <= SEEDS; seed++)
        made_add(&m, small, seed, seed == 2 ? 8.0 : 0.2, 0);
    for (size_t seed = 1; seed <= SEEDS; seed++) {
        made_add(&m, middle, seed, 0, 0);
        memcpy(m.score[m.panel.n_scores - 1], m.score[seed], N * sizeof(double));
    }
    made_add(&m, scratch, 1, 0.2, 0); /* one seed like the good ones */
    check_ok(study_statistics_compute(&m.results, &m.panel, BOOTSTRAPS, 3, NULL, NULL, &s, &error));
    const study_contrast *c = contrast(&s, STUDY_SIZES, middle, small);
    check_near(c->interval[STUDY_PRECISION].value, 0, 1e-15);
    check_near(c->interval[STUDY_PRECISION].low, 0, 1e-15); /* the same seeds in each resample */
    check_near(c->interval[STUDY_PRECISION].high, 0, 1e-15);
    const rz_interval *wide = &study_group_find(&s, 0, 0, small)->interval[STUDY_PRECISION];
    const rz_interval *narrow = &study_group_find(&s, 0, 0, scratch)->interval[STUDY_PRECISION];
    assert_true(wide->high - wide->low > 1.8 * (narrow->high - narrow->low));
    study_statistics_done(&s);
    made_done(&m);
}

static void threads_change_nothing(void **state)
{
    (void)state;
    rz_error error = {0};
    made m;
    study_statistics one, three;
    rz_pool *pool = NULL;
    made_new(&m, N, 4);
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        made_add(&m, small, seed, 1.0, 0);
        made_add(&m, large, seed, 0.7, 0.01);
    }
    check_ok(rz_pool_new(3, &pool, &error));
    check_ok(study_statistics_compute(&m.results, &m.panel, 101, 3, NULL, NULL, &one, &error));
    check_ok(study_statistics_compute(&m.results, &m.panel, 101, 3, pool, NULL, &three, &error));
    for (size_t i = 0; i < one.n_groups; i++)
        for (int f = 0; f < STUDY_FIGURES; f++)
            assert_memory_equal(one.groups[i].figure[f].resampled,
                                three.groups[i].figure[f].resampled, 101 * sizeof(double));
    study_statistics_done(&one);
    study_statistics_done(&three);
    rz_pool_free(pool);
    made_done(&m);
}

static bool stop_at_once(void *context, const rz_progress_report *report)
{
    (void)context;
    (void)report;
    return false;
}

static void what_does_not_exist_is_nan(void **state)
{
    (void)state;
    rz_error error = {0};
    made m;
    study_statistics s;
    study_choice choice;
    char why[STUDY_WHY];
    made_new(&m, 200, 5);
    memset(m.label, 0, 200);
    made_add(&m, small, 1, 1.0, 0);
    check_ok(study_statistics_compute(&m.results, &m.panel, 50, 3, NULL, NULL, &s, &error));
    assert_true(isnan(s.groups[0].interval[STUDY_PRECISION].value));
    assert_true(isnan(s.groups[0].interval[STUDY_PRECISION].low));
    check_ok(study_choose(&m.results, &s, 0, 0, 0.05, STUDY_PREFER_COST, &choice, &error));
    assert_int_equal(choice.chosen, STUDY_NONE);
    assert_string_equal(study_choice_why(&m.results, &choice, why),
                        "no size of this task could be measured");
    study_statistics_done(&s);
    const rz_progress stopped = {.fn = stop_at_once};
    check_fails(study_statistics_compute(&m.results, &m.panel, 50, 3, NULL, &stopped, &s, &error),
                RZ_E_CANCELED, "ckd");
    made_done(&m);
}

/* How often the interval of a figure holds the figure of all patients there are. */
static void intervals_cover(void **state)
{
    (void)state;
    enum { ROUNDS = 120, PATIENTS = 500, EVERYONE = 200000 };
    rz_error error = {0};
    made m;
    made_new(&m, EVERYONE, 6);
    made_add(&m, small, 1, 1.0, 0);
    double wanted = rz_average_precision(m.score[1], m.label, EVERYONE);
    made_done(&m);
    int held = 0;
    for (uint64_t round = 0; round < ROUNDS; round++) {
        study_statistics s;
        made_new(&m, PATIENTS, 100 + round);
        made_add(&m, small, 1, 1.0, 0);
        check_ok(
            study_statistics_compute(&m.results, &m.panel, 200, round, NULL, NULL, &s, &error));
        const rz_interval *i = &s.groups[0].interval[STUDY_PRECISION];
        held += i->low <= wanted && wanted <= i->high;
        study_statistics_done(&s);
        made_done(&m);
    }
    if (held < ROUNDS * 88 / 100 || held > ROUNDS * 99 / 100)
        fail_msg("%d of %d intervals hold %g", held, ROUNDS, wanted);
}

/* ---- the choice ---- */

static void choose(made *m, study_prefer prefer, study_choice *out, study_statistics *s)
{
    rz_error error = {0};
    check_ok(
        study_statistics_compute(&m->results, &m->panel, BOOTSTRAPS, 3, NULL, NULL, s, &error));
    check_ok(study_choose(&m->results, s, 0, 0, 0.05, prefer, out, &error));
}

static void a_saturating_task_takes_the_middle_size(void **state)
{
    (void)state;
    made m;
    study_statistics s;
    study_choice c;
    char why[STUDY_WHY];
    made_new(&m, 3000, 7);
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        made_add(&m, small, seed, 2.5, 0);
        made_add(&m, middle, seed, 0.42, 0);
        made_add(&m, large, seed, 0.38, 0);
    }
    choose(&m, STUDY_PREFER_COST, &c, &s);
    assert_int_equal(c.n_sizes, 3);
    assert_int_equal(c.saturated, 1);
    assert_int_equal(c.chosen, 1);
    assert_int_equal(c.best, 2);
    assert_false(c.sizes[0].within);
    assert_true(c.sizes[1].within && c.sizes[2].within);
    assert_true(c.sizes[1].lower_bound > c.sizes[1].below_best.low);
    assert_true(c.sizes[1].lower_bound < c.sizes[1].below_best.value);
    check_near(c.sizes[2].below_best.value, 0, 0);
    check_near(study_choice_parameters_saved(&c), 0.25, 1e-12);
    assert_non_null(
        strstr(study_choice_why(&m.results, &c, why), "11m is the smallest of 3 sizes"));
    assert_non_null(strstr(why, "25 % fewer parameters than 32m"));
    assert_string_equal(study_choice_model(&m.results, &c), "the-model");
    study_statistics_done(&s);
    choose(&m, STUDY_PREFER_ACCURACY, &c, &s);
    assert_int_equal(c.chosen, 2);
    assert_int_equal(c.saturated, 1);
    assert_non_null(strstr(study_choice_why(&m.results, &c, why), "32m has the highest"));
    study_statistics_done(&s);
    made_done(&m);
}

static void a_growing_task_takes_the_largest(void **state)
{
    (void)state;
    made m;
    study_statistics s;
    study_choice c;
    made_new(&m, 3000, 8);
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        made_add(&m, small, seed, 2.5, 0);
        made_add(&m, middle, seed, 1.3, 0);
        made_add(&m, large, seed, 0.2, 0);
    }
    choose(&m, STUDY_PREFER_COST, &c, &s);
    assert_int_equal(c.saturated, 2);
    assert_int_equal(c.chosen, 2);
    check_near(study_choice_parameters_saved(&c), 0, 0);
    study_statistics_done(&s);
    made_done(&m);
}

/* The seed that answers is the best one on tuning among those whose folder was kept. */
static void only_a_kept_model_answers(void **state)
{
    (void)state;
    made m;
    study_statistics s;
    study_choice c;
    made_new(&m, N, 9);
    made_add(&m, small, 1, 0.2, 0);
    made_add(&m, small, 2, 2.5, 0);
    made_add(&m, small, 3, 1.5, 0);
    m.cells[0].model = NULL;
    m.cells[2].model = "models/third";
    choose(&m, STUDY_PREFER_COST, &c, &s);
    assert_string_equal(study_choice_model(&m.results, &c), "third");
    study_statistics_done(&s);
    m.cells[1].model = m.cells[2].model = NULL;
    choose(&m, STUDY_PREFER_COST, &c, &s);
    assert_null(study_choice_model(&m.results, &c));
    json_t *routing = study_routing_json(&m.results, &c, 1);
    assert_int_equal(json_object_size(json_object_get(routing, "tasks")), 0);
    json_decref(routing);
    study_statistics_done(&s);
    made_done(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(counts_are_expanded_patients),
                                       cmocka_unit_test(figures_are_means_over_seeds),
                                       cmocka_unit_test(one_seed_is_the_patient_bootstrap),
                                       cmocka_unit_test(seeds_are_resampled_and_paired),
                                       cmocka_unit_test(threads_change_nothing),
                                       cmocka_unit_test(what_does_not_exist_is_nan),
                                       cmocka_unit_test(intervals_cover),
                                       cmocka_unit_test(a_saturating_task_takes_the_middle_size),
                                       cmocka_unit_test(a_growing_task_takes_the_largest),
                                       cmocka_unit_test(only_a_kept_model_answers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
