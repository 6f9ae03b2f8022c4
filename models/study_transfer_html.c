/* The report's section on held-out facilities: for each task a picture and what it is made of, then
 * how well the risks are calibrated there. */
#include "base/size.h"
#include "report/chart_intervals.h"
#include "study_table.h"
#include "study_transfer.h"

#include <math.h>
#include <stdio.h>

enum { TITLE = 200, ENGINES_DRAWN = 3, NAMES = STUDY_LABELS_MAX + 2 };
enum { STYLE_FOREIGN, STYLE_LOCAL, STYLE_AGE_SEX = 4, STYLE_TRUTH = 6 };
static const size_t engine_style[ENGINES_DRAWN] = {2, 3, 5};

/* ---- the picture ---- */

typedef struct marks {
    double x[NAMES], y[NAMES], low[NAMES], high[NAMES];
    size_t n;
} marks;

/* Places from left to right: zero-shot, recalibrated, then the label counts. */
static void add_mark(marks *m, const study_group *g)
{
    double x = g->arm.transfer == STUDY_ZERO_SHOT      ? 0.0
               : g->arm.transfer == STUDY_RECALIBRATED ? 1.0
                                                       : (double)g->labels + 2.0;
    m->x[m->n] = x;
    m->y[m->n] = g->interval[STUDY_PRECISION].value;
    m->low[m->n] = g->interval[STUDY_PRECISION].low;
    m->high[m->n++] = g->interval[STUDY_PRECISION].high;
}

static bool is_of(const transfer_row *row, size_t task, int size, int engine)
{
    const study_group *g = row->group;
    return g->task == task && g->arm.engine == engine &&
           (engine != STUDY_NONE || g->arm.size == size);
}

/* The marks of the rows of one line: foreign, local, or an engine. */
static marks line_of(const study_transfer_findings *f, size_t task, int size, int engine,
                     bool local)
{
    marks m = {.n = 0};
    for (size_t i = 0; i < f->n_rows && m.n < NAMES; i++)
        if (is_of(&f->rows[i], task, size, engine) &&
            (f->rows[i].group->arm.transfer == STUDY_LOCAL) == local)
            add_mark(&m, f->rows[i].group);
    return m;
}

static rz_chart_marks drawn(const char *name, size_t style, const marks *m, bool joined)
{
    return (rz_chart_marks){.name = name,
                            .style = style,
                            .x = m->x,
                            .y = m->y,
                            .low = m->low,
                            .high = m->high,
                            .n = m->n,
                            .joined = joined};
}

static void draw(const study_transfer_findings *f, const study_design *d, size_t task, int size,
                 rz_page *p, rz_error *error)
{
    char title[TITLE], labels[STUDY_LABELS_MAX][STUDY_LABELS_TEXT];
    const char *names[NAMES] = {"zero-shot", "recalibrated"};
    marks line[2 + ENGINES_DRAWN];
    rz_chart_marks shown[2 + ENGINES_DRAWN];
    const study_statistics *s = study_transfer_shown(f);
    size_t n = 0;
    for (size_t l = 0; l < d->n_labels; l++)
        names[l + 2] = study_labels_text(d->labels[l], labels[l]);
    line[0] = line_of(f, task, size, STUDY_NONE, false);
    shown[n++] = drawn("learnt elsewhere first", STYLE_FOREIGN, &line[0], true);
    line[1] = line_of(f, task, size, STUDY_NONE, true);
    shown[n++] = drawn("local patients alone", STYLE_LOCAL, &line[1], true);
    for (int e = 0; e < (int)d->n_engines && e < ENGINES_DRAWN; e++) {
        line[n] = line_of(f, task, size, e, true);
        shown[n] = drawn(d->engines[e], engine_style[e], &line[n], true);
        n++;
    }
    const rz_chart_level truth = {"the truth itself", STYLE_TRUTH,
                                  s->truth[task][STUDY_PRECISION].value};
    const rz_axis x = {.label = "local labels", .names = names, .n_names = d->n_labels + 2};
    (void)snprintf(title, sizeof title, "%s: transfer, %s, %s", d->tasks[task].title_en,
                   d->sizes[size], f->open ? "held_out" : "tuning");
    if (p->failed == RZ_OK)
        p->failed = rz_chart_intervals(title, x, "average precision", shown, n, &truth,
                                       isnan(truth.value) ? 0 : 1, p->out, error);
}

/* ---- tables ---- */

/* Task and size in the first row of theirs. */
static void begin_transfer_row(const study_design *d, const study_transfer_findings *f, size_t i,
                               rz_page *p)
{
    const study_group *g = f->rows[i].group, *before = i > 0 ? f->rows[i - 1].group : NULL;
    char text[TRANSFER_TEXT];
    bool first = before == NULL || before->task != g->task;
    begin_row(p, first ? d->tasks[g->task].title_en : "");
    cell_text(p, g->arm.engine != STUDY_NONE ? "" : d->sizes[g->arm.size]);
    cell_text(p, study_transfer_text(d, g, text));
}

static void precisions(const study_transfer_findings *f, const study_design *d, rz_page *p)
{
    static const char *const headings[] = {"task", "size", "transfer", "seeds", "average precision",
                                           "AUROC"};
    begin_table(p, "Figures by kind of transfer", headings, RZ_COUNT(headings));
    for (size_t i = 0; i < f->n_rows; i++) {
        const study_group *g = f->rows[i].group;
        begin_transfer_row(d, f, i, p);
        cell_count(p, g->n_seeds);
        cell_interval(p, &g->interval[STUDY_PRECISION], 3);
        cell_interval(p, &g->interval[STUDY_AUROC], 3);
        end_row(p);
    }
    end_table(p);
}

/* Of models; baselines are what they are held against. */
static void differences(const study_transfer_findings *f, const study_design *d, rz_page *p)
{
    static const char *const headings[] = {"task",
                                           "size",
                                           "transfer",
                                           "minus zero-shot",
                                           "minus local, same labels",
                                           "minus the first baseline, same labels"};
    begin_table(p, "Average precision, paired differences", headings, RZ_COUNT(headings));
    for (size_t i = 0; i < f->n_rows; i++) {
        const transfer_row *row = &f->rows[i];
        if (row->group->arm.engine != STUDY_NONE)
            continue;
        begin_transfer_row(d, f, i, p);
        cell_interval(p, &row->minus_zero_shot, 3);
        cell_interval(p, &row->minus_local, 3);
        cell_interval(p, &row->minus_engine, 3);
        end_row(p);
    }
    end_table(p);
    rz_page_add(p, "<p class=\"soft\">Zero-shot and recalibrated models know all labels of the "
                   "other facilities and are held against local ones with all local labels. "
                   "Recalibration keeps the order of patients, and with it both figures, but for "
                   "ties.</p>\n");
}

static void calibrations(const study_transfer_findings *f, const study_design *d, rz_page *p)
{
    static const char *const headings[] = {
        "task", "size", "transfer", "observed / expected (1)", "slope (1)", "Brier score"};
    if (!f->open) {
        rz_page_add(p, "<p>Calibration is shown once held_out is opened: some of these models are "
                       "calibrated on the tuning patients.</p>\n");
        return;
    }
    begin_table(p, "Calibration by kind of transfer, of the first seed's model (held_out)",
                headings, RZ_COUNT(headings));
    for (size_t i = 0; i < f->n_rows; i++) {
        const rz_metrics *m = &f->rows[i].metrics;
        begin_transfer_row(d, f, i, p);
        cell_interval(p, &m->observed_to_expected, 2);
        cell_interval(p, &m->calibration_slope, 2);
        cell_interval(p, &m->brier, 4);
        end_row(p);
    }
    end_table(p);
}

static void panel_row(const study_design *d, const study_results *r, bool open, size_t task,
                      rz_page *p)
{
    begin_row(p, d->tasks[task].title_en);
    for (int split = 0; split < 2; split++) {
        const study_panel *n = split == 0 ? &r->transfer_tuning[task]
                               : open     ? &r->transfer_held_out[task]
                                          : NULL;
        if (n == NULL) {
            cell_text(p, "closed");
            cell_text(p, "");
            cell_text(p, "");
            continue;
        }
        cell_count(p, n->patients);
        cell_count(p, n->n);
        cell_count(p, n->positives);
    }
    end_row(p);
}

static void panels(const study_transfer_findings *f, const study_results *r, rz_page *p)
{
    static const char *const headings[] = {"task",     "tuning patients",   "index days",
                                           "positive", "held_out patients", "index days",
                                           "positive"};
    begin_table(p, "Patients of the held-out facilities", headings, RZ_COUNT(headings));
    for (size_t t = 0; t < r->design.n_tasks; t++)
        panel_row(&r->design, r, f->open, t, p);
    end_table(p);
}

void study_transfer_html(const study_transfer_findings *f, const study_results *r,
                         unsigned bootstraps, rz_page *p, rz_error *error)
{
    const study_design *d = &r->design;
    if (d->n_hold_out == 0)
        return;
    rz_page_add(p, "<h2>Transfer between institutions <span class=\"soft\">(");
    rz_page_add(p, f->open ? "held_out" : "tuning");
    rz_page_add(p, " patients of ");
    for (size_t i = 0; i < d->n_hold_out; i++) {
        rz_page_add(p, i > 0 ? ", " : "");
        rz_page_text(p, d->hold_out[i]);
    }
    rz_page_add(p,
                ")</span></h2>\n<p>No patient of these facilities was in the pretraining, the "
                "vocabulary, the training or the tuning of anything above. Here are their own "
                "patients, the same for every model: as models of the others find them "
                "(zero-shot), with the calibration alone fitted to their tuning patients, and with "
                "models that were pretrained at the others and fine-tuned with labels of theirs; "
                "beside models that were pretrained and fine-tuned on their patients alone, and "
                "baselines of their labels. Facilities that are held out together are looked at as "
                "one.</p>\n");
    if (f->n_rows == 0) {
        rz_page_add(p, "<p>Nothing of it is finished yet.</p>\n");
        return;
    }
    panels(f, r, p);
    rz_page_add(p, "<div class=\"charts small\">\n");
    for (size_t t = 0; t < d->n_tasks; t++)
        for (int size = 0; size < (int)d->n_sizes; size++)
            draw(f, d, t, size, p, error);
    rz_page_add(p, "</div>\n");
    precisions(f, d, p);
    differences(f, d, p);
    calibrations(f, d, p);
    rz_page_add(p, "<p class=\"soft\">In brackets: 95 % intervals from ");
    rz_page_count(p, bootstraps);
    rz_page_add(p, " resamples, over patients and seeds, of calibration over patients; in brackets "
                   "of headings: what is right. A kind that is missing is not finished, or the "
                   "patients here do not allow it. What one hospital shows need not hold at "
                   "another.</p>\n");
}
