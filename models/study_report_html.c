/* report.html of a study, for a reader who knows medicine and statistics but not this program.
 * Every table and picture says whether it is of tuning or of held_out patients. */
#include "study_findings.h"
#include "study_table.h"

#include "base/size.h"
#include "report/charts.h"
#include "report/report.h"

#include <math.h>
#include <string.h>

/* ---- the answer ---- */

static const char *size_name(const study_findings *f, const study_choice *c, int place)
{
    return place != STUDY_NONE ? f->results.design.sizes[c->sizes[place].size] : "-";
}

static void answer(const study_findings *f, rz_page *p)
{
    static const char *const headings[] = {"task",
                                           "labels",
                                           "size that answers",
                                           "best size",
                                           "smallest within the margin",
                                           "average precision, tuning",
                                           "average precision, held_out",
                                           "fewer parameters than the largest"};
    const study_design *d = &f->results.design;
    char labels[STUDY_LABELS_TEXT], why[STUDY_WHY];
    rz_page_add(p, "<h2>The answer</h2>\n");
    begin_table(p, NULL, headings, RZ_COUNT(headings));
    for (size_t t = 0; t < d->n_tasks; t++) {
        const study_choice *c = &f->routed[t];
        const rz_interval none = {NAN, NAN, NAN};
        const study_group *own = c->chosen != STUDY_NONE ? c->sizes[c->chosen].group : NULL;
        const study_group *held =
            own != NULL ? study_group_find(&f->held_out, t, c->labels, own->arm) : NULL;
        begin_row(p, d->tasks[t].title_en);
        cell_text(p, study_labels_text(d->labels[c->labels], labels));
        cell_text(p, size_name(f, c, c->chosen));
        cell_text(p, size_name(f, c, c->best));
        cell_text(p, size_name(f, c, c->saturated));
        cell_interval(p, own != NULL ? &own->interval[STUDY_PRECISION] : &none, 3);
        if (f->options.open_held_out)
            cell_interval(p, held != NULL ? &held->interval[STUDY_PRECISION] : &none, 3);
        else
            cell_text(p, "closed");
        cell_percent(p, study_choice_parameters_saved(c));
        end_row(p);
    }
    end_table(p);
    rz_page_add(p, "<ul>\n");
    for (size_t t = 0; t < d->n_tasks; t++) {
        rz_page_add(p, "<li>");
        rz_page_text(p, d->tasks[t].title_en);
        rz_page_add(p, ": ");
        rz_page_text(p, study_choice_why(&f->results, &f->routed[t], why));
        rz_page_add(p, study_choice_model(&f->results, &f->routed[t]) == NULL
                           ? ". No model of it was kept, so that nothing can be served.</li>\n"
                           : ".</li>\n");
    }
    rz_page_add(p, "</ul>\n<p>Sizes are chosen on tuning patients only, by average precision. A "
                   "size lies within the margin when the one-sided 95 % lower bound of its average "
                   "precision minus the best size's is above minus ");
    rz_page_number(p, 100.0 * f->options.margin, 1);
    rz_page_add(p, " % of the best. What answers is, as asked for, the ");
    rz_page_add(p, f->options.prefer == STUDY_PREFER_COST ? "smallest size within the margin"
                                                          : "size with the highest value");
    rz_page_add(
        p, ". With few positive patients bounds are wide: a smaller size then cannot be shown to "
           "be enough, and the best one is kept.</p>\n");
}

/* ---- what was done ---- */

static size_t cells_of(const study_findings *f, study_kind kind)
{
    size_t n = 0;
    for (size_t i = 0; i < f->results.n_cells; i++)
        n += f->results.cells[i].kind == kind && f->results.cells[i].transfer == STUDY_GRID;
    return n;
}

static const char *hold_out_text(const study_design *d, char out[RZ_FACILITIES_TEXT])
{
    int at = 0;
    for (size_t i = 0; i < d->n_hold_out; i++)
        at += snprintf(out + at, (size_t)(RZ_FACILITIES_TEXT - at), "%s%.127s", i > 0 ? ", " : "",
                       d->hold_out[i]);
    return out;
}

static void done(const study_findings *f, rz_page *p)
{
    char held_out[RZ_FACILITIES_TEXT];
    const study_design *d = &f->results.design;
    rz_page_add(p, "<h2>What was asked and done</h2>\n<table class=\"facts\"><tbody>\n");
    rz_page_row(p, "command", d->command, "hash");
    rz_page_row(p, "claims", d->db, "hash");
    rz_page_row(p, "claims (SHA-256)", d->data_sha256, "hash");
    if (d->n_hold_out > 0)
        rz_page_row(p, "facilities held out", hold_out_text(d, held_out), "");
    rz_page_row(p, "code version", d->code_version, "");
    rz_page_row(p, "started", d->started_at, "");
    rz_page_add(p, "</tbody></table>\n<p>Finished: ");
    rz_page_count(p, cells_of(f, STUDY_PRETRAIN));
    rz_page_add(p, " pretrainings, ");
    rz_page_count(p, cells_of(f, STUDY_FINETUNE));
    rz_page_add(p, " fine-tunings, ");
    rz_page_count(p, cells_of(f, STUDY_BASELINE));
    rz_page_add(p, " baselines. They measure ");
    rz_page_count(p, f->done);
    rz_page_add(p, " of the ");
    rz_page_count(p, f->wanted);
    rz_page_add(p, " fits of the whole grid (task, size pretrained and from scratch or baseline, "
                   "label count, seed; and once a size and seed all onsets at once); ");
    rz_page_count(p, f->wanted > f->done ? f->wanted - f->done : 0);
    rz_page_add(p, " are left or were not asked for.</p>\n<p>held_out was opened ");
    size_t opened = json_array_size(f->held_out_opened);
    rz_page_count(p, opened);
    rz_page_add(p, opened == 1 ? " time" : " times");
    for (size_t i = 0; i < opened; i++) {
        const char *when = json_string_value(json_array_get(f->held_out_opened, i));
        rz_page_add(p, i == 0 ? ": " : ", ");
        rz_page_text(p, when != NULL ? when : "-");
    }
    rz_page_add(p, f->options.open_held_out ? ".</p>\n" : "; it is closed in this report.</p>\n");
}

static void patients(const study_findings *f, rz_page *p)
{
    static const char *const headings[] = {"task",       "tuning patients", "index days",
                                           "positive",   "share",           "held_out patients",
                                           "index days", "positive",        "share"};
    const study_results *r = &f->results;
    size_t left_out = 0;
    begin_table(p, "Patients that figures are computed on, and their index days", headings,
                RZ_COUNT(headings));
    for (size_t t = 0; t < r->design.n_tasks; t++) {
        begin_row(p, r->design.tasks[t].title_en);
        for (int split = 0; split < 2; split++) {
            const study_panel *n = split == 0            ? &r->tuning[t]
                                   : r->held_out != NULL ? &r->held_out[t]
                                                         : NULL;
            if (n == NULL) {
                cell_text(p, "closed");
                cell_text(p, "");
                cell_text(p, "");
                cell_text(p, "");
                continue;
            }
            left_out += n->left_out;
            cell_count(p, n->patients);
            cell_count(p, n->n);
            cell_count(p, n->positives);
            cell_number(p, 100.0 * (double)n->positives / (double)n->n, 1);
            rz_page_add(p, n->n > 0 ? " %" : "");
        }
        end_row(p);
    }
    end_table(p);
    if (left_out > 0) {
        rz_page_add(p, "<p class=\"soft\">");
        rz_page_count(p, left_out);
        rz_page_add(p, left_out == 1 ? " index day is" : " index days are");
        rz_page_add(p, " left out, because the simulator does not tell its true risk (the outcome "
                       "was coded already and the hospital did not know).</p>\n");
    }
}

/* ---- pretraining ---- */

static void law(const power_law *l, const char *of, rz_page *p)
{
    rz_page_add(p, "<p>Loss by ");
    rz_page_text(p, of);
    rz_page_add(p, ": ");
    if (l->reason != NULL) {
        rz_page_add(p, "no power law (");
        rz_page_text(p, l->reason);
        rz_page_add(p, ").</p>\n");
        return;
    }
    rz_page_add(p, "L = a + b x<sup>-c</sup> with a = ");
    rz_page_interval(p, &l->a, 3);
    rz_page_add(p, ", c = ");
    rz_page_interval(p, &l->c, 3);
    rz_page_add(p, "; ");
    rz_page_count(p, l->n);
    rz_page_add(p, " points.</p>\n");
}

static void pretraining(const study_findings *f, rz_page *p, rz_error *error)
{
    static const char *const headings[] = {
        "size",      "parameters, millions", "tokens, millions", "loss, tuning", "hours",
        "CPU hours", "memory, GiB"};
    const study_design *d = &f->results.design;
    rz_page_add(p, "<h2>Pretraining (loss on the tuning split)</h2>\n");
    if (cells_of(f, STUDY_PRETRAIN) == 0) {
        rz_page_add(p, "<p>No pretraining is a part of this study: its encoders were taken as they "
                       "were.</p>\n");
        return;
    }
    study_draw_pretraining(f, p, error);
    begin_table(p, NULL, headings, RZ_COUNT(headings));
    for (int size = 0; size < (int)d->n_sizes; size++) {
        const study_cell *c = study_pretraining(&f->results, size);
        if (c == NULL)
            continue;
        begin_row(p, d->sizes[size]);
        cell_number(p, c->parameters / 1e6, 2);
        cell_number(p, c->tokens / 1e6, 1);
        cell_number(p, c->tuning_loss, 3);
        cell_number(p, c->seconds / 3600.0, 2);
        cell_number(p, c->cpu_seconds / 3600.0, 2);
        cell_number(p, c->peak_bytes / (1 << 30), 2);
        end_row(p);
    }
    end_table(p);
    law(&f->by_parameters, "parameters, over sizes", p);
    for (size_t i = 0; i < d->n_sizes; i++) {
        char of[64];
        (void)snprintf(of, sizeof of, "tokens, %.40s", d->sizes[i]);
        if (f->pretrain[i].cells > 0)
            law(&f->by_tokens[i], of, p);
    }
    rz_page_add(p,
                "<p class=\"soft\">Intervals of the laws are from residuals drawn again; with few "
                "points they are rough, and a law is no promise beyond the sizes and tokens "
                "measured. Points of a curve are not independent of each other.</p>\n");
}

/* ---- sizes and labels ---- */

typedef void draw_fn(const study_findings *f, size_t task, rz_page *p, rz_error *error);

static void pictures(const study_findings *f, draw_fn *draw, rz_page *p, rz_error *error)
{
    rz_page_add(p, "<div class=\"charts small\">\n");
    for (size_t t = 0; t < f->results.design.n_tasks; t++)
        draw(f, t, p, error);
    rz_page_add(p, "</div>\n");
}

static void heading(const study_findings *f, const char *what, rz_page *p)
{
    rz_page_add(p, "<h2>");
    rz_page_text(p, what);
    rz_page_add(p, " <span class=\"soft\">(");
    rz_page_add(p, study_shown_name(f));
    rz_page_add(p, " patients)</span></h2>\n");
}

static void saturation(const study_findings *f, rz_page *p)
{
    static const char *const headings[] = {"task",
                                           "labels",
                                           "size",
                                           "seeds",
                                           "average precision",
                                           "AUROC",
                                           "minus best",
                                           "lower bound",
                                           "within the margin"};
    const study_design *d = &f->results.design;
    begin_table(p, "Saturation, decided on tuning patients", headings, RZ_COUNT(headings));
    for (size_t i = 0; i < d->n_tasks * d->n_labels; i++) {
        const study_choice *c = &f->choices[i];
        char labels[STUDY_LABELS_TEXT];
        for (size_t k = 0; k < c->n_sizes; k++) {
            const study_size *z = &c->sizes[k];
            begin_row(p, k == 0 ? d->tasks[c->task].title_en : "");
            cell_text(p, k == 0 ? study_labels_text(d->labels[c->labels], labels) : "");
            cell_text(p, d->sizes[z->size]);
            cell_count(p, z->group->n_seeds);
            cell_interval(p, &z->group->interval[STUDY_PRECISION], 3);
            cell_interval(p, &z->group->interval[STUDY_AUROC], 3);
            if ((int)k == c->best) {
                cell_text(p, "best");
                cell_text(p, "");
            } else {
                cell_interval(p, &z->below_best, 3);
                cell_number(p, z->lower_bound, 3);
            }
            cell_text(p, z->within ? (int)k == c->saturated ? "yes, the smallest" : "yes" : "no");
            end_row(p);
        }
    }
    end_table(p);
}

/* ---- comparisons ---- */

/* What the chosen arm is held against; where a larger size is, that one stands first. */
static void contrast_name(const study_findings *f, const study_contrast *c,
                          const study_choice *choice, rz_page *p)
{
    const study_design *d = &f->results.design;
    const study_statistics *s = study_shown(f);
    const study_arm a = s->groups[c->a].arm;
    char text[STUDY_ARM_TEXT];
    if (c->kind == STUDY_SHARE_OF_TRUTH) {
        rz_page_add(p, "share of the truth's");
    } else if (c->b == SIZE_MAX) {
        rz_page_add(p,
                    c->kind == STUDY_BELOW_TRUTH ? "minus the truth" : "minus age and sex alone");
    } else if (a.size != choice->sizes[choice->chosen].size || c->kind == STUDY_ONSETS) {
        rz_page_text(p, study_arm_text(d, a, text));
        rz_page_add(p, " minus it");
    } else {
        rz_page_add(p, "minus ");
        rz_page_text(p, study_arm_text(d, s->groups[c->b].arm, text));
    }
}

/* Of the chosen arm, on either side. */
static bool of_choice(const study_statistics *s, const study_contrast *c,
                      const study_choice *choice)
{
    const study_arm own = choice->sizes[choice->chosen].group->arm, a = s->groups[c->a].arm;
    if (a.size == own.size && a.init == own.init)
        return true;
    const bool either = c->kind == STUDY_SIZES || c->kind == STUDY_ONSETS;
    const study_arm b = either ? s->groups[c->b].arm : a;
    return b.size == own.size && b.init == own.init;
}

/* The same comparison at another label count; NULL where it was not measured. */
static const study_contrast *at_labels(const study_statistics *s, const study_contrast *like,
                                       size_t labels)
{
    const study_group *a = &s->groups[like->a];
    const study_group *first = study_group_find(s, a->task, labels, a->arm);
    const study_group *second =
        like->b != SIZE_MAX ? study_group_find(s, a->task, labels, s->groups[like->b].arm) : NULL;
    for (size_t i = 0; first != NULL && i < s->n_contrasts; i++) {
        const study_contrast *c = &s->contrasts[i];
        if (c->kind == like->kind && &s->groups[c->a] == first &&
            (like->b == SIZE_MAX || (second != NULL && &s->groups[c->b] == second)))
            return c;
    }
    return NULL;
}

static void comparison_row(const study_findings *f, const study_contrast *c,
                           const study_choice *choice, rz_page *p)
{
    const study_statistics *s = study_shown(f);
    rz_page_add(p, "<tr><td>");
    contrast_name(f, c, choice, p);
    for (size_t l = 0; l < f->results.design.n_labels; l++) {
        const rz_interval none = {NAN, NAN, NAN};
        const study_contrast *same = at_labels(s, c, l);
        cell_interval(p, same != NULL ? &same->interval[STUDY_PRECISION] : &none, 3);
    }
    cell_interval(p, &c->interval[STUDY_AUROC], 3);
    end_row(p);
}

static void comparisons(const study_findings *f, rz_page *p)
{
    const study_design *d = &f->results.design;
    const study_statistics *s = study_shown(f);
    char name[STUDY_LABELS_MAX][64], labels[STUDY_LABELS_TEXT];
    const char *headings[STUDY_LABELS_MAX + 2] = {"the chosen size"};
    for (size_t l = 0; l < d->n_labels; l++) {
        (void)snprintf(name[l], sizeof name[l], "average precision, %s labels",
                       study_labels_text(d->labels[l], labels));
        headings[l + 1] = name[l];
    }
    headings[d->n_labels + 1] = "AUROC, most labels";
    heading(f, "The chosen size against everything else", p);
    begin_table(p, NULL, headings, d->n_labels + 2);
    for (size_t t = 0; t < d->n_tasks; t++) {
        const study_choice *choice = &f->routed[t];
        char arm[STUDY_ARM_TEXT];
        if (choice->chosen == STUDY_NONE)
            continue;
        rz_page_add(p, "<tr><th scope=\"rowgroup\">");
        rz_page_text(p, d->tasks[t].title_en);
        rz_page_add(p, ", ");
        rz_page_text(p, study_arm_text(d, choice->sizes[choice->chosen].group->arm, arm));
        rz_page_add(p, "</th>");
        for (size_t l = 0; l <= d->n_labels; l++)
            rz_page_add(p, "<td></td>");
        rz_page_add(p, "</tr>\n");
        for (size_t i = 0; i < s->n_contrasts; i++) {
            const study_group *a = &s->groups[s->contrasts[i].a];
            if (a->task != t || a->labels != choice->labels ||
                !of_choice(s, &s->contrasts[i], choice))
                continue;
            comparison_row(f, &s->contrasts[i], choice, p);
        }
    }
    end_table(p);
    rz_page_add(p, "<p class=\"soft\">Paired: both sides on the same resampled patients and, where "
                   "they have equally many seeds, the same seeds. All other comparisons are in "
                   "report.json.</p>\n");
}

/* ---- calibration ---- */

static void calibration(const study_findings *f, rz_page *p, rz_error *error)
{
    static const char *const headings[] = {"task",
                                           "slope (1)",
                                           "intercept (0)",
                                           "observed / expected (1)",
                                           "Brier score",
                                           "predicted / true mean (1)",
                                           "slope to the truth (1)"};
    const study_design *d = &f->results.design;
    rz_page_add(p, "<h2>Calibration of the model that answers <span class=\"soft\">(held_out "
                   "patients)</span></h2>\n");
    if (!f->options.open_held_out) {
        rz_page_add(p, "<p>held_out is closed. On the tuning split calibration would look right by "
                       "construction, because it is fitted there; it is shown once held_out is "
                       "opened.</p>\n");
        return;
    }
    begin_table(p, NULL, headings, RZ_COUNT(headings));
    for (size_t t = 0; t < d->n_tasks; t++) {
        const study_check *k = &f->checks[t];
        begin_row(p, d->tasks[t].title_en);
        if (!k->made) {
            rz_page_add(p, "</td><td colspan=\"6\">nothing was chosen");
            end_row(p);
            continue;
        }
        cell_interval(p, &k->metrics.calibration_slope, 2);
        cell_interval(p, &k->metrics.calibration_intercept, 2);
        cell_interval(p, &k->metrics.observed_to_expected, 2);
        cell_interval(p, &k->metrics.brier, 4);
        const rz_interval none = {NAN, NAN, NAN};
        cell_interval(p, k->truth_known ? &k->truth.ratio : &none, 3);
        cell_interval(p, k->truth_known ? &k->truth.slope : &none, 2);
        end_row(p);
    }
    end_table(p);
    rz_page_add(p,
                "<p class=\"soft\">In brackets of the headings: what is right. Slope to the truth: "
                "of logit(true) on logit(predicted), where the true risk is known; asked for are "
                "0.95 to 1.05 and 0.9 to 1.1.</p>\n"
                "<div class=\"charts\">\n");
    for (size_t t = 0; t < d->n_tasks; t++) {
        if (!f->checks[t].made)
            continue;
        rz_page_add(p, "<figure><figcaption>");
        rz_page_text(p, d->tasks[t].title_en);
        rz_page_add(p, ", held_out</figcaption>\n");
        if (p->failed == RZ_OK)
            p->failed = rz_chart_calibration(&f->checks[t].metrics, p->out, error);
        rz_page_add(p, "</figure>\n");
    }
    rz_page_add(p, "</div>\n");
}

/* ---- cost ---- */

static void cost_row(rz_page *p, const char *name, const char *what, const study_cost *c)
{
    if (c->cells == 0)
        return;
    double n = (double)c->cells;
    begin_row(p, name);
    rz_page_add(p, ", ");
    rz_page_text(p, what);
    cell_count(p, c->cells);
    cell_number(p, c->seconds / 3600.0, 2);
    cell_number(p, c->cpu_seconds / 3600.0, 2);
    cell_number(p, c->cpu_seconds / n, 0);
    cell_number(p, c->peak_bytes / (1 << 30), 2);
    end_row(p);
}

/* What was done at held-out facilities. */
static const char *const transfer_work[STUDY_TRANSFERS] = {
    [STUDY_GRID] = "",
    [STUDY_ZERO_SHOT] = "zero-shot",
    [STUDY_RECALIBRATED] = "recalibration",
    [STUDY_TUNED] = "fine-tuning with local labels",
    [STUDY_LOCAL] = "local pretraining, fine-tuning and baselines"};

static void costs(const study_findings *f, rz_page *p, rz_error *error)
{
    static const char *const headings[] = {
        "work", "cells", "hours", "CPU hours", "CPU seconds a cell", "memory, GiB"};
    const study_design *d = &f->results.design;
    heading(f, "Cost against accuracy", p);
    pictures(f, study_draw_cost, p, error);
    rz_page_add(p,
                "<p class=\"soft\">CPU time of one fit of the task, and of the pretraining where "
                "that is a part of this study; it stands for energy. A fit of several tasks at "
                "once is divided among them; a pretraining serves all tasks and is counted whole "
                "in each.</p>\n");
    begin_table(p, "What the cells took together", headings, RZ_COUNT(headings));
    for (size_t i = 0; i < d->n_sizes; i++) {
        cost_row(p, d->sizes[i], "pretraining", &f->pretrain[i]);
        cost_row(p, d->sizes[i], "fine-tuning, pretrained", &f->finetune[i][STUDY_PRETRAINED]);
        cost_row(p, d->sizes[i], "fine-tuning, from scratch", &f->finetune[i][STUDY_SCRATCH]);
        cost_row(p, d->sizes[i], "fine-tuning, all onsets at once", &f->finetune[i][STUDY_ONSET]);
    }
    for (size_t i = 0; i < d->n_engines; i++)
        cost_row(p, d->engines[i], "baseline", &f->baseline[i]);
    for (int t = STUDY_ZERO_SHOT; t < STUDY_TRANSFERS; t++)
        cost_row(p, "held-out facilities", transfer_work[t], &f->transfers[t]);
    end_table(p);
}

/* ---- limits ---- */

static void limits(const study_findings *f, rz_page *p)
{
    rz_page_add(p, "<h2>Limits</h2>\n<ul>\n<li>Intervals are 95 % percentiles of ");
    rz_page_count(p, f->options.bootstraps);
    rz_page_add(p, " resamples of patients and of seeds (seed ");
    rz_page_count(p, (size_t)f->options.seed);
    rz_page_add(
        p,
        "). A patient with several index days is drawn with all of them. Where an arm has one "
        "seed, its interval holds the chance of patients alone; with a few "
        "seeds it holds less than all of the chance of training.</li>\n"
        "<li>The size is chosen on the same tuning patients that its tuning figures are computed "
        "on, and models and calibrations are tuned there too: tuning figures are a little too "
        "good. Those of held_out are not.</li>\n"
        "<li>Many comparisons are shown and none is adjusted for their number.</li>\n"
        "<li>Subgroups and decision curves are of one model a task, the one that answers, and of "
        "no other.</li>\n"
        "<li>Fits that are not finished are absent, not counted as failures; sizes, seeds and "
        "label counts may therefore differ between arms. The saturation table gives the "
        "seeds.</li>\n"
        "<li>A dash stands for a figure that does not exist, for want of positive patients or of "
        "anything measured.</li>\n</ul>\n");
}

rz_status study_report_html(const study_findings *f, rz_buffer *out, rz_error *error)
{
    rz_page page, *p = &page;
    rz_page_begin(p, "Rezept study", out);
    rz_page_add(p, "<h1>Which model size for which task</h1>\n<p class=\"soft\">Study of ");
    const study_design *design = &f->results.design;
    rz_page_count(p, design->n_sizes);
    rz_page_add(p, design->n_sizes == 1 ? " model size and " : " model sizes and ");
    rz_page_count(p, design->n_engines);
    rz_page_add(p, design->n_engines == 1 ? " baseline on " : " baselines on ");
    rz_page_count(p, design->n_tasks);
    rz_page_add(p, design->n_tasks == 1 ? " task; figures on " : " tasks; figures on ");
    rz_page_add(p, f->options.open_held_out ? "held_out patients, choices on tuning patients"
                                            : "tuning patients; held_out is closed");
    rz_page_add(p, "</p>\n<p class=\"notice\">" RZ_REPORT_NOTICE "</p>\n");
    answer(f, p);
    done(f, p);
    study_page_attrition(f, p);
    patients(f, p);
    heading(f, "Average precision by size", p);
    pictures(f, study_draw_sizes, p, error);
    rz_page_add(p,
                "<p class=\"soft\">Vertical bars: 95 % intervals, over patients and seeds. Dashed: "
                "the same labels without an encoder, and the true risk where it is known, the "
                "highest that can be reached.</p>\n");
    saturation(f, p);
    heading(f, "Average precision by number of labels", p);
    pictures(f, study_draw_labels, p, error);
    comparisons(f, p);
    calibration(f, p, error);
    study_page_groups(f, p, error);
    study_transfer_html(&f->transfer, &f->results, f->options.bootstraps, p, error);
    costs(f, p, error);
    pretraining(f, p, error);
    limits(f, p);
    return rz_page_end(p, error);
}
