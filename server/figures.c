/* The calibration's bins and band as figures. The decision curve is made of the bins: at the limit
 * between two of them it is known exactly who lies above. */
#include "figures.h"

#include "request.h"

#include "base/portable_math.h"
#include "report/charts.h"

static json_t *bins_json(const rz_calibration *c)
{
    json_t *all = json_array();
    for (size_t i = 0; i < c->n_bins; i++) {
        uint32_t n = c->bin_n[i], positives = c->bin_positives[i];
        double low, high;
        rz_wilson(positives, n, &low, &high);
        (void)json_array_append_new(
            all, json_pack("{s:f, s:f, s:o, s:o, s:I, s:I, s:o, s:o}", "from", c->bin_edge[i], "to",
                           c->bin_edge[i + 1], "predicted",
                           c->n_means > 0 ? json_real(c->bin_mean[i]) : json_null(), "observed",
                           n > 0 ? json_real((double)positives / n) : json_null(), "n",
                           (json_int_t)n, "positives", (json_int_t)positives, "low",
                           json_number_or_null(low), "high", json_number_or_null(high)));
    }
    return all;
}

/* The points of the band lie on the corrected logit; what is drawn is the probability there. */
static json_t *band_json(const rz_calibration *c)
{
    json_t *all = json_array();
    double shift = rz_logit(c->prevalence) - rz_logit(c->training_prior);
    for (size_t i = 0; i < c->n_band; i++) {
        rz_calibrated at;
        rz_calibration_apply(c, c->band_x[i] - shift, &at);
        (void)json_array_append_new(all, json_pack("{s:f, s:f, s:f}", "predicted", at.probability,
                                                   "low", at.low, "high", at.high));
    }
    return all;
}

static double benefit(double true_positives, double false_positives, double n, double threshold)
{
    return (true_positives - false_positives * threshold / (1.0 - threshold)) / n;
}

static json_t *decision_json(const rz_calibration *c)
{
    json_t *all = json_array();
    double n = 0.0, positives = 0.0, below = 0.0, below_positives = 0.0;
    for (size_t i = 0; i < c->n_bins; i++) {
        n += c->bin_n[i];
        positives += c->bin_positives[i];
    }
    for (size_t i = 1; i < c->n_bins; i++) {
        double threshold = c->bin_edge[i];
        below += c->bin_n[i - 1];
        below_positives += c->bin_positives[i - 1];
        if (!(threshold < 1.0) || n <= 0.0)
            continue;
        double treated = n - below, right = positives - below_positives;
        (void)json_array_append_new(
            all, json_pack("{s:f, s:I, s:I, s:f, s:f}", "threshold", threshold, "treated",
                           (json_int_t)treated, "true_positives", (json_int_t)right, "model",
                           benefit(right, treated - right, n, threshold), "treat_all",
                           benefit(positives, n - positives, n, threshold)));
    }
    return all;
}

/* Net benefits are those of the tuning patients, which say nothing where these were drawn. */
static bool as_they_come(const rz_head *head)
{
    const char *sample = json_string_value(json_object_get(head->metrics, "sample"));
    return sample != NULL && strcmp(sample, "as they come") == 0;
}

static const char *split_of(const rz_head *head)
{
    return json_string_value(json_object_get(head->metrics, "split"));
}

json_t *figures_json(const rz_head *head)
{
    const rz_calibration *c = &head->calibration;
    bool bins = c->n_bins > 0;
    return json_pack("{s:s?, s:I, s:I, s:f, s:f, s:o, s:o, s:o}", "split", split_of(head), "n",
                     (json_int_t)c->tuning_n, "positives", (json_int_t)c->tuning_positives,
                     "training_prior", c->training_prior, "prevalence", c->prevalence, "bins",
                     bins ? bins_json(c) : json_null(), "band",
                     c->n_band > 0 ? band_json(c) : json_null(), "decision_curve",
                     bins && as_they_come(head) ? decision_json(c) : json_null());
}
