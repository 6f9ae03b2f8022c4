/* rezept-train evaluate: how good a model is on patients it has not seen. Prints a table, and with
 * --out writes report.json, report.html and scores.csv. */
#include "base/file.h"
#include "base/size.h"
#include "evaluate.h"
#include "program.h"
#include "train_options.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const rz_option table[] = {
    {"db", RZ_OPTION_TEXT, "rezept.db", .value = "FILE", .help = "database with the claims"},
    {"model", RZ_OPTION_TEXT, NULL, .value = "DIR", .help = "folder of a fine-tuned model"},
    {"task", RZ_OPTION_LIST, NULL, .value = "NAME", .help = "only these tasks (default: all)"},
    {"split", RZ_OPTION_TEXT, "held_out", .value = "NAME",
     .help = "held_out, tuning, train or all"},
    {"fold", RZ_OPTION_TEXT, NULL, .value = "K/N",
     .help = "in place of the split: fold K of N (1/5 … 5/5) that finetune --fold held out"},
    {"truth", RZ_OPTION_TEXT, NULL, .value = "FILE",
     .help = "true risks that simulate wrote (--truth)"},
    {"out", RZ_OPTION_TEXT, NULL, .value = "DIR",
     .help = "folder for report.json, report.html and scores.csv"},
    {"bootstraps", RZ_OPTION_INT, "1000", .min = 0, .max = 100000, .value = "N",
     .help = "patient resamples behind each interval"},
    {"seed", RZ_OPTION_INT, "1", .min = 0, .max = 9007199254740992.0, .value = "N",
     .help = "of the resamples"},
    {"threads", RZ_OPTION_INT, "0", .min = 0, .max = 256, .value = "N",
     .help = "threads; 0 = all cores"},
};

static const char usage[] = "usage: rezept-train evaluate --db FILE --model DIR [FLAGS]\n\n"
                            "Measures a model on patients it has not seen, beside age and sex.\n\n";

/* ---- what was asked for ---- */

static rz_status read_split(const rz_options *options, evaluate_options *out, char label[32],
                            rz_error *error)
{
    const char *fold = rz_options_text(options, "fold"), *name = rz_options_text(options, "split");
    if (fold != NULL) {
        rz_split_rule rule;
        if (rz_options_given(options, "split"))
            return rz_fail(error, RZ_E_USAGE, "give --split or --fold, not both");
        rz_status status = train_fold_read(fold, &rule, error);
        if (status != RZ_OK)
            return status;
        out->rule = rule;
        (void)snprintf(label, 32, "fold %u/%u", rule.fold + 1, rule.n_folds);
        return RZ_OK;
    }
    (void)snprintf(label, 32, "%.30s", name);
    out->all = strcmp(name, "all") == 0;
    for (int s = RZ_SPLIT_TRAIN; !out->all && s <= RZ_SPLIT_HELD_OUT; s++) {
        if (strcmp(name, rz_split_name((rz_split)s)) == 0) {
            out->split = (rz_split)s;
            return RZ_OK;
        }
    }
    return out->all ? RZ_OK
                    : rz_fail(error, RZ_E_USAGE,
                              "--split %s: held_out, tuning, train or all is possible", name);
}

/* Patients that the model has learnt from are no test of it; train, tuning and all say themselves
 * that they are none. Error  RZ_E_CONFLICT naming both splits. */
static rz_status check_unseen(const evaluate_options *o, const char *recorded, rz_error *error)
{
    char asked[RZ_SPLIT_TEXT];
    if (o->all || (o->rule.n_folds == 0 && o->split != RZ_SPLIT_HELD_OUT))
        return RZ_OK;
    rz_split_rule_text(o->rule, asked);
    if (strcmp(asked, recorded) == 0)
        return RZ_OK;
    const bool fold = strncmp(recorded, "fold ", 5) == 0;
    return rz_fail(error, RZ_E_CONFLICT,
                   "the model was trained on the split %s and may have learnt from patients that "
                   "%s holds out; give %s%s, or --split all where it has seen none",
                   rz_split_text_shown(recorded), asked, fold ? "--fold " : "--split held_out",
                   fold ? recorded + 5 : "");
}

static rz_status read_tasks(const rz_options *options, const rz_predictor *predictor,
                            uint64_t *heads, rz_error *error)
{
    const char *list = rz_options_text(options, "task");
    const rz_head *head = NULL;
    size_t n_heads = rz_predictor_heads(predictor, &head);
    *heads = list == NULL ? UINT64_MAX : 0;
    while (list != NULL && *list != '\0') {
        size_t n = strcspn(list, ","), i = 0;
        while (i < n_heads &&
               (strlen(head[i].task.name) != n || memcmp(head[i].task.name, list, n) != 0))
            i++;
        if (i == n_heads)
            return rz_fail(error, RZ_E_NOT_FOUND,
                           "the model has no task %.*s; its tasks begin with %s", (int)n, list,
                           n_heads > 0 ? head[0].task.name : "none");
        *heads |= (uint64_t)1 << i;
        list += n + (list[n] == ',' ? 1 : 0);
    }
    return RZ_OK;
}

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

static void print_table(const rz_report *r, bool truth)
{
    char a[16], b[16], c[16];
    (void)printf("%s on %s\n\n%-16s %7s %6s  %6s %-14s  %7s  %6s  %7s", r->model_name, r->split,
                 "task", "n", "pos", "AUROC", "95 % interval", "age+sex", "AP", "age+sex");
    if (truth)
        (void)printf("  %6s  %6s", "AP*", "AUROC*");
    (void)printf("  %5s  %5s\n", "slope", "O:E");
    for (size_t i = 0; i < r->n_tasks; i++)
        print_task(&r->tasks[i], truth);
    if (truth)
        (void)puts("\n* of the true risk itself, the best that can be reached\n");
    for (size_t i = 0; truth && i < r->n_tasks; i++) {
        const rz_report_truth *t = &r->tasks[i].against_truth;
        (void)printf("%-16s predicted / true %s, logit slope %s, intercept %s; %zu matched, %zu at "
                     "another index day, %zu unknown\n",
                     r->tasks[i].task.name, figure(t->ratio, 3, a), figure(t->slope, 3, b),
                     figure(t->intercept, 3, c), t->matched, t->other_day, t->missing);
    }
    (void)puts("\n" RZ_REPORT_NOTICE);
}

/* ---- files ---- */

static rz_status write_scores(const rz_report *r, const char *path, rz_error *error)
{
    rz_atomic_file file = {0};
    rz_status status = rz_atomic_file_open(&file, path, error);
    if (status != RZ_OK)
        return status;
    (void)fputs("task,patient_key,index_day,label,probability,age_sex,truth\n", file.stream);
    for (size_t t = 0; t < r->n_tasks; t++) {
        const rz_report_task *task = &r->tasks[t];
        for (size_t i = 0; i < task->n; i++) {
            char day[RZ_DAY_TEXT];
            (void)fprintf(file.stream, "%s,%lld,%s,%d,%.9g,%.9g,", task->task.name,
                          (long long)task->member[i]->patient,
                          rz_day_text(task->member[i]->index_day, day), task->label[i],
                          task->probability[i], task->age_sex[i]);
            if (task->against_truth.given && !isnan(task->truth[i]))
                (void)fprintf(file.stream, "%.9g", task->truth[i]);
            (void)fputc('\n', file.stream);
        }
    }
    return rz_atomic_file_commit(&file, error); /* also finds what a write above has failed with */
}

static rz_status write_json(const rz_report *r, const char *path, rz_error *error)
{
    json_t *json = rz_report_json(r);
    char *text = json != NULL ? json_dumps(json, JSON_INDENT(2) | JSON_REAL_PRECISION(9)) : NULL;
    rz_status status = text != NULL ? rz_file_write(path, text, strlen(text), error)
                                    : rz_fail(error, RZ_E_NO_MEMORY, "no memory for %s", path);
    free(text);
    json_decref(json);
    return status;
}

static rz_status write_html(const rz_report *r, const char *path, rz_error *error)
{
    enum { PAGE_BYTES_MAX = 256 << 20 };
    rz_buffer page;
    rz_buffer_init(&page, PAGE_BYTES_MAX);
    rz_status status = rz_report_html(r, &page, error);
    if (status == RZ_OK)
        status = rz_file_write(path, page.data, page.length, error);
    rz_buffer_done(&page);
    return status;
}

static rz_status write_files(const rz_report *r, const char *folder, rz_error *error)
{
    static const struct {
        const char *name;
        rz_status (*write)(const rz_report *, const char *, rz_error *);
    } files[] = {
        {"scores.csv", write_scores}, {"report.html", write_html}, {"report.json", write_json}};
    rz_status status = RZ_OK;
    for (size_t i = 0; status == RZ_OK && i < RZ_COUNT(files); i++) {
        char *path = rz_path_join(folder, files[i].name);
        status = path != NULL ? files[i].write(r, path, error)
                              : rz_fail(error, RZ_E_NO_MEMORY, "no memory to write %s", folder);
        free(path);
    }
    return status;
}

/* ---- the command ---- */

/* The last part of the folder's path, without slashes at its end. */
static void folder_name(const char *path, char out[256])
{
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/')
        n--;
    size_t first = n;
    while (first > 0 && path[first - 1] != '/')
        first--;
    (void)snprintf(out, 256, "%.*s", (int)(n - first < 255 ? n - first : 255), path + first);
}

static rz_status run(const rz_options *options, rz_store *store, rz_predictor *predictor,
                     rz_error *error)
{
    evaluate_options asked = {.bootstraps = (unsigned)rz_options_int(options, "bootstraps"),
                              .seed = (uint64_t)rz_options_int(options, "seed")};
    char split[32], data_sha256[RZ_SHA256_TEXT], date[RZ_DAY_TEXT], name[256];
    const char *truth_path = rz_options_text(options, "truth"),
               *out = rz_options_text(options, "out");
    const rz_head *heads = NULL;
    size_t n_heads = rz_predictor_heads(predictor, &heads);
    rz_task *tasks = calloc(n_heads + 1, sizeof *tasks);
    truth_table truth = {0};
    rz_progress progress = program_progress();
    folder_name(rz_options_text(options, "model"), name);
    rz_report report = {.model_name = name,
                        .model_sha256 = rz_predictor_sha256(predictor),
                        .tasks_sha256 = rz_predictor_tasks_sha256(predictor),
                        .data_sha256 = data_sha256,
                        .model = rz_predictor_model(predictor),
                        .date = rz_day_text(rz_day_today(), date),
                        .split = split,
                        .bootstraps = asked.bootstraps,
                        .seed = asked.seed};
    rz_status status = RZ_OK;
    if (tasks == NULL)
        status = rz_fail(error, RZ_E_NO_MEMORY, "no memory for %zu tasks", n_heads);
    for (size_t i = 0; status == RZ_OK && i < n_heads; i++)
        tasks[i] = heads[i].task;
    if (status == RZ_OK)
        status = read_split(options, &asked, split, error);
    if (status == RZ_OK)
        status = check_unseen(&asked, rz_predictor_origin(predictor)->split, error);
    if (status == RZ_OK)
        status = read_tasks(options, predictor, &asked.heads, error);
    if (status == RZ_OK && truth_path != NULL)
        status = truth_table_read(truth_path, store, tasks, n_heads, &truth, error);
    if (truth_path != NULL)
        asked.truth = &truth;
    if (status == RZ_OK)
        status = rz_store_data_hash(store, data_sha256, error);
    /* Before the work, whose result would have nowhere to go. */
    if (status == RZ_OK && out != NULL)
        status = rz_folder_make(out, error);
    if (status == RZ_OK)
        status = evaluate(store, predictor, &asked, &progress, &report, error);
    program_progress_end();
    if (status == RZ_OK)
        print_table(&report, truth_path != NULL);
    if (status == RZ_OK && truth.foreign > 0)
        (void)printf("%zu rows of %s name tasks or patients that are not here\n", truth.foreign,
                     truth_path);
    if (status == RZ_OK && out != NULL)
        status = write_files(&report, out, error);
    rz_report_done(&report);
    truth_table_done(&truth);
    free(tasks);
    return status;
}

rz_status cmd_evaluate(int argc, char *const *argv, rz_error *error)
{
    rz_options *options = NULL;
    rz_store *store = NULL;
    rz_pool *pool = NULL;
    rz_predictor *predictor = NULL;
    rz_store_options store_options = rz_store_options_defaults();
    bool stop = false;
    rz_status status =
        program_options(table, RZ_COUNT(table), usage, false, argc, argv, &options, &stop, error);
    if (status != RZ_OK || stop)
        goto out;
    const char *db = rz_options_text(options, "db"), *model = rz_options_text(options, "model");
    if (model == NULL) {
        status = rz_fail(error, RZ_E_USAGE, "--model is needed; --help tells more");
        goto out;
    }
    status = rz_store_open(db, &store_options, &store, error);
    if (status == RZ_OK)
        status = rz_pool_new((unsigned)rz_options_int(options, "threads"), &pool, error);
    if (status == RZ_OK)
        status = rz_predictor_open(model, pool, &predictor, error);
    if (status == RZ_OK)
        status = run(options, store, predictor, error);
out:
    rz_predictor_close(predictor);
    rz_pool_free(pool);
    rz_store_close(store);
    rz_options_free(options);
    return status;
}
