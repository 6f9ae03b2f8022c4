/* The results of a model card: who took part, what came out of training, how good it is on the
 * tuning part. */
#include "card_page.h"

#include "tasks/age_sex.h"

#include <math.h>

/* ---- participants ---- */

static void say_attrition(card_page *p, const card *c)
{
    size_t n = c->labels->n_tasks;
    say(p, "Patients that are not held out, by the last step they passed.\n\n| step |");
    for (size_t t = 0; t < n; t++)
        say(p, " %s |", t < c->n_heads ? c->heads[t].task.name : "onset");
    say(p, "\n|---|");
    for (size_t t = 0; t < n; t++)
        say(p, "---|");
    for (int step = 0; step < RZ_ATTRITION_COUNT; step++) {
        say(p, "\n| %s |", rz_attrition_text((rz_attrition_step)step));
        for (size_t t = 0; t < n; t++)
            say(p, " %llu |", (unsigned long long)c->labels->cohorts[t].passed[step]);
    }
    if (c->n_heads > 0) {
        say(p, "\n| of them with the outcome |");
        for (size_t t = 0; t < n; t++)
            say(p, " %llu |", (unsigned long long)c->labels->cohorts[t].positives);
        say(p, "\n| died within the horizon without it |");
        for (size_t t = 0; t < n; t++)
            say(p, " %llu |", (unsigned long long)c->labels->cohorts[t].died_without_outcome);
    }
    say(p, "\n");
}

enum { SEXES = 3, GROUPS = SEXES + RZ_AGE_BANDS + 1 };

/* Sexes, then age bands, then an age that is not known. */
static const char *group_name(size_t group)
{
    static const char *const sexes[SEXES] = {"sex unknown", "female", "male"};
    return group < SEXES ? sexes[group] : rz_age_band_name(group - SEXES);
}

static void say_characteristics(card_page *p, const card *c)
{
    size_t n = c->labels->n_tasks;
    say(p, "\nMembers of the cohorts%s.\n\n| |",
        c->n_heads > 0 ? ", and how many of them have the outcome" : "");
    for (size_t t = 0; t < n; t++)
        say(p, " %s |", t < c->n_heads ? c->heads[t].task.name : "onset");
    say(p, "\n|---|");
    for (size_t t = 0; t < n; t++)
        say(p, "---|");
    say(p, "\n");
    for (size_t group = 0; group < GROUPS; group++) {
        size_t members[RZ_TASKS_MAX] = {0}, positives[RZ_TASKS_MAX] = {0}, any = 0;
        for (size_t t = 0; t < n; t++)
            for (size_t i = 0; i < c->labels->cohorts[t].n; i++) {
                const rz_cohort_member *m = &c->labels->cohorts[t].members[i];
                size_t own =
                    group < SEXES ? (size_t)m->sex : SEXES + rz_age_band((double)m->age_years);
                members[t] += own == group;
                positives[t] += own == group && m->label;
                any += own == group;
            }
        if (any == 0)
            continue;
        say(p, "| %s%s |", group < SEXES ? "" : "age ", group_name(group));
        for (size_t t = 0; t < n; t++) {
            say(p, " %zu", members[t]);
            if (c->n_heads > 0)
                say(p, " (%zu)", positives[t]);
            say(p, " |");
        }
        say(p, "\n");
    }
}

/* ---- development and specification ---- */

static void say_development(card_page *p, const card *c)
{
    say(p, "\n### Model development (21)\n\n");
    if (c->result == NULL) {
        say(p, "Calibrated anew; its parameters are as they were.\n");
        return;
    }
    say(p,
        "- %llu steps over %llu tokens in %.0f s, learning rate at most %.3g; tuning loss %.4f "
        "at step %llu\n",
        (unsigned long long)c->result->steps, (unsigned long long)c->result->tokens,
        c->result->seconds, c->result->learning_rate, c->result->best_loss,
        (unsigned long long)c->result->best_step);
    if (c->result->stopped_early)
        say(p, "- stopped early: the tuning loss no longer fell\n");
    if (c->result->time_over)
        say(p, "- stopped by --minutes before its planned end\n");
}

static void say_specification(card_page *p, const card *c)
{
    say(p, "\n### Model specification (22)\n\n- parameters, configuration and vocabulary: "
           "`model.safetensors`, `config.json`, `vocab.json` beside this card; their SHA-256 in "
           "`DONE`; the computation is in MODEL.md of Rezept\n");
    if (c->n_heads > 0)
        say(p, "- heads, calibration and the age-and-sex baseline: `tasks.json`\n");
    if (c->onset != NULL)
        say(p, "- calibration of every code: `onset.json`\n");
    if (c->parent_sha256 != NULL && c->parent_sha256[0] != '\0')
        say(p, "- made from model %.16s\n", c->parent_sha256);
}

/* ---- performance ---- */

static void say_interval(card_page *p, const json_t *metrics, const char *name)
{
    const json_t *interval = json_object_get(metrics, name);
    const json_t *value = json_object_get(interval, "value");
    const json_t *low = json_object_get(interval, "low"), *high = json_object_get(interval, "high");
    if (!json_is_number(value)) {
        say(p, " - |");
        return;
    }
    say(p, " %.3f", json_number_value(value));
    if (json_is_number(low) && json_is_number(high))
        say(p, " (%.3f to %.3f)", json_number_value(low), json_number_value(high));
    say(p, " |");
}

static void say_tasks(card_page *p, const card *c)
{
    say(p, "Figures of the patients calibrated on, whom early stopping has seen too; "
           "`rezept-train evaluate` measures on held-out patients.\n\n"
           "| task | average precision | AUROC | age and sex alone: average precision | AUROC | "
           "observed / expected | calibration | id | computed in |\n"
           "|---|---|---|---|---|---|---|---|---|\n");
    for (size_t t = 0; t < c->n_heads; t++) {
        const rz_head *h = &c->heads[t];
        const rz_calibration *k = &h->calibration;
        const json_t *base = json_object_get(h->metrics, "age_sex");
        say(p, "| %s (%s) |", h->task.title_en, h->task.name);
        say_interval(p, h->metrics, "average_precision");
        say_interval(p, h->metrics, "auroc");
        say_interval(p, base, "average_precision");
        say_interval(p, base, "auroc");
        say_interval(p, h->metrics, "observed_to_expected");
        if (k->method == RZ_CALIBRATION_PLATT)
            say(p, " Platt, slope %.2f |", k->slope);
        else
            say(p, " isotonic, %zu knots |", k->n_knots);
        say(p, " %.12s of %s | %s |\n", k->id, k->date, rz_precision_name(h->precision));
    }
}

static void say_subgroups(card_page *p, const card *c)
{
    say(p, "\n#### Subgroups\n\nOn the same patients; a dash where fewer than 10 have the outcome, "
           "or fewer than 10 have not.\n\n| task | group | patients (positive) | AUROC | observed "
           "/ expected |\n|---|---|---|---|---|\n");
    for (size_t t = 0; t < c->n_heads; t++) {
        const json_t *row;
        size_t i;
        json_array_foreach(json_object_get(c->heads[t].metrics, "subgroups"), i, row)
        {
            say(p, "| %s | %s %s | %.0f (%.0f) |", c->heads[t].task.name,
                json_string_value(json_object_get(row, "by")),
                json_string_value(json_object_get(row, "name")),
                json_number_value(json_object_get(row, "n")),
                json_number_value(json_object_get(row, "positives")));
            say_interval(p, row, "auroc");
            say_interval(p, row, "observed_to_expected");
            say(p, "\n");
        }
    }
}

static double number(const json_t *json, const char *name)
{
    return json_number_value(json_object_get(json, name));
}

static void say_onset(card_page *p, const card *c)
{
    const json_t *m = c->onset->metrics, *kind;
    size_t i;
    say(p,
        "#### Onsets\n\nCalibrated on %.0f patients of the tuning part of %s, which early stopping "
        "has seen; a code with few onsets leans on its kind and has a wide band.\n\n"
        "| kind | codes | onsets | codes with 5 onsets | with 20 | intercept (deviation between "
        "codes) | slope |\n|---|---|---|---|---|---|---|\n",
        number(m, "patients"), c->onset->date);
    json_array_foreach(c->onset->kinds, i, kind)
    {
        const json_t *a = json_object_get(kind, "intercept"), *s = json_object_get(kind, "slope");
        say(p, "| %s | %.0f | %.0f | %.0f | %.0f | %.3f (%.3f) | %.3f (%.3f) |\n",
            json_string_value(json_object_get(kind, "kind")), number(kind, "codes"),
            number(kind, "tuning_positives"), number(kind, "codes_with_5_positives"),
            number(kind, "codes_with_20_positives"), number(a, "mean"), number(a, "deviation"),
            number(s, "mean"), number(s, "deviation"));
    }
    say(p,
        "\nMean AUROC of the %.0f codes with at least %.0f onsets on the tuning part: %.3f; by "
        "age and sex alone %.3f; %.0f of them above it. Calibration %.12s.\n",
        number(m, "codes_ranked"), number(m, "ranked_from_positives"), number(m, "auroc_mean"),
        number(m, "age_sex_auroc_mean"), number(m, "codes_above_age_sex"), c->onset->sha256);
}

void card_results(card_page *p, const card *c)
{
    say(p, "\n## Results\n\n### Participants (20)\n\n");
    if (c->labels != NULL) {
        say_attrition(p, c);
        say_characteristics(p, c);
    } else if (c->n_heads > 0) {
        say(p, "Calibrated on the numbers under Sample size; who was learnt from is on the card of "
               "the model before that.\n");
    } else if (c->model != NULL) {
        say(p, "%u training patients made the vocabulary; no cohort was built for this model.\n",
            c->model->vocabulary->training_patients);
    }
    say_development(p, c);
    say_specification(p, c);
    say(p, "\n### Model performance (23)\n\n");
    if (c->n_heads > 0) {
        say_tasks(p, c);
        say_subgroups(p, c);
    }
    if (c->onset != NULL)
        say_onset(p, c);
    if (c->n_heads == 0 && c->onset == NULL)
        say(p, "Loss on the tuning part: see Model development. No risk, no other figure.\n");
    say(p, "\n### Model updating (24)\n\n");
    if (c->result == NULL)
        say(p, "Calibrated anew on the store of this card's data hash.\n");
    else
        say(p, "None yet. `rezept-train calibrate` fits the calibration again, `rezeptd` counts "
               "drift and observed by expected.\n");
}
