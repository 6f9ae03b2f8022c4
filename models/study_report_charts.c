/* The pictures of a study. Each says in its title which task and which patients it shows. */
#include "study_findings.h"

#include "base/size.h"
#include "report/chart_intervals.h"
#include "report/charts.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { TITLE = 160, LEVEL_ENGINES = 3, CURVE = 40 };

/* What looks alike in all pictures. */
enum { STYLE_PRETRAINED, STYLE_SCRATCH, STYLE_AGE_SEX = 4, STYLE_TRUTH = 6, STYLE_ONSET = 7 };
static const size_t engine_style[LEVEL_ENGINES] = {2, 3, 5};

/* The marks of one arm along sizes or labels, or whatever is on the horizontal axis. */
typedef struct marks {
    double x[STUDY_SIZES_MAX], y[STUDY_SIZES_MAX], low[STUDY_SIZES_MAX], high[STUDY_SIZES_MAX];
    size_t n;
} marks;

static void add(marks *m, double x, const rz_interval *i)
{
    if (m->n == STUDY_SIZES_MAX)
        return;
    m->x[m->n] = x;
    m->y[m->n] = i->value;
    m->low[m->n] = i->low;
    m->high[m->n++] = i->high;
}

static rz_chart_marks drawn(const char *name, size_t style, const marks *m)
{
    return (rz_chart_marks){.name = name,
                            .style = style,
                            .x = m->x,
                            .y = m->y,
                            .low = m->low,
                            .high = m->high,
                            .n = m->n};
}

static void title_of(const study_findings *f, size_t task, const char *what, char out[TITLE])
{
    (void)snprintf(out, TITLE, "%s: %s, %s", f->results.design.tasks[task].title_en, what,
                   study_shown_name(f));
}

/* ---- size by task ---- */

void study_draw_sizes(const study_findings *f, size_t task, rz_page *p, rz_error *error)
{
    const study_design *d = &f->results.design;
    const study_statistics *s = study_shown(f);
    const size_t labels = f->routed[task].labels;
    marks start[STUDY_INITS] = {{.n = 0}};
    rz_chart_level levels[RZ_CHART_LEVELS_MAX];
    size_t n_levels = 0;
    char title[TITLE], all[STUDY_LABELS_TEXT], what[64];
    const study_group *any = NULL;
    for (int size = 0; size < (int)d->n_sizes; size++)
        for (int init = 0; init < STUDY_INITS; init++) {
            const study_arm arm = {size, STUDY_NONE, (study_init)init};
            const study_group *g = study_group_find(s, task, labels, arm);
            if (g != NULL)
                add(&start[init], size, &g->interval[STUDY_PRECISION]);
            any = g != NULL ? g : any;
        }
    if (!isnan(s->truth[task][STUDY_PRECISION].value))
        levels[n_levels++] = (rz_chart_level){"the truth itself", STYLE_TRUTH,
                                              s->truth[task][STUDY_PRECISION].value};
    for (int e = 0; e < (int)d->n_engines && e < LEVEL_ENGINES; e++) {
        const study_arm arm = {STUDY_NONE, e, STUDY_SCRATCH};
        const study_group *g = study_group_find(s, task, labels, arm);
        if (g != NULL)
            levels[n_levels++] = (rz_chart_level){d->engines[e], engine_style[e],
                                                  g->interval[STUDY_PRECISION].value};
    }
    if (any != NULL)
        levels[n_levels++] = (rz_chart_level){"age and sex alone", STYLE_AGE_SEX,
                                              any->age_sex_interval[STUDY_PRECISION].value};
    const rz_chart_marks shown[] = {drawn("pretrained", STYLE_PRETRAINED, &start[STUDY_PRETRAINED]),
                                    drawn("from scratch", STYLE_SCRATCH, &start[STUDY_SCRATCH]),
                                    drawn("all onsets", STYLE_ONSET, &start[STUDY_ONSET])};
    (void)snprintf(what, sizeof what, "%s labels", study_labels_text(d->labels[labels], all));
    title_of(f, task, what, title);
    const rz_axis x = {.label = "model size", .names = d->sizes, .n_names = d->n_sizes};
    if (p->failed == RZ_OK)
        p->failed = rz_chart_intervals(title, x, "average precision", shown, RZ_COUNT(shown),
                                       levels, n_levels, p->out, error);
}

/* ---- label efficiency ---- */

void study_draw_labels(const study_findings *f, size_t task, rz_page *p, rz_error *error)
{
    const study_design *d = &f->results.design;
    const study_statistics *s = study_shown(f);
    const study_choice *c = &f->routed[task];
    if (c->chosen == STUDY_NONE)
        return;
    const int size = c->sizes[c->chosen].size;
    char name[STUDY_LABELS_MAX][STUDY_LABELS_TEXT], title[TITLE], own[2][STUDY_ARM_TEXT];
    const char *names[STUDY_LABELS_MAX];
    marks line[RZ_CHART_MARKS_MAX] = {{.n = 0}};
    rz_chart_marks shown[RZ_CHART_MARKS_MAX];
    size_t n = 0;
    for (size_t l = 0; l < d->n_labels; l++)
        names[l] = study_labels_text(d->labels[l], name[l]);
    for (int init = 0; init < 2; init++) {
        const study_arm arm = {size, STUDY_NONE, (study_init)init};
        for (size_t l = 0; l < d->n_labels; l++) {
            const study_group *g = study_group_find(s, task, l, arm);
            if (g != NULL)
                add(&line[n], (double)l, &g->interval[STUDY_PRECISION]);
            if (g != NULL && arm.init == c->init)
                add(&line[RZ_CHART_MARKS_MAX - 1], (double)l,
                    &g->age_sex_interval[STUDY_PRECISION]);
        }
        shown[n] = drawn(study_arm_text(d, arm, own[init]), (size_t)init, &line[n]);
        n += line[n].n > 0 ? 1 : 0;
    }
    for (int e = 0; e < (int)d->n_engines && e < LEVEL_ENGINES; e++) {
        const study_arm arm = {STUDY_NONE, e, STUDY_SCRATCH};
        for (size_t l = 0; l < d->n_labels; l++) {
            const study_group *g = study_group_find(s, task, l, arm);
            if (g != NULL)
                add(&line[n], (double)l, &g->interval[STUDY_PRECISION]);
        }
        shown[n] = drawn(d->engines[e], engine_style[e], &line[n]);
        n += line[n].n > 0 ? 1 : 0;
    }
    shown[n++] = drawn("age and sex alone", STYLE_AGE_SEX, &line[RZ_CHART_MARKS_MAX - 1]);
    for (size_t i = 0; i < n; i++)
        shown[i].joined = true;
    const rz_chart_level truth = {"the truth itself", STYLE_TRUTH,
                                  s->truth[task][STUDY_PRECISION].value};
    const rz_axis x = {.label = "labels", .names = names, .n_names = d->n_labels};
    title_of(f, task, "by labels", title);
    if (p->failed == RZ_OK)
        p->failed = rz_chart_intervals(title, x, "average precision", shown, n, &truth,
                                       isnan(truth.value) ? 0 : 1, p->out, error);
}

/* ---- cost against accuracy ---- */

/* CPU time of one fit of the task, and of the pretraining it started from where that is known. */
static double cpu_of(const study_findings *f, const study_group *g)
{
    double sum = 0.0;
    for (size_t i = 0; i < g->n_seeds; i++) {
        const study_cell *c = &f->results.cells[g->measure[i]->cell];
        sum += c->cpu_seconds / (double)c->n_tasks / (double)g->n_seeds;
    }
    const study_cost *start = g->arm.size != STUDY_NONE ? &f->pretrain[g->arm.size] : NULL;
    bool pretrained = start != NULL && g->arm.init != STUDY_SCRATCH && start->cells > 0;
    return sum + (pretrained ? start->cpu_seconds / (double)start->cells : 0.0);
}

enum { COST_PRETRAINED, COST_SCRATCH, COST_ONSET, COST_BASELINE, COST_CHOSEN, COST_KINDS };

void study_draw_cost(const study_findings *f, size_t task, rz_page *p, rz_error *error)
{
    static const char *const names[] = {"pretrained", "from scratch", "all onsets", "baselines",
                                        "the size that answers"};
    static const size_t styles[] = {STYLE_PRETRAINED, STYLE_SCRATCH, STYLE_ONSET, 2, 3};
    const study_design *d = &f->results.design;
    const study_statistics *s = study_shown(f);
    const study_choice *c = &f->routed[task];
    marks kind[COST_KINDS] = {{.n = 0}};
    const char *texts[COST_KINDS][STUDY_SIZES_MAX];
    char title[TITLE];
    for (size_t i = 0; i < s->n_groups; i++) {
        const study_group *g = &s->groups[i];
        if (g->task != task || g->labels != c->labels)
            continue;
        bool engine = g->arm.engine != STUDY_NONE;
        bool chosen = !engine && c->chosen != STUDY_NONE && g->arm.init == c->init &&
                      g->arm.size == c->sizes[c->chosen].size;
        int k = engine                         ? COST_BASELINE
                : chosen                       ? COST_CHOSEN
                : g->arm.init == STUDY_SCRATCH ? COST_SCRATCH
                : g->arm.init == STUDY_ONSET   ? COST_ONSET
                                               : COST_PRETRAINED;
        if (kind[k].n == STUDY_SIZES_MAX)
            continue;
        texts[k][kind[k].n] = engine ? d->engines[g->arm.engine] : d->sizes[g->arm.size];
        add(&kind[k], cpu_of(f, g), &g->interval[STUDY_PRECISION]);
    }
    rz_chart_marks shown[COST_KINDS];
    for (int k = 0; k < COST_KINDS; k++) {
        shown[k] = drawn(names[k], styles[k], &kind[k]);
        shown[k].texts = texts[k];
        shown[k].low = shown[k].high = NULL;
    }
    const rz_axis x = {.label = "CPU seconds of training", .logarithmic = true};
    title_of(f, task, "cost and accuracy", title);
    if (p->failed == RZ_OK)
        p->failed = rz_chart_intervals(title, x, "average precision", shown, COST_KINDS, NULL, 0,
                                       p->out, error);
}

/* ---- pretraining ---- */

static void draw_curves(const study_findings *f, rz_page *p, rz_error *error)
{
    rz_series series[RZ_CHART_SERIES_MAX];
    double *own[RZ_CHART_SERIES_MAX];
    size_t n = 0;
    for (int size = 0; size < (int)f->results.design.n_sizes && n < RZ_CHART_SERIES_MAX; size++) {
        const study_cell *c = study_pretraining(&f->results, size);
        size_t points = c != NULL ? json_array_size(c->loss_by_tokens) : 0;
        if (points == 0)
            continue;
        double *x = calloc(2 * points, sizeof *x);
        if (x == NULL) {
            p->failed = p->failed == RZ_OK ? RZ_E_NO_MEMORY : p->failed;
            break;
        }
        for (size_t k = 0; k < points; k++) {
            const json_t *pair = json_array_get(c->loss_by_tokens, k);
            x[k] = json_number_value(json_array_get(pair, 0));
            x[points + k] = json_number_value(json_array_get(pair, 1));
        }
        own[n] = x;
        series[n++] = (rz_series){f->results.design.sizes[c->size], x, x + points, points};
    }
    if (p->failed == RZ_OK)
        p->failed = rz_chart_curves("Pretraining loss on the tuning split", "tokens seen", "loss",
                                    series, n, p->out, error);
    for (size_t i = 0; i < n; i++)
        free(own[i]);
}

static void draw_law(const study_findings *f, rz_page *p, rz_error *error)
{
    marks measured = {.n = 0};
    double x[CURVE], y[CURVE], low = INFINITY, high = 0.0;
    const char *texts[STUDY_SIZES_MAX];
    for (int size = 0; size < (int)f->results.design.n_sizes; size++) {
        const study_cell *c = study_pretraining(&f->results, size);
        if (c == NULL || !(c->parameters > 0.0))
            continue;
        const rz_interval loss = {c->tuning_loss, NAN, NAN};
        texts[measured.n] = f->results.design.sizes[c->size];
        add(&measured, c->parameters, &loss);
        low = fmin(low, c->parameters);
        high = fmax(high, c->parameters);
    }
    bool fitted = f->by_parameters.reason == NULL;
    for (int i = 0; fitted && i < CURVE; i++) {
        x[i] = low * pow(high / low, (double)i / (CURVE - 1));
        y[i] = power_law_at(&f->by_parameters, x[i]);
    }
    rz_chart_marks shown[2] = {drawn("measured", STYLE_PRETRAINED, &measured),
                               {.name = "fitted power law",
                                .style = STYLE_SCRATCH,
                                .x = x,
                                .y = y,
                                .n = CURVE,
                                .bare = true}};
    shown[0].texts = texts;
    const rz_axis across = {.label = "parameters", .logarithmic = true};
    if (p->failed == RZ_OK)
        p->failed = rz_chart_intervals("Pretraining loss by parameters, tuning", across, "loss",
                                       shown, fitted ? 2 : 1, NULL, 0, p->out, error);
}

void study_draw_pretraining(const study_findings *f, rz_page *p, rz_error *error)
{
    rz_page_add(p, "<div class=\"charts\">\n");
    draw_curves(f, p, error);
    draw_law(f, p, error);
    rz_page_add(p, "</div>\n");
}
