/* The model card: what the model is, what it was made from and what it must not be used for. */
#include "base/buffer.h"
#include "base/file.h"
#include "report/report.h"
#include "train_options.h"

#include <limits.h>

enum { CARD_BYTES_MAX = 1 << 20 };

/* The first failure is kept; all the others then do nothing. */
typedef struct page {
    rz_buffer text;
    rz_status status;
} page;

#define say(page, ...)                                                                             \
    do {                                                                                           \
        if ((page)->status == RZ_OK)                                                               \
            (page)->status = rz_buffer_addf(&(page)->text, __VA_ARGS__);                           \
    } while (0)

static void say_interval(page *p, const json_t *metrics, const char *name)
{
    const json_t *interval = json_object_get(metrics, name);
    const json_t *value = json_object_get(interval, "value");
    if (json_is_number(value))
        say(p, " %.3f (%.3f to %.3f) |", json_number_value(value),
            json_number_value(json_object_get(interval, "low")),
            json_number_value(json_object_get(interval, "high")));
    else
        say(p, " - |");
}

static void say_tasks(page *p, const card *c)
{
    say(p,
        "\n## Tasks\n\nFigures of the tuning split, which early stopping and calibration have "
        "seen; `rezept-train evaluate` measures on held-out patients.\n\n"
        "| task | learnt from (positive) | tuned on (positive) | prevalence | AUROC | average "
        "precision | age and sex alone, AUROC | calibration | id | computed in |\n|---|---|---|---"
        "|---|---|---|---|---|---|\n");
    for (size_t t = 0; t < c->n_heads; t++) {
        const rz_head *h = &c->heads[t];
        const rz_calibration *k = &h->calibration;
        say(p, "| %s (%s) |", h->task.title_en, h->task.name);
        if (c->labels != NULL) {
            rz_label_counts n = rz_labels_count(c->labels, t, RZ_SPLIT_TRAIN);
            say(p, " %zu (%zu) |", n.n, n.positives);
        } else {
            say(p, " prior %.4f |", k->training_prior);
        }
        say(p, " %u (%u) | %.4f |", k->tuning_n, k->tuning_positives, k->prevalence);
        say_interval(p, h->metrics, "auroc");
        say_interval(p, h->metrics, "average_precision");
        say_interval(p, json_object_get(h->metrics, "age_sex"), "auroc");
        if (k->method == RZ_CALIBRATION_PLATT)
            say(p, " Platt, slope %.2f |", k->slope);
        else
            say(p, " isotonic, %zu knots |", k->n_knots);
        say(p, " %.12s of %s | %s |\n", k->id, k->date, rz_precision_name(h->precision));
    }
}

static double number(const json_t *json, const char *name)
{
    return json_number_value(json_object_get(json, name));
}

static void say_onset(page *p, const card *c)
{
    const json_t *m = c->onset->metrics, *kind;
    size_t i;
    say(p,
        "\n## Onsets\n\nThe first record of each code of the vocabulary within %d days, of "
        "patients "
        "with %d days of record; codes already recorded are left out. Death or moving away without "
        "the code counts as not having it. Calibrated on %.0f patients of the tuning split of %s, "
        "which early stopping has seen; a code with few onsets leans on its kind and has a wide "
        "band.\n\n"
        "| kind | codes | onsets | codes with 5 onsets | with 20 | intercept (deviation between "
        "codes) | slope |\n|---|---|---|---|---|---|---|\n",
        RZ_ONSET_HORIZON_DAYS, RZ_ONSET_HISTORY_DAYS, number(m, "patients"), c->onset->date);
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
        "\nMean AUROC of the %.0f codes with at least %.0f onsets on the tuning split: %.3f; by "
        "age "
        "and sex alone %.3f; %.0f of them above it. Calibration %.12s.\n",
        number(m, "codes_ranked"), number(m, "ranked_from_positives"), number(m, "auroc_mean"),
        number(m, "age_sex_auroc_mean"), number(m, "codes_above_age_sex"), c->onset->sha256);
}

static void say_attrition(page *p, const card *c)
{
    if (c->labels == NULL)
        return;
    say(p, "\n## Who was left out\n\nPatients that are not held out, by the last step they "
           "passed.\n\n| step |");
    size_t n = c->labels->n_tasks;
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
    say(p, "\n");
}

rz_status card_write(const card *c, rz_error *error)
{
    char path[PATH_MAX], facilities[RZ_FACILITIES_TEXT];
    page p = {.status = RZ_OK};
    rz_buffer_init(&p.text, CARD_BYTES_MAX);
    say(&p, "# %s\n", c->title);
    if (p.status == RZ_OK)
        p.status = rz_card_use(&p.text);
    say(&p, "\n## Model\n\n");
    if (c->model != NULL) {
        const rz_config *m = &c->model->config;
        say(&p, "- family %s, size %s: %zu parameters without heads\n", m->family, m->size,
            c->model->n_counted);
        say(&p,
            "- vocabulary: %d diagnoses and %d medications known to at least %u of %u training "
            "patients\n",
            m->n_diagnoses, m->n_medications, c->model->vocabulary->min_patients,
            c->model->vocabulary->training_patients);
        say(&p, "- history: the newest %d tokens\n", m->context);
    }
    if (c->learnt_from != NULL && c->learnt_from->n > 0)
        say(&p, "- learnt from the patients of these facilities: %s\n",
            rz_facilities_text(c->learnt_from, facilities));
    if (c->data_sha256 != NULL)
        say(&p, "- data hash %.16s\n", c->data_sha256);
    if (c->parent_sha256 != NULL && c->parent_sha256[0] != '\0')
        say(&p, "- made from model %.16s\n", c->parent_sha256);
    say(&p, "- made with rezept-train %s\n", REZEPT_VERSION);
    if (c->result != NULL)
        say(&p,
            "- %llu steps over %llu tokens in %.0f s, learning rate at most %.3g; tuning loss %.4f "
            "at step %llu\n",
            (unsigned long long)c->result->steps, (unsigned long long)c->result->tokens,
            c->result->seconds, c->result->learning_rate, c->result->best_loss,
            (unsigned long long)c->result->best_step);
    if (c->n_heads > 0)
        say_tasks(&p, c);
    if (c->n_heads > 0 && p.status == RZ_OK)
        p.status = rz_card_outcomes(c->heads, c->n_heads, &p.text);
    if (c->onset != NULL)
        say_onset(&p, c);
    say_attrition(&p, c);
    if (c->n_options > 0)
        say(&p, "\n## Settings\n\n");
    for (size_t i = 0; i < c->n_options; i++) {
        const char *value = rz_options_text(c->options, c->option_names[i]);
        say(&p, "- %s: %s\n", c->option_names[i], value != NULL ? value : "not set");
    }
    if (p.status == RZ_OK)
        p.status = rz_card_limits(&p.text);
    (void)snprintf(path, sizeof path, "%s/card.md", c->folder);
    rz_status status = p.status == RZ_OK
                           ? rz_file_write(path, p.text.data, p.text.length, error)
                           : rz_fail(error, p.status, "the card of %s cannot be made", c->folder);
    rz_buffer_done(&p.text);
    return status;
}
