/* What an evaluation leaves: the table on standard output, and report.json, report.html and
 * scores.csv. */
#include "base/file.h"
#include "base/size.h"
#include "evaluate.h"
#include "tasks/age_sex.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- the table on standard output ---- */

static const char *figure(double value, int decimals, char out[16])
{
    if (isfinite(value))
        (void)snprintf(out, 16, "%.*f", decimals, value);
    else
        (void)snprintf(out, 16, "-");
    return out;
}

static void print_task(const rz_report_task *t, bool truth)
{
    char a[16], b[16], c[16], interval[40] = "";
    if (isfinite(t->model.auroc.low))
        (void)snprintf(interval, sizeof interval, "[%.3f, %.3f]", t->model.auroc.low,
                       t->model.auroc.high);
    (void)printf("%-16s %7zu %6zu  %6s %-14s  %7s", t->task.name, t->model.n, t->model.positives,
                 figure(t->model.auroc.value, 3, a), interval,
                 figure(t->baseline.auroc.value, 3, b));
    (void)printf("  %6s  %7s", figure(t->model.average_precision.value, 3, a),
                 figure(t->baseline.average_precision.value, 3, b));
    if (truth)
        (void)printf("  %6s  %6s", figure(t->against_truth.average_precision.value, 3, a),
                     figure(t->against_truth.auroc.value, 3, b));
    (void)printf("  %5s  %5s\n", figure(t->model.calibration_slope.value, 2, a),
                 figure(t->model.observed_to_expected.value, 2, c));
    if (t->model.reason != NULL)
        (void)printf("%-16s (%s)\n", "", t->model.reason);
}

static void print_onsets(const rz_report *r)
{
    for (size_t i = 0; i < r->n_tasks; i++) {
        const rz_report_task *t = &r->tasks[i];
        if (t->onset.given)
            (void)printf(
                "%-16s through the onset head: any of %zu codes, calibrated on %zu positives "
                "of %zu (slope %.2f); %zu of the %zu positives have only codes that the "
                "vocabulary lacks%s\n",
                t->task.name, t->onset.codes, t->onset.tuning_positives, t->onset.tuning_n,
                t->onset.slope, t->onset.uncovered, t->model.positives,
                t->onset.coarse > 0 ? ", or has in coarser ones" : "");
    }
}

/* " slope 0.973 [0.941, 1.003], within 0.90-1.10;" */
static void print_goal(const char *name, const rz_interval *i, double from, double to, bool met)
{
    char a[16], b[16], c[16];
    (void)printf(" %s %s", name, figure(i->value, 3, a));
    if (isfinite(i->low))
        (void)printf(" [%s, %s]", figure(i->low, 3, b), figure(i->high, 3, c));
    if (isfinite(i->value))
        (void)printf(", %s %.2f-%.2f", met ? "within" : "OUTSIDE", from, to);
    (void)fputc(';', stdout);
}

void evaluation_print(const evaluation *e, bool truth)
{
    const rz_report *r = &e->report;
    char a[16], b[16], facilities[RZ_FACILITIES_TEXT], note[RZ_FACILITIES_NOTE];
    if (*rz_facilities_note(&r->facilities, &r->learnt_from, note) != '\0')
        (void)printf("patients of %s facilities; %s\n",
                     rz_facilities_text(&r->facilities, facilities), note);
    (void)printf("%s on %s\n\n%-16s %7s %6s  %6s %-14s  %7s  %6s  %7s", r->model_name, r->split,
                 "task", "n", "pos", "AUROC", "95 % interval", "age+sex", "AP", "age+sex");
    if (truth)
        (void)printf("  %6s  %6s", "AP*", "AUROC*");
    (void)printf("  %5s  %5s\n", "slope", "O:E");
    for (size_t i = 0; i < r->n_tasks; i++)
        print_task(&r->tasks[i], truth);
    if (r->draws > 1)
        (void)printf("\nUp to %u index days of each patient: n and pos count days, intervals "
                     "resample patients.\n",
                     r->draws);
    if (truth)
        (void)puts("\n* of the true risk itself, the best that can be reached\n");
    print_onsets(r);
    for (size_t i = 0; truth && i < r->n_tasks; i++) {
        const rz_report_truth *t = &r->tasks[i].against_truth;
        const rz_truth *f = &t->figures;
        (void)printf("%-16s", r->tasks[i].task.name);
        print_goal("predicted / true", &f->ratio, RZ_TRUTH_RATIO_FROM, RZ_TRUTH_RATIO_TO,
                   rz_truth_ratio_met(f));
        print_goal("logit slope", &f->slope, RZ_TRUTH_SLOPE_FROM, RZ_TRUTH_SLOPE_TO,
                   rz_truth_slope_met(f));
        (void)printf(" intercept %s; logit slope of the mean %s; %zu matched, %zu at another index "
                     "day, %zu unknown\n",
                     figure(f->intercept.value, 3, a), figure(f->mean_slope.value, 3, b),
                     t->matched, t->other_day, t->missing);
    }
    (void)puts("\n" RZ_REPORT_NOTICE);
}

/* ---- files ---- */

/* A name that others chose, quoted where CSV asks for it. */
static void write_text(const char *text, FILE *out)
{
    bool quoted = strpbrk(text, ",\"\r\n") != NULL;
    if (quoted)
        (void)fputc('"', out);
    for (const char *c = text; *c != '\0'; c++) {
        if (*c == '"')
            (void)fputc('"', out);
        (void)fputc(*c, out);
    }
    if (quoted)
        (void)fputc('"', out);
}

static void write_score(const evaluation *e, size_t t, size_t i, FILE *out)
{
    const rz_report_task *task = &e->report.tasks[t];
    const rz_cohort_member *m = task->member[i];
    char day[RZ_DAY_TEXT];
    (void)fprintf(out, "%s,%lld,%s,%s,%d,%.9g,%.9g,%.9g,", task->task.name, (long long)m->patient,
                  rz_day_text(m->index_day, day), rz_split_name(rz_split_by(e->rule, m->hash)),
                  task->label[i], e->logit[t][i], task->probability[i], task->age_sex[i]);
    if (task->against_truth.given && !isnan(task->truth[i]))
        (void)fprintf(out, "%.9g", task->truth[i]);
    (void)fprintf(out, ",%s,%s,", rz_sex_name(m->sex),
                  rz_age_band_name(rz_age_band((double)m->age_years)));
    if (m->facility >= 0 && (size_t)m->facility < e->n_facilities)
        write_text(e->facilities[m->facility], out);
    (void)fputc('\n', out);
}

rz_status evaluation_write_scores(const evaluation *e, const char *path, rz_error *error)
{
    rz_atomic_file file = {0};
    rz_status status = rz_atomic_file_open(&file, path, error);
    if (status != RZ_OK)
        return status;
    (void)fputs("task,patient_key,index_day,split,label,logit,probability,age_sex,truth,sex,"
                "age_band,facility\n",
                file.stream);
    for (size_t t = 0; t < e->report.n_tasks; t++)
        for (size_t i = 0; i < e->report.tasks[t].n; i++)
            write_score(e, t, i, file.stream);
    return rz_atomic_file_commit(&file, error); /* also finds what a write above has failed with */
}

static rz_status write_json(const evaluation *e, const char *path, rz_error *error)
{
    json_t *json = rz_report_json(&e->report);
    char *text = json != NULL ? json_dumps(json, JSON_INDENT(2) | JSON_REAL_PRECISION(9)) : NULL;
    rz_status status = text != NULL ? rz_file_write(path, text, strlen(text), error)
                                    : rz_fail(error, RZ_E_NO_MEMORY, "no memory for %s", path);
    free(text);
    json_decref(json);
    return status;
}

static rz_status write_html(const evaluation *e, const char *path, rz_error *error)
{
    enum { PAGE_BYTES_MAX = 256 << 20 };
    rz_buffer page;
    rz_buffer_init(&page, PAGE_BYTES_MAX);
    rz_status status = rz_report_html(&e->report, &page, error);
    if (status == RZ_OK)
        status = rz_file_write(path, page.data, page.length, error);
    rz_buffer_done(&page);
    return status;
}

rz_status evaluation_write(const evaluation *e, const char *folder, rz_error *error)
{
    static const struct {
        const char *name;
        rz_status (*write)(const evaluation *, const char *, rz_error *);
    } files[] = {{"scores.csv", evaluation_write_scores},
                 {"report.html", write_html},
                 {"report.json", write_json}};
    rz_status status = RZ_OK;
    for (size_t i = 0; status == RZ_OK && i < RZ_COUNT(files); i++) {
        char *path = rz_path_join(folder, files[i].name);
        status = path != NULL ? files[i].write(e, path, error)
                              : rz_fail(error, RZ_E_NO_MEMORY, "no memory to write %s", folder);
        free(path);
    }
    return status;
}
