/* Every chart with ordinary data and with what it cannot draw. With REZEPT_CHARTS_OUT set to a
 * folder the pictures are kept there, for looking at them. */
#include "markup.h"

#include "base/file.h"
#include "base/portable_math.h"
#include "base/rng.h"
#include "base/size.h"
#include "report/chart_intervals.h"
#include "report/charts.h"

enum { N = 2000 };

static double truth[N], model[N], plain[N];
static uint8_t label[N];

static int make_data(void **state)
{
    (void)state;
    rz_rng rng;
    rz_rng_init(&rng, 3, 0);
    for (int i = 0; i < N; i++) {
        double age = rz_rng_normal(&rng), rest = rz_rng_normal(&rng);
        truth[i] = rz_sigmoid(0.7 * age + 1.1 * rest - 2.8);
        model[i] = rz_sigmoid(0.7 * age + 0.9 * rest - 2.7 + 0.3 * rz_rng_normal(&rng));
        plain[i] = rz_sigmoid(0.7 * age - 2.4);
        label[i] = rz_rng_uniform(&rng) < truth[i];
    }
    return 0;
}

static void check_picture(rz_buffer *out, const char *name, const char *words)
{
    rz_error error = {0};
    check_markup(out->data);
    if (strstr(out->data, words) == NULL)
        fail_msg("%s: no \"%s\" in it", name, words);
    assert_null(strstr(out->data, "nan"));
    const char *folder = getenv("REZEPT_CHARTS_OUT");
    if (folder != NULL) {
        char path[512];
        (void)snprintf(path, sizeof path, "%s/%s.svg", folder, name);
        check_ok(rz_file_write(path, out->data, out->length, &error));
    }
    rz_buffer_clear(out);
}

static void curves(void **state)
{
    (void)state;
    rz_error error = {0};
    static double step[N], loss[N], tuning[N];
    rz_rng rng;
    rz_buffer out;
    rz_rng_init(&rng, 4, 0);
    rz_buffer_init(&out, 4 << 20);
    for (int i = 0; i < N; i++) {
        step[i] = i + 1;
        loss[i] = 4 + 4 * exp(-i / 200.0) + 0.4 * rz_rng_normal(&rng);
        tuning[i] = i % 100 == 99 ? 4.2 + 4 * exp(-i / 200.0) : NAN;
    }
    const rz_series series[] = {{"training", step, loss, N}, {"tuning split", step, tuning, N}};
    check_ok(rz_chart_curves("Pretraining loss", "step", "loss (nats a token)", series, 2, &out,
                             &error));
    assert_true(out.length < 40000); /* thinned */
    check_picture(&out, "curves", "tuning split");
    for (int i = 0; i < N; i++)
        loss[i] = 1000 * exp(-i / 150.0) + 0.01;
    check_ok(rz_chart_curves("Loss over decades", "step", "loss", series, 1, &out, &error));
    check_picture(&out, "curves-log", "training");
    const rz_series one = {"a", step, loss, 1}, none = {"b", step, loss, 0};
    check_ok(rz_chart_curves("One <row>", "step", "loss", &one, 1, &out, &error));
    check_picture(&out, "curves-one", "&lt;row&gt;");
    check_ok(rz_chart_curves("None", "step", "loss", &none, 1, &out, &error));
    check_picture(&out, "curves-none", "nothing was recorded");
    rz_buffer_done(&out);
}

static void rank_charts(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_buffer out;
    rz_buffer_init(&out, 4 << 20);
    const rz_chart_scores scores[] = {
        {"model", model}, {"age and sex", plain}, {"the truth itself", truth}};
    check_ok(rz_chart_roc(scores, 3, label, N, &out, &error));
    check_picture(&out, "roc", "AUROC 0.");
    check_ok(rz_chart_precision_recall(scores, 3, label, N, &out, &error));
    check_picture(&out, "precision-recall", "average precision 0.");
    static const uint8_t nobody[N];
    check_ok(rz_chart_roc(scores, 3, nobody, N, &out, &error));
    check_picture(&out, "roc-single-class", "no patient has the outcome");
    check_ok(rz_chart_precision_recall(scores, 3, nobody, 0, &out, &error));
    check_picture(&out, "precision-recall-empty", "the cohort is empty");
    rz_buffer_done(&out);
}

static void probability_charts(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_metrics m;
    rz_buffer out;
    rz_buffer_init(&out, 4 << 20);
    check_ok(rz_metrics_compute(model, label, NULL, N, 0, 1, &m, &error));
    check_ok(rz_chart_calibration(&m, &out, &error));
    check_picture(&out, "calibration", "slope");
    check_ok(rz_chart_histogram(model, label, N, &out, &error));
    check_picture(&out, "histogram", "with the outcome");
    check_ok(rz_chart_truth(model, truth, N, &out, &error));
    check_picture(&out, "truth", "2000 patients");
    check_ok(rz_metrics_compute(model, label, NULL, 0, 0, 1, &m, &error));
    check_ok(rz_chart_calibration(&m, &out, &error));
    check_picture(&out, "calibration-empty", "empty");
    check_ok(rz_chart_histogram(model, label, 0, &out, &error));
    check_picture(&out, "histogram-empty", "empty");
    static double unknown[N];
    for (int i = 0; i < N; i++)
        unknown[i] = NAN;
    check_ok(rz_chart_truth(model, unknown, N, &out, &error));
    check_picture(&out, "truth-unknown", "no true risk");
    const double edge[] = {0.0, 1.0, 1.0};
    check_ok(rz_metrics_compute(edge, label, NULL, 3, 0, 1, &m, &error));
    check_ok(rz_chart_calibration(&m, &out, &error));
    check_picture(&out, "calibration-edge", "slope");
    check_ok(rz_chart_histogram(edge, label, 3, &out, &error));
    check_picture(&out, "histogram-edge", "outcome");
    check_ok(rz_chart_truth(edge, edge, 3, &out, &error));
    check_picture(&out, "truth-edge", "3 patients");
    rz_buffer_done(&out);
}

static void wilson(void **state)
{
    (void)state;
    double low, high;
    rz_wilson(0, 10, &low, &high);
    check_near(low, 0, 1e-12);
    check_near(high, 0.27753, 1e-5);   /* z² / (n + z²) */
    for (size_t n = 1; n < 100; n++) { /* the observed share lies within, to the last bit */
        rz_wilson(0, n, &low, &high);
        check_near(low, 0, 0);
        rz_wilson(n, n, &low, &high);
        check_near(high, 1, 0);
    }
    rz_wilson(5, 10, &low, &high);
    check_near(low, 0.23659, 1e-5);
    check_near(high, 0.76341, 1e-5);
    rz_wilson(0, 0, &low, &high);
    assert_true(isnan(low) && isnan(high));
}

static void intervals(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_buffer out;
    rz_buffer_init(&out, 4 << 20);
    static const char *const names[] = {"2.2m", "11m <new>", "32m"};
    static const char *const texts[] = {"first", "second", "third & last"};
    const double x[] = {0, 1, 2}, cost[] = {10, 900, 20000}, y[] = {0.3, NAN, 0.4};
    const double low[] = {0.25, 0.3, 0.35}, high[] = {0.35, 0.4, NAN};
    const rz_chart_marks marks[] = {
        {.name = "pretrained", .x = x, .y = y, .low = low, .high = high, .n = 3, .joined = true},
        {.name = "from scratch", .style = 1, .x = x, .y = low, .n = 3},
        {.name = "a curve", .style = 2, .x = x, .y = high, .n = 2, .bare = true}};
    const rz_chart_level levels[] = {{"truth", 6, 0.45}, {"unknown", 3, NAN}};
    const rz_axis sizes = {.label = "size", .names = names, .n_names = 3};
    check_ok(rz_chart_intervals("By size", sizes, "precision", marks, 3, levels, 2, &out, &error));
    assert_non_null(strstr(out.data, "11m &lt;new&gt;"));
    assert_non_null(strstr(out.data, "<polygon")); /* a square, not only another colour */
    check_picture(&out, "intervals", "from scratch");
    rz_chart_marks spread = {.name = "all", .x = cost, .y = low, .n = 3, .texts = texts};
    const rz_axis seconds = {.label = "CPU seconds", .logarithmic = true};
    check_ok(rz_chart_intervals("Cost", seconds, "precision", &spread, 1, NULL, 0, &out, &error));
    check_picture(&out, "intervals-log", "third &amp; last");
    spread.n = 1; /* one point has an axis, too */
    check_ok(rz_chart_intervals("One", seconds, "precision", &spread, 1, NULL, 0, &out, &error));
    check_picture(&out, "intervals-one", "first");
    spread.n = 0;
    check_ok(rz_chart_intervals("None", seconds, "precision", &spread, 1, levels, 2, &out, &error));
    check_picture(&out, "intervals-none", "nothing was measured");
    rz_buffer_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(curves), cmocka_unit_test(rank_charts),
                                       cmocka_unit_test(probability_charts),
                                       cmocka_unit_test(intervals), cmocka_unit_test(wilson)};
    return cmocka_run_group_tests(tests, make_data, NULL);
}
