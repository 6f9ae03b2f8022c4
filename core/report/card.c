/* The model card in Markdown, after the headings of Mitchell et al. 2019 (Model Cards for Model
 * Reporting). It says only what the model's own files say. */
#include "report/report.h"

#include "report/svg.h"

#include <math.h>
#include <string.h>

/* Text in a table cell or a paragraph: characters that Markdown would read are escaped. */
static rz_status add_plain(rz_buffer *out, const char *text)
{
    rz_status status = RZ_OK;
    for (const char *c = text; status == RZ_OK && *c != '\0'; c++) {
        if ((unsigned char)*c < 0x20)
            continue;
        if (strchr("\\`*_{}[]<>#|", *c) != NULL)
            status = rz_buffer_add(out, "\\", 1);
        if (status == RZ_OK)
            status = rz_buffer_add(out, c, 1);
    }
    return status;
}

static rz_status add_codes(rz_buffer *out, const rz_task_prefix *prefixes, size_t n)
{
    rz_status status = RZ_OK;
    for (size_t i = 0; status == RZ_OK && i < n; i++) {
        bool same = i > 0 && prefixes[i].system == prefixes[i - 1].system;
        if (same)
            status = rz_buffer_addf(out, ", `%s`", prefixes[i].prefix);
        else
            status = rz_buffer_addf(out, "%s%s `%s`", i > 0 ? "; " : "",
                                    rz_code_system_name(prefixes[i].system), prefixes[i].prefix);
    }
    return status;
}

static rz_status add_population(rz_buffer *out, const rz_task *task)
{
    rz_status status = RZ_OK;
    bool any_age = task->age_min <= 0 && task->age_max >= RZ_TASK_AGE_ANY;
    if (any_age && task->sex == RZ_SEX_UNKNOWN && task->n_required == 0)
        return rz_buffer_add_text(out, "everybody");
    if (!any_age)
        status = rz_buffer_addf(out, "age %d to %d ", task->age_min, task->age_max);
    if (status == RZ_OK && task->sex != RZ_SEX_UNKNOWN)
        status = rz_buffer_addf(out, "sex %s ", rz_sex_name(task->sex));
    if (status == RZ_OK && task->n_required > 0) {
        status = rz_buffer_add_text(out, "with one of ");
        if (status == RZ_OK)
            status = add_codes(out, task->required, task->n_required);
    }
    return status;
}

/* "0.812 (0.790 to 0.835)" from a head's figures; "-" where there is none. */
static rz_status add_figure(rz_buffer *out, const json_t *metrics, const char *name)
{
    char value[RZ_NUMBER_TEXT], low[RZ_NUMBER_TEXT], high[RZ_NUMBER_TEXT];
    const json_t *figure = json_object_get(metrics, name);
    const json_t *v = json_object_get(figure, "value"), *l = json_object_get(figure, "low"),
                 *h = json_object_get(figure, "high");
    if (!json_is_number(v))
        return rz_buffer_add_text(out, "-");
    if (!json_is_number(l) || !json_is_number(h))
        return rz_buffer_addf(out, "%s", rz_number_text(json_number_value(v), 3, value));
    return rz_buffer_addf(out, "%s (%s to %s)", rz_number_text(json_number_value(v), 3, value),
                          rz_number_text(json_number_value(l), 3, low),
                          rz_number_text(json_number_value(h), 3, high));
}

static rz_status add_head(const rz_head *head, rz_buffer *out)
{
    const rz_task *task = &head->task;
    rz_status status = rz_buffer_addf(out, "\n### ");
    if (status == RZ_OK)
        status = add_plain(out, task->title_en);
    if (status == RZ_OK)
        status = rz_buffer_add_text(out, " (");
    if (status == RZ_OK)
        status = add_plain(out, task->title_ja);
    if (status == RZ_OK)
        status =
            rz_buffer_addf(out, ")\n\nTask `%s`, %s. Outcome: the first record of ", task->name,
                           task->kind == RZ_KIND_MEDICATION ? "medication" : "disease");
    if (status == RZ_OK)
        status = add_codes(out, task->outcomes, task->n_outcomes);
    if (status == RZ_OK)
        status = rz_buffer_addf(out,
                                " within %d days after the index, in people without one of these "
                                "codes before and with at least %d days of record. Population: ",
                                task->horizon_days, task->min_history_days);
    if (status == RZ_OK)
        status = add_population(out, task);
    char prior[RZ_NUMBER_TEXT], prevalence[RZ_NUMBER_TEXT];
    if (status == RZ_OK)
        status = rz_buffer_addf(
            out,
            ". Suspected diagnoses do not count. Share of positives learnt from: %s %%; "
            "prevalence it is calibrated to: %s %%. Calibration: %s, on %u tuning patients (%u "
            "positive), %s.\n",
            rz_number_text(100.0 * head->calibration.training_prior, 2, prior),
            rz_number_text(100.0 * head->calibration.prevalence, 2, prevalence),
            head->calibration.method == RZ_CALIBRATION_ISOTONIC ? "isotonic" : "Platt",
            (unsigned)head->calibration.tuning_n, (unsigned)head->calibration.tuning_positives,
            head->calibration.date);
    return status;
}

static rz_status add_figures(const rz_card *card, rz_buffer *out)
{
    static const char *const columns[] = {"auroc", "average_precision", "brier",
                                          "observed_to_expected"};
    rz_status status = rz_buffer_add_text(
        out,
        "\n## Figures\n\nOf the tuning split, with 95 % intervals from patient bootstraps. The "
        "tuning split chose and calibrated the model: the figures to quote are those of the "
        "held-out patients, in the report of `rezept-train evaluate`.\n\n"
        "| task | patients | positive | AUROC | AUROC of age and sex | average precision | "
        "Brier | observed / expected |\n|---|---|---|---|---|---|---|---|\n");
    for (size_t i = 0; status == RZ_OK && i < card->n_heads; i++) {
        const json_t *m = card->heads[i].metrics;
        status = rz_buffer_addf(out, "| %s | %lld | %lld |", card->heads[i].task.name,
                                (long long)json_integer_value(json_object_get(m, "n")),
                                (long long)json_integer_value(json_object_get(m, "positives")));
        for (size_t c = 0; status == RZ_OK && c < sizeof columns / sizeof *columns; c++) {
            status = rz_buffer_add_text(out, " ");
            if (status == RZ_OK)
                status = add_figure(out, m, columns[c]);
            if (status == RZ_OK)
                status = rz_buffer_add_text(out, " |");
            if (status != RZ_OK || c > 0)
                continue;
            status = rz_buffer_add_text(out, " ");
            if (status == RZ_OK)
                status = add_figure(out, json_object_get(m, "age_sex"), "auroc");
            if (status == RZ_OK)
                status = rz_buffer_add_text(out, " |");
        }
        if (status == RZ_OK)
            status = rz_buffer_add_text(out, "\n");
    }
    return status;
}

static rz_status add_model(const rz_card *card, rz_buffer *out)
{
    const rz_model *model = card->model;
    const rz_checkpoint_origin *origin = card->origin;
    char millions[RZ_NUMBER_TEXT];
    rz_status status = rz_buffer_addf(
        out,
        "\n## Model\n\n| | |\n|---|---|\n| family, size | %s, %s (%s million parameters without "
        "heads) |\n| input | codes with the age at each event, the newest %d of the history |\n"
        "| vocabulary | %d diagnoses, %d medications |\n| made with | rezept %s, seed %llu |\n",
        model->config.family, model->config.size,
        rz_number_text((double)model->n_counted / 1e6, 3, millions), (int)model->config.context,
        (int)model->config.n_diagnoses, (int)model->config.n_medications, origin->code_version,
        (unsigned long long)origin->seed);
    if (status == RZ_OK)
        status = rz_buffer_addf(out,
                                "| claims (SHA-256) | `%s` |\n| configuration (SHA-256) | "
                                "`%s` |\n",
                                origin->data_sha256, origin->training_config_sha256);
    if (status == RZ_OK && origin->parent_sha256[0] != '\0')
        status =
            rz_buffer_addf(out, "| fine-tuned from (SHA-256) | `%s` |\n", origin->parent_sha256);
    return status;
}

static const char use[] =
    "\n## Intended use\n\n" RZ_REPORT_NOTICE
    "\n\nThe model reads a patient's claims and gives the frequency of an outcome within a year "
    "among patients scored alike. It is meant for people who know how the record came about, "
    "inside "
    "the institution whose claims it learnt from. It is not meant to choose a treatment, to deny "
    "care or payment, or to be used on another institution's patients without an evaluation "
    "there.\n";

static const char limits[] =
    "\n## Limits\n\n"
    "- An outcome is a code in this record. What is coded elsewhere, late or never counts as no "
    "outcome; people who died or moved away without the code are negatives.\n"
    "- Codes follow billing and habit. A high risk can mean that the outcome is close to being "
    "coded, not that it can be prevented.\n"
    "- The interval of a risk is that of the calibration curve at its score, not of this person.\n"
    "- Calibration ages with coding rules, drugs and patients: evaluate again at least every year, "
    "and calibrate again when observed and expected numbers drift apart.\n"
    "- The weights are made from claims: handle them as the claims themselves.\n";

rz_status rz_report_card(const rz_card *card, rz_buffer *out, rz_error *error)
{
    rz_status status = rz_buffer_add_text(out, "# ");
    if (status == RZ_OK)
        status = add_plain(out, card->name);
    if (status == RZ_OK)
        status = rz_buffer_addf(out, "\n\nModel card, %s.\n", card->date);
    if (status == RZ_OK)
        status = rz_buffer_add_text(out, use);
    if (status == RZ_OK)
        status = add_model(card, out);
    if (status == RZ_OK && card->record != NULL) {
        status = rz_buffer_add_text(out, "\n## Data\n\n");
        if (status == RZ_OK)
            status = add_plain(out, card->record);
        if (status == RZ_OK)
            status = rz_buffer_add_text(out, "\n");
    }
    if (status == RZ_OK && card->n_heads > 0)
        status = rz_buffer_add_text(out, "\n## Outcomes\n");
    for (size_t i = 0; status == RZ_OK && i < card->n_heads; i++)
        status = add_head(&card->heads[i], out);
    if (status == RZ_OK && card->n_heads > 0)
        status = add_figures(card, out);
    if (status == RZ_OK)
        status = rz_buffer_add_text(out, limits);
    if (status != RZ_OK)
        return rz_fail(error, status, "the card of %s could not be written", card->name);
    return RZ_OK;
}
