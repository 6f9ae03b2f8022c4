/* What /metrics says of the models. Apart from registry.c because it is text, not behaviour. */
#include "registry.h"

#include "base/size.h"

#include <inttypes.h>
#include <math.h>

#define ADD(...)                                                                                   \
    do {                                                                                           \
        if (*status == RZ_OK)                                                                      \
            *status = rz_buffer_addf(out, __VA_ARGS__);                                            \
    } while (0)

static void histogram(rz_buffer *out, rz_status *status, const char *name, const char *model,
                      const uint64_t *buckets, double sum)
{
    uint64_t below = 0;
    for (int b = 0; b < REPLICA_TIME_BUCKETS; b++) {
        below += buckets[b];
        ADD("%s_bucket{model=\"%s\",le=\"%g\"} %" PRIu64 "\n", name, model, replica_bounds_s[b],
            below);
    }
    below += buckets[REPLICA_TIME_BUCKETS];
    ADD("%s_bucket{model=\"%s\",le=\"+Inf\"} %" PRIu64 "\n%s_sum{model=\"%s\"} %.6f\n"
        "%s_count{model=\"%s\"} %" PRIu64 "\n",
        name, model, below, name, model, sum, name, model, below);
}

/* Buckets that double from `first` on; the last one has no bound. */
static void size_histogram(rz_buffer *out, rz_status *status, const char *name, const char *model,
                           const uint64_t *buckets, int first, uint64_t sum)
{
    uint64_t below = 0;
    for (int b = 0; b + 1 < REPLICA_BUCKETS; b++) {
        below += buckets[b];
        ADD("%s_bucket{model=\"%s\",le=\"%d\"} %" PRIu64 "\n", name, model, first << b, below);
    }
    below += buckets[REPLICA_BUCKETS - 1];
    ADD("%s_bucket{model=\"%s\",le=\"+Inf\"} %" PRIu64 "\n%s_sum{model=\"%s\"} %" PRIu64
        "\n%s_count{model=\"%s\"} %" PRIu64 "\n",
        name, model, below, name, model, sum, name, model, below);
}

static void score_deciles(rz_buffer *out, rz_status *status, const replica *r,
                          const replica_figures *f)
{
    const rz_head *heads;
    size_t n = rz_predictor_heads(replica_predictor(r), &heads);
    for (size_t h = 0; h < n; h++)
        for (int d = 0; d < DECILES; d++)
            ADD("rezeptd_score_bucket_total{model=\"%s\",target=\"%s\",decile=\"%d\"} %" PRIu64
                "\n",
                replica_id(r), heads[h].task.name, d + 1, f->scores[h][d]);
}

static void unmapped(rz_buffer *out, rz_status *status, const char *id, const uint64_t *systems)
{
    for (int s = 0; s < RZ_SYSTEM_COUNT; s++)
        ADD("rezeptd_events_unmapped_total{model=\"%s\",system=\"%s\"} %" PRIu64 "\n", id,
            rz_code_system_name((rz_code_system)s), systems[s]);
}

/* Index of each feature that there is one of. */
static void input_psi(rz_buffer *out, rz_status *status, const char *id, const char *task,
                      const replica_drift *d)
{
    for (int f = 0; f < DRIFT_FEATURES; f++)
        if (!isnan(d->index[f]))
            ADD("rezeptd_input_psi{model=\"%s\",feature=\"%s\",target=\"%s\"} %.6g\n", id,
                drift_feature_name((drift_feature)f), task, d->index[f]);
}

enum { DRIFT_PSI, DRIFT_RATIO, DRIFT_OBSERVED, DRIFT_EXPECTED, DRIFT_PATIENTS };

static void drift_lines(int which, rz_buffer *out, rz_status *status, replica *r)
{
    const rz_head *heads;
    const char *reason, *id = replica_id(r);
    size_t n = rz_predictor_heads(replica_predictor(r), &heads);
    for (size_t h = 0; h < n; h++) {
        replica_drift d;
        const char *task = heads[h].task.name;
        replica_drift_of(r, h, &d);
        const drift_outcomes *o = &d.outcomes;
        double ratio = drift_ratio(o, &reason);
        if (which == DRIFT_PSI)
            input_psi(out, status, id, task, &d);
        else if (o->computed_us == 0 || o->unknown_split)
            continue;
        else if (which == DRIFT_RATIO && !isnan(ratio))
            ADD("rezeptd_calibration_oe_ratio{model=\"%s\",target=\"%s\"} %.6g\n", id, task, ratio);
        else if (which == DRIFT_OBSERVED)
            ADD("rezeptd_calibration_observed{model=\"%s\",target=\"%s\"} %" PRIu64 "\n", id, task,
                o->observed);
        else if (which == DRIFT_EXPECTED)
            ADD("rezeptd_calibration_expected{model=\"%s\",target=\"%s\"} %.9g\n", id, task,
                o->expected);
        else if (which == DRIFT_PATIENTS)
            ADD("rezeptd_calibration_patients{model=\"%s\",target=\"%s\"} %" PRIu64 "\n", id, task,
                o->patients);
    }
}

/* One block a metric, as the format wants it: `which` chooses it. */
static void add_metric(int which, replica *r, rz_buffer *out, rz_status *status)
{
    replica_figures f;
    const char *id = replica_id(r);
    replica_figures_of(r, &f);
    switch (which) {
    case 0:
        ADD("rezeptd_model_info{model=\"%s\",sha256=\"%s\"} 1\n", id,
            rz_predictor_sha256(replica_predictor(r)));
        break;
    case 1:
        ADD("rezeptd_queue_depth{model=\"%s\"} %zu\n", id, f.queue_depth);
        break;
    case 2:
        ADD("rezeptd_predict_total{model=\"%s\",outcome=\"ok\"} %" PRIu64
            "\nrezeptd_predict_total{model=\"%s\",outcome=\"failed\"} %" PRIu64 "\n",
            id, f.patients, id, f.parts_failed);
        break;
    case 3:
        size_histogram(out, status, "rezeptd_batch_patients", id, f.batch_patients, 1, f.patients);
        break;
    case 4:
        histogram(out, status, "rezeptd_predict_queue_duration_seconds", id, f.queue_buckets,
                  f.queue_s);
        break;
    case 5:
        histogram(out, status, "rezeptd_predict_infer_duration_seconds", id, f.infer_buckets,
                  f.infer_s);
        break;
    case 6:
        size_histogram(out, status, "rezeptd_batch_tokens", id, f.batch_tokens,
                       REPLICA_TOKENS_FIRST, f.tokens);
        break;
    case 7:
        ADD("rezeptd_model_loaded_timestamp_seconds{model=\"%s\"} %.3f\n", id, f.loaded_at);
        break;
    case 8:
        unmapped(out, status, id, f.unmapped);
        break;
    case 9:
        score_deciles(out, status, r, &f);
        break;
    case 10:
        histogram(out, status, "rezeptd_predict_tokenize_duration_seconds", id, f.tokenize_buckets,
                  f.tokenize_s);
        break;
    default:
        drift_lines(which - 11, out, status, r);
        break;
    }
}

void registry_metrics(registry *g, rz_buffer *out, rz_status *status)
{
    static const char *const heads[] = {
        "# HELP rezeptd_model_info The models that answer.\n# TYPE rezeptd_model_info gauge\n",
        "# HELP rezeptd_queue_depth Patients that wait.\n# TYPE rezeptd_queue_depth gauge\n",
        "# HELP rezeptd_predict_total Patients answered.\n# TYPE rezeptd_predict_total counter\n",
        "# HELP rezeptd_batch_patients Patients of a packed batch.\n"
        "# TYPE rezeptd_batch_patients histogram\n",
        "# HELP rezeptd_predict_queue_duration_seconds Time before the model.\n"
        "# TYPE rezeptd_predict_queue_duration_seconds histogram\n",
        "# HELP rezeptd_predict_infer_duration_seconds Time of a packed batch in the model.\n"
        "# TYPE rezeptd_predict_infer_duration_seconds histogram\n",
        "# HELP rezeptd_batch_tokens Tokens of a packed batch at most.\n"
        "# TYPE rezeptd_batch_tokens histogram\n",
        "# HELP rezeptd_model_loaded_timestamp_seconds When the model was loaded, since 1970.\n"
        "# TYPE rezeptd_model_loaded_timestamp_seconds gauge\n",
        "# HELP rezeptd_events_unmapped_total Codes of answered histories that the vocabulary "
        "lacks, by code system.\n# TYPE rezeptd_events_unmapped_total counter\n",
        "# HELP rezeptd_score_bucket_total Risks given, by decile of the tuning split.\n"
        "# TYPE rezeptd_score_bucket_total counter\n",
        "# HELP rezeptd_predict_tokenize_duration_seconds Time to make a packed batch out of "
        "histories.\n# TYPE rezeptd_predict_tokenize_duration_seconds histogram\n",
        "# HELP rezeptd_input_psi Population stability index of the patients scored last against "
        "those of the tuning split.\n# TYPE rezeptd_input_psi gauge\n",
        "# HELP rezeptd_calibration_oe_ratio Outcomes observed by outcomes expected, of the last "
        "fully observed year.\n# TYPE rezeptd_calibration_oe_ratio gauge\n",
        "# HELP rezeptd_calibration_observed Outcomes observed in that year.\n"
        "# TYPE rezeptd_calibration_observed gauge\n",
        "# HELP rezeptd_calibration_expected Outcomes expected in that year.\n"
        "# TYPE rezeptd_calibration_expected gauge\n",
        "# HELP rezeptd_calibration_patients Patients asked about for that.\n"
        "# TYPE rezeptd_calibration_patients gauge\n"};
    replica *ready[MODELS_MAX];
    size_t n = registry_replicas(g, ready, MODELS_MAX);
    for (int which = 0; which < (int)RZ_COUNT(heads); which++) {
        ADD("%s", heads[which]);
        for (size_t i = 0; i < n; i++)
            add_metric(which, ready[i], out, status);
    }
    for (size_t i = 0; i < n; i++)
        replica_drop(ready[i]);
    ADD("# HELP rezeptd_queue_limit Patients that may wait for a model.\n"
        "# TYPE rezeptd_queue_limit gauge\nrezeptd_queue_limit %zu\n",
        registry_queue_limit(g));
}
