/* The model card: one page of Markdown under the headings of TRIPOD+AI (Collins et al. 2024, BMJ
 * 385:e078378), the items of a report on a prediction model. The program writes what it knows and
 * says where only the hospital can know. Results are in card_results.c. */
#include "card_page.h"

#include "base/file.h"
#include "report/report.h"

#include <limits.h>
#include <math.h>
#include <string.h>

enum { CARD_BYTES_MAX = 1 << 20 };

/* Where nothing but the hospital's own word will do; once under each such heading. */
static const char by_hospital[] = "To be filled in by the hospital";

/* ---- title and introduction ---- */

static bool is_onset(const card *c)
{
    return c->onset != NULL;
}

static void say_title(card_page *p, const card *c)
{
    say(p,
        "# %s\n\nHeadings after TRIPOD+AI; the numbers are its items.\n\n## Title and abstract (1, "
        "2)\n\n",
        c->title);
    if (is_onset(c))
        say(p, "Risk of the first record of any code within %d days, predicted from claims",
            RZ_ONSET_HORIZON_DAYS);
    else if (c->n_heads == 0)
        say(p,
            "An encoder of claims, pretrained to guess hidden codes; it predicts no outcome yet");
    for (size_t t = 0; t < c->n_heads; t++)
        say(p, "%s%s", t == 0 ? "Risk, predicted from claims, of: " : "; ",
            c->heads[t].task.title_en);
    if (c->model != NULL)
        say(p, ". Family %s, size %s", c->model->config.family, c->model->config.size);
    say(p, ". Made with rezept-train %s.\n", REZEPT_VERSION);
}

static void say_background(card_page *p)
{
    say(p, "\n## Background and objectives (3, 4)\n\n");
    if (p->status == RZ_OK)
        p->status = rz_card_use(&p->text);
    say(p, "\n%s: where in its care the risk is used, and by whom.\n", by_hospital);
}

/* ---- methods: the patients ---- */

static void say_source(card_page *p, const card *c)
{
    int32_t first = INT32_MAX, last = INT32_MIN;
    char from[RZ_DAY_TEXT], to[RZ_DAY_TEXT], facilities[RZ_FACILITIES_TEXT];
    say(p, "\n## Methods\n\n### Source of data (5)\n\n");
    if (c->data_sha256 != NULL)
        say(p, "- claims of one store, data hash %.16s\n", c->data_sha256);
    if (c->learnt_from != NULL && c->learnt_from->n > 0)
        say(p, "- learnt from the patients of these facilities: %s\n",
            rz_facilities_text(c->learnt_from, facilities));
    for (size_t r = 0; c->labels != NULL && r < c->labels->n_rows; r++) {
        int32_t day = c->labels->rows[r].index_day;
        first = day < first ? day : first;
        last = day > last ? day : last;
    }
    if (first <= last)
        say(p, "- index days from %s to %s\n", rz_day_text(first, from), rz_day_text(last, to));
    say(p, "- %s: which hospitals, what they bill for, and the years covered.\n", by_hospital);
}

static void say_participants(card_page *p, const card *c)
{
    say(p, "\n### Participants (6)\n\n");
    if (c->n_heads == 0 && !is_onset(c)) {
        say(p, "Every patient of the training part with a claim; no outcome decides.\n");
        return;
    }
    say(p, "One day a patient is the index, drawn by a hash of the patient's name among the days "
           "with a claim, for reasons that lie before it; the whole horizon after it lies within "
           "the hospital's data. Eligible is who is alive then, has the record that the task asks "
           "for, is in its population and has no record of the outcome. Who passed each step is "
           "under Results.\n");
}

static void say_preparation(card_page *p, const card *c)
{
    say(p, "\n### Data preparation (7)\n\nOne record of a code a day; voided and replaced claims "
           "left out. An event counts from the day on which the hospital could know it. Suspected "
           "diagnoses are neither input nor outcome.\n");
    if (c->model == NULL)
        return;
    const rz_code_levels *l = &c->model->vocabulary->levels;
    const int chars[] = {l->icd10_chars, l->icd9_chars, l->yj_chars, l->atc_chars, l->ndc_chars};
    static const char *const systems[] = {"ICD-10", "ICD-9", "YJ", "ATC", "NDC"};
    say(p, "Codes are cut to");
    for (size_t i = 0; i < sizeof chars / sizeof *chars; i++)
        if (chars[i] > 0)
            say(p, "%s %d characters of %s", i == 0 ? "" : ",", chars[i], systems[i]);
    say(p, "; others stay whole. The newest %d tokens of a history are read",
        c->model->config.context);
    if (c->model->config.repeat_days > 0)
        say(p, "; a code recorded less than %d days before is left out",
            c->model->config.repeat_days);
    say(p, ".\n");
}

static void say_outcome(card_page *p, const card *c)
{
    say(p, "\n### Outcome (8)\n");
    if (c->n_heads > 0 && p->status == RZ_OK)
        p->status = rz_card_outcomes(c->heads, c->n_heads, &p->text);
    else if (is_onset(c))
        say(p,
            "\nThe first record of each code of the vocabulary within %d days, of patients with %d "
            "days of record; codes already recorded are left out. Death or moving away without the "
            "code counts as not having it.\n",
            RZ_ONSET_HORIZON_DAYS, RZ_ONSET_HISTORY_DAYS);
    else
        say(p, "\nNone. In pretraining the model guesses codes of the history that are hidden.\n");
}

static void say_predictors(card_page *p, const card *c)
{
    say(p, "\n### Predictors (9)\n\n");
    if (c->model != NULL) {
        const rz_config *m = &c->model->config;
        say(p,
            "- vocabulary: %d diagnoses and %d medications known to at least %u of %u training "
            "patients\n",
            m->n_diagnoses, m->n_medications, c->model->vocabulary->min_patients,
            c->model->vocabulary->training_patients);
    }
    say(p,
        "- the order of the codes, the age at each, the age at the index, sex%s\n"
        "- not used: laboratory values, procedures, hospital, what is written in words\n",
        c->model != NULL && c->model->config.recency ? ", how long before the index each code lies"
                                                     : "");
}

/* ---- methods: the analysis ---- */

/* Labels that were drawn, or all of a small record, are learnt from and calibrated on by turns. */
static bool is_drawn(const card *c)
{
    return c->labels != NULL && c->labels->drawn;
}

static void say_sample_size(card_page *p, const card *c)
{
    say(p, "\n### Sample size (10)\n\n%s; no size was calculated beforehand.%s\n",
        is_drawn(c) ? "Labels as `labels` and `cross-fit` below say"
                    : "All patients of the store that are not held out and are eligible",
        c->n_heads > 0 ? " A patient may be learnt from on several index days (`draws`)." : "");
    if (c->n_heads == 0)
        return;
    say(p, "\n| task | index days learnt from (positive) | patients calibrated on (positive) "
           "|\n|---|---|---|\n");
    for (size_t t = 0; t < c->n_heads; t++) {
        const rz_head *h = &c->heads[t];
        say(p, "| %s |", h->task.name);
        if (c->labels != NULL) {
            rz_label_counts n = rz_labels_count(c->labels, t, RZ_SPLIT_TRAIN);
            say(p, " %zu (%zu) |", n.n, n.positives);
        } else {
            say(p, " not recorded; share of positives %.4f |", h->calibration.training_prior);
        }
        say(p, " %u (%u) |\n", h->calibration.tuning_n, h->calibration.tuning_positives);
    }
}

static void say_missing(card_page *p)
{
    say(p, "\n### Missing data (11)\n\nNothing is imputed. A code that is not recorded counts as "
           "absent. A code that the vocabulary lacks is read as an unknown one of its kind, and an "
           "answer tells how many there were; sex and age that are not known have inputs of their "
           "own.\n");
}

static void say_analysis(card_page *p, const card *c)
{
    say(p, "\n### Analytical methods (12)\n\n");
    if (c->model != NULL) {
        const rz_config *m = &c->model->config;
        say(p,
            "- transformer encoder: %d layers, hidden size %d, %d heads, feed-forward %d; %zu "
            "parameters without heads\n",
            m->layers, m->hidden, m->heads, m->feed_forward, c->model->n_counted);
    }
    say(p, "- AdamW; %s\n",
        is_drawn(c) ? "steps chosen by the loss out of fold, then learnt from all labels"
                    : "the parameters with the lowest loss on the tuning part are kept");
    if (c->n_heads > 0 || is_onset(c))
        say(p,
            "- risks are calibrated on %s after prior correction; intervals are 95 %% percentiles "
            "of %d patient bootstraps\n",
            is_drawn(c)   ? "scores out of fold"
            : is_onset(c) ? "the tuning part, one index day a patient,"
                          : "the tuning part, all index days of its patients (`draws`),",
            RZ_BOOTSTRAPS);
    if (c->n_options == 0)
        say(p, "- settings of the training: on the card of the model before it was calibrated "
               "anew\n");
    for (size_t i = 0; i < c->n_options; i++) {
        const char *value = rz_options_text(c->options, c->option_names[i]);
        say(p, "- %s: %s\n", c->option_names[i], value != NULL ? value : "not set");
    }
}

static void say_imbalance(card_page *p, const card *c)
{
    say(p, "\n### Class imbalance (13)\n\n");
    if (c->n_heads == 0 && !is_onset(c)) {
        say(p, "No classes.\n");
        return;
    }
    say(p, "Outcomes are rare. Where negatives were thinned or labels drawn, the log odds are "
           "shifted back from the share learnt from to the share where risks are used, before "
           "calibration.\n");
    for (size_t t = 0; t < c->n_heads; t++)
        say(p, "%s- %s: learnt from %.2f %% positives, used at %.2f %%\n", t == 0 ? "\n" : "",
            c->heads[t].task.name, 100.0 * c->heads[t].calibration.training_prior,
            100.0 * c->heads[t].calibration.prevalence);
}

static void say_fairness(card_page *p, const card *c)
{
    say(p,
        "\n### Fairness (14)\n\nSex and age are inputs; nothing was adjusted to make groups "
        "alike.%s By hospital, and on patients that no training has seen: `rezept-train "
        "evaluate`.\n\n%s: groups that the claims do not tell apart, and what unequal error "
        "would mean here.\n",
        c->n_heads > 0 ? " Figures by sex and age band are under Model performance." : "",
        by_hospital);
}

static void say_output(card_page *p, const card *c)
{
    say(p, "\n### Model output (15)\n\n");
    if (c->n_heads == 0 && !is_onset(c))
        say(p, "Token states; risks once it is fine-tuned.\n");
    else
        say(p, "A probability, the 95 %% band of the calibration curve at its score, what patients "
               "scored alike had, and the average for age and sex. No threshold is set: "
               "`rezept-train evaluate` tells the net benefit of acting at each.\n");
}

static void say_splits(card_page *p, const card *c)
{
    const char *fold =
        c->options != NULL && c->n_options > 0 ? rz_options_text(c->options, "fold") : NULL;
    say(p,
        "\n### Training versus evaluation (16)\n\nPatients are dealt by a hash of their name and "
        "never change sides: ");
    if (fold != NULL)
        say(p, "fold %s is held out, a quarter of the rest is the tuning part.", fold);
    else
        say(p, "%s %% to train, tune and hold out.", RZ_SPLIT_SHARES);
    say(p, " Held-out patients were not used here. All parts come from the same hospitals and "
           "years.\n");
}

/* ---- the rest ---- */

static void say_ethics(card_page *p)
{
    say(p, "\n### Ethical approval (17)\n\n%s.\n", by_hospital);
    say(p,
        "\n## Open science (18)\n\n- code: Rezept %s, Apache-2.0\n- data and weights: made from "
        "claims, to be handled as these; not public\n- %s: funding, conflicts of interest, "
        "protocol, registration.\n",
        REZEPT_VERSION, by_hospital);
    say(p, "\n## Patient and public involvement (19)\n\n%s.\n", by_hospital);
}

/* The figures say it; words are for those who know the hospital. */
static void say_discussion(card_page *p, const card *c)
{
    say(p, "\n## Discussion\n\n### Interpretation (25)\n\n");
    for (size_t t = 0; t < c->n_heads; t++) {
        const json_t *m = c->heads[t].metrics, *base = json_object_get(m, "age_sex");
        const json_t *own = json_object_get(json_object_get(m, "auroc"), "value");
        const json_t *plain = json_object_get(json_object_get(base, "auroc"), "value");
        if (json_is_number(own) && json_is_number(plain))
            say(p, "- %s: AUROC %.3f, by age and sex alone %.3f, on the patients calibrated on\n",
                c->heads[t].task.name, json_number_value(own), json_number_value(plain));
    }
    say(p, "- %s: what this means for its patients.\n\n### Limitations (26)\n\n", by_hospital);
    if (p->status == RZ_OK)
        p->status = rz_card_limits(&p->text);
    say(p,
        "\n### Usability in care (27)\n\nReads claims as they are billed and asks for nothing "
        "else. It gives no risk, and says why, to who is dead, outside the population, has the "
        "outcome on record or too short a record.\n\n%s: who answers for decisions made with "
        "it.\n",
        by_hospital);
}

rz_status card_write(const card *c, rz_error *error)
{
    char path[PATH_MAX];
    card_page page = {.status = RZ_OK}, *p = &page;
    rz_buffer_init(&page.text, CARD_BYTES_MAX);
    say_title(p, c);
    say_background(p);
    say_source(p, c);
    say_participants(p, c);
    say_preparation(p, c);
    say_outcome(p, c);
    say_predictors(p, c);
    say_sample_size(p, c);
    say_missing(p);
    say_analysis(p, c);
    say_imbalance(p, c);
    say_fairness(p, c);
    say_output(p, c);
    say_splits(p, c);
    say_ethics(p);
    card_results(p, c);
    say_discussion(p, c);
    (void)snprintf(path, sizeof path, "%s/card.md", c->folder);
    rz_status status =
        page.status == RZ_OK
            ? rz_file_write(path, page.text.data, page.text.length, error)
            : rz_fail(error, page.status, "the card of %s cannot be made", c->folder);
    rz_buffer_done(&page.text);
    return status;
}
