/* rezept-train study: which size does each task need, on this record? Everything it does is done by
 * the other commands; what it adds is the plan, and what it makes of their results. */
#include "base/file.h"
#include "base/size.h"
#include "program.h"
#include "study.h"
#include "study_report.h"
#include "train_options.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

enum { COMMAND_BYTES_MAX = 1 << 20 };

static const rz_option table[] = {
    {"db", RZ_OPTION_TEXT, "rezept.db", .value = "FILE", .help = "database to study"},
    {"out", RZ_OPTION_TEXT, NULL, .value = "DIR",
     .help = "folder of the study; the same command goes on where it was"},
    {"sizes", RZ_OPTION_LIST, "2.2m,4.7m,11m", .value = "SIZE,…", .help = "sizes to compare"},
    {"tasks", RZ_OPTION_TEXT, "models/tasks", .value = "DIR", .help = "folder of task files"},
    {"task", RZ_OPTION_LIST, "all", .value = "NAME,…", .help = "only these tasks of the folder"},
    {"labels", RZ_OPTION_LIST, "100,500,1000,all", .value = "N,…",
     .help = "how many labels are known, half of them positive if there are so many; all = as they "
             "come"},
    {"seeds", RZ_OPTION_INT, "5", 1, STUDY_SEEDS_MAX, .value = "N",
     .help = "repeats with other labels and initial values"},
    {"engines", RZ_OPTION_LIST, "xgboost,logistic", .value = "NAME,…",
     .help = "baselines on counts: xgboost, lightgbm, logistic; none"},
    {"pretrained", RZ_OPTION_TEXT, NULL, .value = "DIR",
     .help = "pretrained models DIR/SIZE (default: made here)"},
    {"truth", RZ_OPTION_TEXT, NULL, .value = "FILE",
     .help = "true risks that simulate wrote (--truth)"},
    {"begin", RZ_OPTION_TEXT, NULL, .value = "WHAT",
     .help =
         "with all labels, fine-tuning begins with the model of all onsets, which has seen the "
         "first record of every code (onset), or with the pretrained one (pretrained); default: "
         "onset, where all tasks have a horizon and a history of a year"},
    {"draws", RZ_OPTION_INT, "6", 1, RZ_COHORT_DRAWS_MAX, .value = "N",
     .help = "index days of a tuning or held-out patient that figures are made of, as evaluate "
             "--draws"},
    {"hold-out-facility", RZ_OPTION_LIST, NULL, .value = "NAME,…",
     .help = "study the other facilities, then what their models are worth at these: as they are, "
             "recalibrated, fine-tuned, beside models of these alone"},
    {"pretrain-flags", RZ_OPTION_TEXT,
     "--norm pre --pooling mean --repeat-days 3650 --recency --mask-share 0.4 --batch-tokens 1024 "
     "--epochs 40",
     .group = "How cells learn (flags of the commands that they call)", .value = "FLAGS",
     .help = "of pretrain; 40 passes are right for some 20,000 patients, fewer for more"},
    {"finetune-flags", RZ_OPTION_TEXT, "--negatives 8 --draws 24 --lr-factor 0.33 --epochs 0.7",
     .value = "FLAGS", .help = "of finetune, all labels, all tasks in one model"},
    {"few-flags", RZ_OPTION_TEXT, "--epochs 10", .value = "FLAGS",
     .help = "of finetune, few labels, a model for each task"},
    {"onset-flags", RZ_OPTION_TEXT, "--draws 24 --lr-factor 0.47 --epochs 1.4", .value = "FLAGS",
     .help = "of finetune --onset, all labels, every code at once"},
    {"baseline-flags", RZ_OPTION_TEXT, "--grid full --draws 24", .value = "FLAGS",
     .help = "of baseline"},
    {"margin", RZ_OPTION_REAL, "0.05", 0, 1, .group = "Which size is enough", .value = "X",
     .help = "share of the best average precision that a smaller size may lose"},
    {"prefer", RZ_OPTION_TEXT, "accuracy", .value = "WHAT",
     .help = "routing.json takes the most accurate size, or cost: the smallest within the margin"},
    {"bootstraps", RZ_OPTION_INT, "1000", .max = 100000, .value = "N",
     .help = "resamples of patients and seeds behind each interval of the report"},
    {"minutes", RZ_OPTION_REAL, "0", .max = 1e6, .group = "Run", .value = "X",
     .help = "stop after so many and say what is left; 0 = until all is done"},
    {"threads", RZ_OPTION_INT, "0", .max = 1024, .value = "N",
     .help = "0 = all cores this process may use"},
    {"dry-run", RZ_OPTION_SWITCH, "false", .help = "print the plan with estimates and stop"},
};

static const char usage[] = "usage: rezept-train study --db FILE --out DIR [FLAGS]\n\n"
                            "Learns the same tasks with models of several sizes, pretrained and "
                            "from scratch, from few and\n"
                            "from all labels, beside boosted trees and a regression on counts.\n\n";

/* The next item of a list with commas; NULL at its end. */
static const char *next_item(const char **list, char *out, size_t cap)
{
    size_t n = strcspn(*list, ",");
    if (n == 0 || n >= cap)
        return NULL;
    memcpy(out, *list, n);
    out[n] = '\0';
    *list += n + ((*list)[n] == ',');
    return out;
}

static rz_status read_sizes(const char *list, study_settings *out, rz_error *error)
{
    static const char *const known[PLAN_SIZES_MAX] = {"2.2m", "4.7m", "11m", "32m", "101m"};
    bool wanted[PLAN_SIZES_MAX] = {false};
    char item[16];
    while (*list != '\0') {
        size_t k = 0;
        const char *name = next_item(&list, item, sizeof item);
        while (name != NULL && k < PLAN_SIZES_MAX && strcmp(known[k], name) != 0)
            k++;
        if (name == NULL || k == PLAN_SIZES_MAX)
            return rz_fail(error, RZ_E_USAGE,
                           "--sizes: 2.2m, 4.7m, 11m, 32m and 101m exist, not %s",
                           name != NULL ? name : list);
        wanted[k] = true;
    }
    for (size_t k = 0; k < PLAN_SIZES_MAX; k++)
        if (wanted[k])
            (void)snprintf(out->sizes[out->n_sizes++], sizeof out->sizes[0], "%s", known[k]);
    return out->n_sizes > 0 ? RZ_OK : rz_fail(error, RZ_E_USAGE, "--sizes names none");
}

static rz_status read_labels(const char *list, study_settings *out, rz_error *error)
{
    char item[16];
    while (*list != '\0') {
        char *end = item;
        const char *text = next_item(&list, item, sizeof item);
        bool all = text != NULL && strcmp(text, "all") == 0;
        unsigned long long n = text != NULL && !all ? strtoull(text, &end, 10) : 0;
        if (text == NULL || (!all && (*end != '\0' || n < 2 || n > 1000000000)) ||
            out->n_labels == PLAN_LABELS_MAX)
            return rz_fail(error, RZ_E_USAGE,
                           "--labels: up to %d numbers from 2 up, or all, not %s", PLAN_LABELS_MAX,
                           text != NULL ? text : list);
        for (size_t i = 0; i < out->n_labels; i++)
            if (out->labels[i] == n)
                return rz_fail(error, RZ_E_USAGE, "--labels names %s twice", text);
        out->labels[out->n_labels++] = (size_t)n;
    }
    return out->n_labels > 0 ? RZ_OK : rz_fail(error, RZ_E_USAGE, "--labels names none");
}

static rz_status read_engines(const char *list, study_settings *out, rz_error *error)
{
    char item[16];
    if (strcmp(list, "none") == 0)
        return RZ_OK;
    while (*list != '\0') {
        const char *name = next_item(&list, item, sizeof item);
        if (name == NULL || out->n_engines == PLAN_ENGINES_MAX ||
            (strcmp(name, "xgboost") != 0 && strcmp(name, "lightgbm") != 0 &&
             strcmp(name, "logistic") != 0))
            return rz_fail(error, RZ_E_USAGE,
                           "--engines: xgboost, lightgbm and logistic exist, or none; not %s",
                           name != NULL ? name : list);
        (void)snprintf(out->engines[out->n_engines++], sizeof out->engines[0], "%s", name);
    }
    return RZ_OK;
}

/* Cells ask for a task by its file. */
static rz_status check_task_files(const study_settings *s, rz_error *error)
{
    for (size_t t = 0; s->n_engines > 0 && t < s->n_tasks; t++) {
        char *path = NULL, *name = NULL;
        size_t n = strlen(s->tasks[t].name) + 6;
        name = malloc(n);
        if (name != NULL) {
            (void)snprintf(name, n, "%s.json", s->tasks[t].name);
            path = rz_path_join(s->tasks_folder, name);
        }
        bool there = path != NULL && access(path, R_OK) == 0;
        free(name);
        free(path);
        if (!there)
            return rz_fail(error, RZ_E_NOT_FOUND,
                           "task %s has to be in %s/%s.json, by which baselines ask for it",
                           s->tasks[t].name, s->tasks_folder, s->tasks[t].name);
    }
    return RZ_OK;
}

/* What is tried at held-out facilities is a model that knows all labels of the others. */
static rz_status check_all_labels(const study_settings *s, rz_error *error)
{
    bool all = s->hold_out.n == 0;
    for (size_t l = 0; l < s->n_labels; l++)
        all = all || s->labels[l] == 0;
    return all ? RZ_OK
               : rz_fail(error, RZ_E_USAGE,
                         "--hold-out-facility needs all among --labels: models with all labels of "
                         "the other facilities are what is tried there");
}

static rz_status read_settings(const rz_options *options, study_settings *out, rz_error *error)
{
    const char *names = rz_options_text(options, "task");
    out->db = rz_options_text(options, "db");
    out->truth = rz_options_text(options, "truth");
    out->draws = (unsigned)rz_options_int(options, "draws");
    out->pretrained = rz_options_text(options, "pretrained");
    out->tasks_folder = rz_options_text(options, "tasks");
    out->pretrain_flags = rz_options_text(options, "pretrain-flags");
    out->finetune_flags = rz_options_text(options, "finetune-flags");
    out->few_flags = rz_options_text(options, "few-flags");
    out->onset_flags = rz_options_text(options, "onset-flags");
    out->baseline_flags = rz_options_text(options, "baseline-flags");
    out->seeds = (unsigned)rz_options_int(options, "seeds");
    out->minutes = rz_options_real(options, "minutes");
    out->margin = rz_options_real(options, "margin");
    out->prefer = rz_options_text(options, "prefer");
    rz_status status = train_text_required(options, "out", &out->out, error);
    if (status == RZ_OK)
        status = rz_facilities_read(rz_options_text(options, "hold-out-facility"), false,
                                    &out->hold_out, error);
    if (status == RZ_OK && strcmp(out->prefer, "accuracy") != 0 && strcmp(out->prefer, "cost") != 0)
        status = rz_fail(error, RZ_E_USAGE, "--prefer %.40s: accuracy or cost", out->prefer);
    if (status == RZ_OK)
        status = read_sizes(rz_options_text(options, "sizes"), out, error);
    if (status == RZ_OK)
        status = read_labels(rz_options_text(options, "labels"), out, error);
    if (status == RZ_OK)
        status = read_engines(rz_options_text(options, "engines"), out, error);
    if (status == RZ_OK)
        status = train_tasks_load(out->tasks_folder, strcmp(names, "all") == 0 ? NULL : names,
                                  out->tasks, &out->n_tasks, error);
    if (status == RZ_OK)
        status = check_all_labels(out, error);
    if (status == RZ_OK)
        status = check_task_files(out, error);
    return status == RZ_OK ? study_begin_read(rz_options_text(options, "begin"), out, error)
                           : status;
}

/* Two studies in one folder would begin the same cells. */
static rz_status take_lock(const char *out, int *lock, rz_error *error)
{
    rz_status status = rz_folder_make(out, error);
    char *path = status == RZ_OK ? rz_path_join(out, ".lock") : NULL;
    if (status != RZ_OK)
        return status;
    *lock = path != NULL ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0640) : -1;
    if (*lock < 0)
        status = rz_fail(error, RZ_E_IO, "cannot open %s/.lock", out);
    else if (flock(*lock, LOCK_EX | LOCK_NB) != 0)
        status = rz_fail(error, RZ_E_BUSY, "another study runs in %s", out);
    free(path);
    return status;
}

/* routing.json beside the models that it names, where the daemon looks for it. */
static rz_status give_routing(const char *out, rz_error *error)
{
    enum { ROUTING_BYTES_MAX = 16 << 20 };
    char *from = rz_path_join(out, "routing.json"), *to = rz_path_join(out, "models/routing.json"),
         *text = NULL;
    size_t length = 0;
    rz_status status = from != NULL && to != NULL
                           ? rz_file_read(from, ROUTING_BYTES_MAX, &text, &length, error)
                           : rz_fail(error, RZ_E_NO_MEMORY, "no memory for routing.json");
    if (status == RZ_OK)
        status = rz_file_write(to, text, length, error);
    free(text);
    free(from);
    free(to);
    return status;
}

/* The report of what there is; held_out is opened when nothing is left to be done. */
static rz_status report(const rz_options *options, const study_plan *plan, rz_pool *pool,
                        const rz_progress *progress, rz_error *error)
{
    const study_settings *s = plan->settings;
    study_report_options o = study_report_options_defaults();
    o.bootstraps = (unsigned)rz_options_int(options, "bootstraps");
    o.margin = s->margin;
    o.prefer = strcmp(s->prefer, "cost") == 0 ? STUDY_PREFER_COST : STUDY_PREFER_ACCURACY;
    o.open_held_out = true;
    for (size_t i = 0; i < plan->n_cells; i++)
        o.open_held_out = o.open_held_out && (plan->cells[i].state == STUDY_DONE ||
                                              plan->cells[i].state == STUDY_SKIPPED);
    rz_status status = study_report_write(s->out, &o, pool, progress, error);
    if (status == RZ_OK)
        status = give_routing(s->out, error);
    program_progress_end();
    if (status == RZ_OK)
        (void)printf("%s/report.html: %s\n", s->out,
                     o.open_held_out ? "complete, with held-out patients"
                                     : "so far, on the tuning split alone");
    return status;
}

static rz_status run(const rz_options *options, study_settings *s, rz_error *error)
{
    const rz_progress progress = program_progress();
    study_plan plan = {0};
    rz_pool *pool = NULL;
    int lock = -1;
    rz_status status = read_settings(options, s, error);
    if (status == RZ_OK)
        status = rz_pool_new((unsigned)rz_options_int(options, "threads"), &pool, error);
    if (status == RZ_OK) {
        s->threads = rz_pool_size(pool);
        status = take_lock(s->out, &lock, error);
    }
    if (status == RZ_OK)
        status = study_plan_make(s, &plan, error);
    if (status == RZ_OK && rz_options_switch(options, "dry-run")) {
        study_plan_print(&plan);
    } else if (status == RZ_OK) {
        status = study_run(&plan, &progress, error);
        program_progress_end();
        if (status == RZ_OK)
            study_plan_print(&plan);
        if (status == RZ_OK)
            status = study_cohorts_write(s, &progress, error);
        if (status == RZ_OK)
            status = report(options, &plan, pool, &progress, error);
    }
    study_plan_done(&plan);
    rz_pool_free(pool);
    if (lock >= 0)
        (void)close(lock);
    return status;
}

rz_status cmd_study(int argc, char *const *argv, rz_error *error)
{
    rz_options *options = NULL;
    bool stop = false;
    rz_status status =
        program_options(table, RZ_COUNT(table), usage, false, argc, argv, &options, &stop, error);
    study_settings settings = {.tasks = calloc(RZ_TASKS_MAX, sizeof(rz_task))};
    if (status == RZ_OK && settings.tasks == NULL)
        status = rz_fail(error, RZ_E_NO_MEMORY, "no memory for tasks");
    rz_buffer command;
    rz_buffer_init(&command, COMMAND_BYTES_MAX);
    if (status == RZ_OK)
        status = rz_buffer_add_text(&command, "rezept-train");
    for (int i = 0; status == RZ_OK && i < argc; i++)
        status =
            rz_buffer_addf(&command, strchr(argv[i], ' ') != NULL ? " \"%s\"" : " %s", argv[i]);
    settings.command = command.data;
    if (status == RZ_OK && !stop)
        status = run(options, &settings, error);
    rz_buffer_done(&command);
    free(settings.tasks);
    rz_options_free(options);
    return status;
}
