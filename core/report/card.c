/* Sections of the model card in Markdown that do not depend on how a model was trained. Their
 * headings are the caller's. */
#include "report/report.h"

#include "report/svg.h"

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
    if (!any_age && task->age_max >= RZ_TASK_AGE_ANY)
        status = rz_buffer_addf(out, "age %d and above ", task->age_min);
    else if (!any_age)
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

/* In which precision the model computes, and why it may. */
static rz_status add_precision(rz_buffer *out, const rz_head *head)
{
    const json_t *chosen = json_object_get(head->metrics, "precision");
    char low[RZ_NUMBER_TEXT], whole[RZ_NUMBER_TEXT], most[RZ_NUMBER_TEXT];
    if (head->precision == RZ_FLOAT32)
        return rz_buffer_add_text(out, " Computed in float32.\n");
    if (!json_is_object(chosen))
        return rz_buffer_addf(out, " Computed in %s; what was measured before is not recorded.\n",
                              rz_precision_name(head->precision));
    return rz_buffer_addf(
        out,
        " Computed in %s: average precision on the tuning split %s, in float32 %s; they "
        "may differ by %s.\n",
        rz_precision_name(head->precision),
        rz_number_text(json_number_value(json_object_get(chosen, "average_precision")), 4, low),
        rz_number_text(json_number_value(json_object_get(chosen, "average_precision_float32")), 4,
                       whole),
        rz_number_text(json_number_value(json_object_get(chosen, "difference_max")), 3, most));
}

static rz_status add_head(const rz_head *head, rz_buffer *out)
{
    const rz_task *task = &head->task;
    rz_status status = rz_buffer_addf(out, "\n#### ");
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
            "positive), %s.",
            rz_number_text(100.0 * head->calibration.training_prior, 2, prior),
            rz_number_text(100.0 * head->calibration.prevalence, 2, prevalence),
            head->calibration.method == RZ_CALIBRATION_ISOTONIC ? "isotonic" : "Platt",
            (unsigned)head->calibration.tuning_n, (unsigned)head->calibration.tuning_positives,
            head->calibration.date);
    if (status == RZ_OK)
        status = add_precision(out, head);
    return status;
}

static const char use[] = RZ_REPORT_NOTICE
    "\n\nThe model reads a patient's claims and gives the frequency of an outcome within a year "
    "among patients scored alike. It is meant for people who know how the record came about, "
    "inside the institution whose claims it learnt from. It is not meant to choose a treatment, to "
    "deny "
    "care or payment, or to be used on another institution's patients without an evaluation "
    "there.\n";

static const char limits[] =
    "- An outcome is a code in this record. What is coded elsewhere, late or never counts as no "
    "outcome; people who died or moved away without the code are negatives.\n"
    "- Codes follow billing and habit. A high risk can mean that the outcome is close to being "
    "coded, not that it can be prevented.\n"
    "- The interval of a risk is that of the calibration curve at its score, not of this person.\n"
    "- Calibration ages with coding rules, drugs and patients: evaluate again at least every year, "
    "and calibrate again when observed and expected numbers drift apart.\n"
    "- The weights are made from claims: handle them as the claims themselves.\n";

rz_status rz_card_use(rz_buffer *out)
{
    return rz_buffer_add_text(out, use);
}

rz_status rz_card_outcomes(const rz_head *heads, size_t n_heads, rz_buffer *out)
{
    rz_status status = RZ_OK;
    for (size_t i = 0; status == RZ_OK && i < n_heads; i++)
        status = add_head(&heads[i], out);
    return status;
}

rz_status rz_card_limits(rz_buffer *out)
{
    return rz_buffer_add_text(out, limits);
}
