/* Makes the new folder out of links to what stays and a new tasks.json, then exchanges names. */
#define _GNU_SOURCE /* renameat2 */
#include "train/recalibrate.h"

#include "base/file.h"
#include "metrics/metrics.h"
#include "train/score.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Without slashes at its end. */
static char *trimmed(const char *folder)
{
    size_t n = strlen(folder);
    while (n > 1 && folder[n - 1] == '/')
        n--;
    return strndup(folder, n);
}

rz_status rz_recalibration_open(rz_recalibration *r, const char *folder, const char *out,
                                rz_error *error)
{
    *r = (rz_recalibration){.folder = trimmed(folder), .out = trimmed(out != NULL ? out : folder)};
    size_t n = r->out != NULL ? strlen(r->out) : 0;
    char *work = malloc(n + sizeof "..XXXXXX");
    if (r->folder == NULL || r->out == NULL || work == NULL) {
        free(work);
        rz_recalibration_close(r);
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory to open %s", folder);
    }
    const char *name = strrchr(r->out, '/');
    name = name != NULL ? name + 1 : r->out;
    (void)snprintf(work, n + sizeof "..XXXXXX", "%.*s.%s.XXXXXX", (int)(name - r->out), r->out,
                   name);
    if (mkdtemp(work) == NULL) {
        rz_status status = rz_fail_errno(error, errno, "cannot make a folder beside %s", r->out);
        free(work);
        rz_recalibration_close(r);
        return status;
    }
    r->work = work;
    return RZ_OK;
}

/* All files that a recalibration does not change, as links. */
static rz_status link_files(const rz_recalibration *r, rz_error *error)
{
    DIR *listing = opendir(r->folder);
    if (listing == NULL)
        return rz_fail_errno(error, errno, "cannot read %s", r->folder);
    rz_status status = RZ_OK;
    const struct dirent *entry;
    while (status == RZ_OK && (entry = readdir(listing)) != NULL) {
        const char *name = entry->d_name;
        if (name[0] == '.' || strcmp(name, "DONE") == 0 || strcmp(name, "tasks.json") == 0 ||
            strcmp(name, "resume") == 0)
            continue;
        char from[PATH_MAX], to[PATH_MAX];
        (void)snprintf(from, sizeof from, "%s/%s", r->folder, name);
        (void)snprintf(to, sizeof to, "%s/%s", r->work, name);
        if (link(from, to) != 0)
            status = rz_fail_errno(error, errno, "cannot link %s into %s", from, r->work);
    }
    (void)closedir(listing);
    return status;
}

/* The average precision of each task on the tuning split, by the model's precision. */
static rz_status average_precisions(const rz_model *model, rz_dataset *dataset, const rz_labels *l,
                                    const rz_recalibrate_options *o, double *out, rz_error *error)
{
    rz_scored s = {0};
    rz_status status = rz_labels_score(model, dataset, l, RZ_SPLIT_TUNING, false, o->part_tokens,
                                       o->progress, &s, error);
    double *score = calloc(s.n + 1, sizeof *score);
    uint8_t *label = calloc(s.n + 1, 1);
    if (status == RZ_OK && (score == NULL || label == NULL))
        status = rz_fail(error, RZ_E_NO_MEMORY, "no memory for %zu scores", s.n);
    for (size_t t = 0; status == RZ_OK && t < l->n_tasks; t++) {
        size_t n = 0;
        for (size_t i = 0; i < s.n; i++) {
            size_t at = s.row[i] * l->n_tasks + t;
            if (l->part[at] != RZ_SPLIT_TUNING)
                continue;
            score[n] = (double)s.logit[i * l->n_tasks + t];
            label[n++] = l->label[at] > 0.5f;
        }
        out[t] = rz_average_precision(score, label, n);
    }
    free(score);
    free(label);
    rz_scored_done(&s);
    return status;
}

/* Average precisions on the tuning split by which a precision was chosen. */
typedef struct choice {
    double whole[RZ_TASKS_MAX], low[RZ_TASKS_MAX]; /* in float32, in the model's precision */
    double most;                                   /* that they may differ by */
} choice;

/* Refuses a precision that ranks the tuning split otherwise than float32. */
static rz_status check_precision(rz_model *model, rz_dataset *dataset, const rz_labels *l,
                                 const rz_task *tasks, const rz_recalibrate_options *o, choice *c,
                                 rz_error *error)
{
    rz_precision precision = model->precision;
    c->most = precision == RZ_BF16 ? RZ_BF16_AP_DIFFERENCE : RZ_INT8_AP_DIFFERENCE;
    if (precision == RZ_FLOAT32)
        return RZ_OK;
    model->precision = RZ_FLOAT32;
    rz_status status = average_precisions(model, dataset, l, o, c->whole, error);
    model->precision = precision;
    if (status == RZ_OK)
        status = average_precisions(model, dataset, l, o, c->low, error);
    for (size_t t = 0; status == RZ_OK && t < l->n_tasks; t++)
        if (!(fabs(c->low[t] - c->whole[t]) <= c->most))
            status = rz_fail(error, RZ_E_INVALID,
                             "task %s: average precision on the tuning split is %.4f in %s and "
                             "%.4f in float32; they may differ by %.3f. Serve this model in "
                             "another --precision",
                             tasks[t].name, c->low[t], rz_precision_name(precision), c->whole[t],
                             c->most);
    return status;
}

/* Beside the metrics, so that the card and /v1/models can tell why this precision may be served. */
static rz_status note_choice(const choice *c, rz_precision precision, rz_head *heads, size_t n,
                             rz_error *error)
{
    rz_status status = RZ_OK;
    for (size_t t = 0; t < n && status == RZ_OK && precision != RZ_FLOAT32; t++)
        if (json_object_set_new(heads[t].metrics, "precision",
                                json_pack("{s:s, s:f, s:f, s:f}", "name",
                                          rz_precision_name(precision), "average_precision",
                                          c->low[t], "average_precision_float32", c->whole[t],
                                          "difference_max", c->most)) != 0)
            status = rz_fail(error, RZ_E_NO_MEMORY, "no memory for metrics");
    return status;
}

rz_status rz_recalibrate(const rz_recalibration *r, const rz_checkpoint *checkpoint,
                         rz_dataset *dataset, const rz_recalibrate_options *o, rz_head *heads,
                         size_t n_heads, rz_error *error)
{
    rz_labels labels = {0};
    choice chosen = {0};
    rz_heads_options fit = {.method = o->method,
                            .part_tokens = o->part_tokens,
                            .seed = o->seed,
                            .progress = o->progress};
    rz_task *tasks = malloc(RZ_TASKS_MAX * sizeof *tasks);
    if (tasks == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for %zu tasks", n_heads);
    for (size_t t = 0; t < n_heads; t++) {
        tasks[t] = heads[t].task;
        fit.prevalence[t] = o->prevalence[t];
        fit.training_prior[t] = heads[t].calibration.training_prior;
    }
    rz_status status = rz_labels_build(dataset, tasks, n_heads, o->split, o->draws, &labels, error);
    if (status == RZ_OK)
        status = rz_heads_check(&labels, tasks, o->method, false, error);
    if (status == RZ_OK)
        status = check_precision(checkpoint->model, dataset, &labels, tasks, o, &chosen, error);
    if (status == RZ_OK)
        status = rz_heads_fit(checkpoint->model, dataset, &labels, tasks, &fit, heads, error);
    if (status == RZ_OK)
        status = note_choice(&chosen, checkpoint->model->precision, heads, n_heads, error);
    if (status == RZ_OK)
        status = link_files(r, error);
    if (status == RZ_OK)
        status = rz_heads_write(r->work, heads, n_heads, error);
    rz_labels_done(&labels);
    free(tasks);
    return status;
}

rz_status rz_recalibration_finish(rz_recalibration *r, rz_error *error)
{
    rz_status status = rz_checkpoint_finish(r->work, error);
    const unsigned how = access(r->out, F_OK) == 0 ? RENAME_EXCHANGE : RENAME_NOREPLACE;
    if (status == RZ_OK && renameat2(AT_FDCWD, r->work, AT_FDCWD, r->out, how) != 0)
        status =
            rz_fail_errno(error, errno, "cannot put the new calibration of %s in place", r->out);
    return status;
}

void rz_recalibration_close(rz_recalibration *r)
{
    DIR *listing = r->work == NULL ? NULL : opendir(r->work);
    const struct dirent *entry;
    while (listing != NULL && (entry = readdir(listing)) != NULL) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            (void)unlinkat(dirfd(listing), entry->d_name, 0);
    }
    if (listing != NULL) {
        (void)closedir(listing);
        (void)rmdir(r->work);
    }
    free(r->folder);
    free(r->out);
    free(r->work);
    *r = (rz_recalibration){0};
}
