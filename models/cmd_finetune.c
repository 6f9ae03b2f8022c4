/* rezept-train finetune: a pretrained model and tasks in, a model with calibrated heads out; in
 * separate mode one such model for each task; with --onset one head over all codes instead. */
#include "base/size.h"
#include "train/finetune.h"
#include "train/onset.h"
#include "train_options.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const rz_option table[] = {
    {"db", RZ_OPTION_TEXT, "rezept.db", .value = "FILE", .help = "database to learn from"},
    {"model", RZ_OPTION_TEXT, NULL, .value = "DIR", .help = "pretrained model"},
    {"out", RZ_OPTION_TEXT, NULL, .value = "DIR",
     .help = "folder of the model; with --separate DIR-TASK for each task"},
    {"tasks", RZ_OPTION_TEXT, "models/tasks", .value = "DIR", .help = "folder of task files"},
    {"task", RZ_OPTION_LIST, NULL, .value = "NAME,…", .help = "only these tasks of the folder"},
    {"shared", RZ_OPTION_SWITCH, "true", .help = "one encoder with a head for each task"},
    {"separate", RZ_OPTION_SWITCH, "false", .help = "one model for each task"},
    {"onset", RZ_OPTION_SWITCH, "false",
     .help = "no tasks: one head that answers the first record of every code of the vocabulary"},
    {"labels", RZ_OPTION_INT, "0", .max = 1e9, .value = "N",
     .help = "know so many labels of each task and nothing else; 0 = all"},
    {"balanced", RZ_OPTION_SWITCH, "false", .help = "half of the --labels are positive"},
    {"enriched", RZ_OPTION_SWITCH, "false",
     .help = "half of the --labels are positive, or where there are fewer positives, all of them"},
    {"cross-fit", RZ_OPTION_SWITCH, "false",
     .help = "small records: learn from all labels, stop and calibrate on scores out of fold "
             "instead of on a tuning part (--labels does so anyway)"},
    {"draws", RZ_OPTION_INT, "6", 1, RZ_COHORT_DRAWS_MAX, .value = "N",
     .help = "index days of a training or tuning patient; more teach more where outcomes are few"},
    {"negatives", RZ_OPTION_REAL, "0", 0, 1e6, .value = "X",
     .help = "training rows without an outcome for each with one, weighted to stand for all; 0 = "
             "all"},
    {"head-rate", RZ_OPTION_REAL, "10", 1e-3, 1e6, .value = "X",
     .help = "learning rate of the fresh heads, as a multiple of --lr"},
    {"prevalence", RZ_OPTION_TEXT, NULL, .value = "X",
     .help = "share of positives where risks are used: X, or task=X,… (default: counted)"},
    {"method", RZ_OPTION_TEXT, "platt", .value = "NAME", .help = "platt or isotonic"},
    {"freeze-encoder", RZ_OPTION_SWITCH, "false", .help = "learn the heads alone"},
    {"scratch", RZ_OPTION_SWITCH, "false",
     .help = "take size and vocabulary of --model, but start from fresh values"},
    {"tuning-tokens", RZ_OPTION_INT, "500000", .max = 1e12, .value = "N",
     .help = "early stopping looks at about so many tokens; 0 = all (calibration sees all)"},
    FACILITY_OPTION_ROWS,
    TRAIN_OPTION_ROWS("0.1", "2048", "0.01"),
};

static const char usage[] =
    "usage: rezept-train finetune --db FILE --model DIR --out DIR (--minutes X | --epochs X)\n\n"
    "Trains heads and encoder on tasks, then calibrates on the tuning split.\n\n";

static const char *const listed[] = {
    "onset",     "labels",    "balanced",          "enriched", "cross-fit",      "draws",
    "negatives", "head-rate", "prevalence",        "method",   "freeze-encoder", "scratch",
    "steps",     "epochs",    "minutes",           "lr",       "lr-factor",      "warmup",
    "clip",      "dropout",   "weight-decay",      "patience", "batch-tokens",   "precision",
    "seed",      "fold",      "hold-out-facility", "facility"};

typedef struct job { /* what all runs of one call share */
    const rz_options *options;
    rz_finetune_options o;
    rz_checkpoint base;
    rz_facilities learnt_from; /* by this run and by the model that it begins with */
    rz_progress progress;
} job;

/* heads or onset, as the model has. */
static rz_status write_pages(const job *j, const rz_run *run, const rz_dataset *dataset,
                             const rz_head *heads, size_t n_heads, const rz_onset *onset,
                             const rz_labels *labels, const rz_train_result *result,
                             rz_error *error)
{
    rz_status status = curves_write(run->out, error);
    if (status != RZ_OK)
        return status;
    return card_write(&(card){.folder = run->out,
                              .title = onset != NULL ? "Onset model" : "Risk model",
                              .model = j->base.model,
                              .result = result,
                              .options = j->options,
                              .option_names = listed,
                              .n_options = RZ_COUNT(listed),
                              .heads = heads,
                              .n_heads = n_heads,
                              .onset = onset,
                              .labels = labels,
                              .data_sha256 = rz_dataset_sha256(dataset),
                              .parent_sha256 = j->o.scratch ? "" : j->base.sha256,
                              .learnt_from = &j->learnt_from},
                      error);
}

static void print_heads(const rz_head *heads, size_t n)
{
    (void)printf("%-14s %8s %9s %8s %9s\n", "tuning split", "patients", "positives", "AUROC",
                 "age, sex");
    for (size_t t = 0; t < n; t++) {
        const json_t *metrics = heads[t].metrics;
        const json_t *base = json_object_get(metrics, "age_sex");
        (void)printf("%-14s %8u %9u %8.3f %9.3f\n", heads[t].task.name,
                     heads[t].calibration.tuning_n, heads[t].calibration.tuning_positives,
                     json_number_value(json_object_get(json_object_get(metrics, "auroc"), "value")),
                     json_number_value(json_object_get(json_object_get(base, "auroc"), "value")));
    }
}

/* One run: the tasks share an encoder. */
static rz_status finetune(const job *j, const char *out, const rz_task *tasks, size_t n,
                          rz_error *error)
{
    const rz_store_options store = rz_store_options_defaults();
    rz_run run = {.lock = -1};
    rz_dataset *dataset = NULL;
    rz_labels *labels = calloc(1, sizeof *labels);
    rz_head *heads = calloc(n, sizeof *heads);
    rz_train_result result;
    bool trained = false;
    rz_status status = labels == NULL || heads == NULL
                           ? rz_fail(error, RZ_E_NO_MEMORY, "no memory for %zu tasks", n)
                           : rz_run_open(&run, out, rz_options_switch(j->options, "resume"),
                                         rz_options_switch(j->options, "force"), error);
    if (status == RZ_OK && run.finished) {
        (void)printf("%s is finished; nothing is left to do\n", out);
        goto out;
    }
    if (status == RZ_OK)
        status = rz_run_dataset(&run, rz_options_text(j->options, "db"), &store, &j->o.facilities,
                                &j->progress, &dataset, error);
    if (status == RZ_OK)
        status =
            rz_finetune(dataset, &run, &j->base, tasks, n, &j->o, heads, labels, &result, error);
    trained = status == RZ_OK;
    if (status == RZ_OK)
        status = write_pages(j, &run, dataset, heads, n, NULL, labels, &result, error);
    if (status == RZ_OK)
        status = rz_run_finish(&run, error);
    if (status == RZ_OK) {
        train_result_print("fine-tuned", out, &result);
        print_heads(heads, n);
    }
out:
    for (size_t t = 0; trained && t < n; t++)
        rz_head_done(&heads[t]);
    if (trained)
        rz_labels_done(labels);
    free(heads);
    free(labels);
    rz_dataset_close(dataset);
    rz_run_close(&run);
    return status;
}

/* ---- onsets ---------------------------------------------------------------------------------- */

static void print_onset(const rz_onset *onset)
{
    size_t i;
    const json_t *kind, *m = onset->metrics;
    (void)printf("%-14s %8s %9s %14s %14s\n", "tuning split", "codes", "onsets", ">= 5 positives",
                 ">= 20");
    json_array_foreach(onset->kinds, i, kind)
    {
        (void)printf(
            "%-14s %8lld %9lld %14lld %14lld\n", json_string_value(json_object_get(kind, "kind")),
            (long long)json_integer_value(json_object_get(kind, "codes")),
            (long long)json_integer_value(json_object_get(kind, "tuning_positives")),
            (long long)json_integer_value(json_object_get(kind, "codes_with_5_positives")),
            (long long)json_integer_value(json_object_get(kind, "codes_with_20_positives")));
    }
    (void)printf("mean AUROC of %lld codes with at least %lld positives: %.3f (age and sex %.3f); "
                 "%lld of them above age and sex\n",
                 (long long)json_integer_value(json_object_get(m, "codes_ranked")),
                 (long long)json_integer_value(json_object_get(m, "ranked_from_positives")),
                 json_number_value(json_object_get(m, "auroc_mean")),
                 json_number_value(json_object_get(m, "age_sex_auroc_mean")),
                 (long long)json_integer_value(json_object_get(m, "codes_above_age_sex")));
}

static rz_status finetune_onset(const job *j, const char *out, rz_error *error)
{
    const rz_store_options store = rz_store_options_defaults();
    rz_run run = {.lock = -1};
    rz_dataset *dataset = NULL;
    rz_labels *labels = calloc(1, sizeof *labels);
    rz_onset onset = {0};
    rz_train_result result;
    rz_status status = labels == NULL
                           ? rz_fail(error, RZ_E_NO_MEMORY, "no memory for labels")
                           : rz_run_open(&run, out, rz_options_switch(j->options, "resume"),
                                         rz_options_switch(j->options, "force"), error);
    if (status == RZ_OK && run.finished) {
        (void)printf("%s is finished; nothing is left to do\n", out);
        goto out;
    }
    if (status == RZ_OK)
        status = rz_run_dataset(&run, rz_options_text(j->options, "db"), &store, &j->o.facilities,
                                &j->progress, &dataset, error);
    if (status == RZ_OK)
        status = rz_onset_finetune(dataset, &run, &j->base, &j->o, &onset, labels, &result, error);
    if (status != RZ_OK)
        goto out;
    status = write_pages(j, &run, dataset, NULL, 0, &onset, labels, &result, error);
    if (status == RZ_OK)
        status = rz_run_finish(&run, error);
    if (status == RZ_OK) {
        train_result_print("fine-tuned", out, &result);
        print_onset(&onset);
    }
    rz_onset_done(&onset);
    rz_labels_done(labels);
out:
    free(labels);
    rz_dataset_close(dataset);
    rz_run_close(&run);
    return status;
}

/* What --onset leaves no room for. */
static rz_status check_onset(const rz_options *options, rz_error *error)
{
    static const char *const others[] = {"tasks",      "task",     "separate",  "labels",
                                         "balanced",   "enriched", "cross-fit", "negatives",
                                         "prevalence", "method"};
    for (size_t i = 0; i < RZ_COUNT(others); i++)
        if (rz_options_given(options, others[i]))
            return rz_fail(
                error, RZ_E_USAGE,
                "--onset learns all codes from all training patients and calibrates them "
                "together; --%s does not go with it",
                others[i]);
    return RZ_OK;
}

static rz_status finetune_all(job *j, const rz_task *tasks, size_t n, rz_error *error)
{
    const char *out = NULL;
    rz_status status = train_text_required(j->options, "out", &out, error);
    if (status == RZ_OK)
        status = rz_train_options_check(&j->o.train, error);
    if (status == RZ_OK && rz_options_switch(j->options, "onset"))
        return finetune_onset(j, out, error);
    if (status != RZ_OK || !rz_options_switch(j->options, "separate"))
        return status != RZ_OK ? status : finetune(j, out, tasks, n, error);
    const rz_finetune_options whole = j->o;
    for (size_t t = 0; status == RZ_OK && t < n; t++) {
        char path[PATH_MAX];
        (void)snprintf(path, sizeof path, "%s-%s", out, tasks[t].name);
        j->o.prevalence[0] = whole.prevalence[t];
        status = finetune(j, path, &tasks[t], 1, error);
    }
    return status;
}

static rz_status run_job(const rz_options *options, rz_error *error)
{
    job j = {
        .options = options, .o = rz_finetune_options_defaults(), .progress = program_progress()};
    rz_task *tasks = calloc(RZ_TASKS_MAX, sizeof *tasks);
    rz_pool *pool = NULL;
    const char *folder = NULL;
    size_t n = 0;
    bool onset = rz_options_switch(options, "onset");
    j.o.train = train_options_read(options, &j.progress);
    j.o.labels = (size_t)rz_options_int(options, "labels");
    j.o.crossfit = rz_options_switch(options, "cross-fit");
    j.o.draws = (unsigned)rz_options_int(options, "draws");
    j.o.negatives = rz_options_real(options, "negatives");
    j.o.head_rate = rz_options_real(options, "head-rate");
    j.o.freeze = rz_options_switch(options, "freeze-encoder");
    j.o.scratch = rz_options_switch(options, "scratch");
    j.o.dropout = (float)rz_options_real(options, "dropout");
    j.o.tuning_tokens = (size_t)rz_options_int(options, "tuning-tokens");
    rz_status status = tasks == NULL ? rz_fail(error, RZ_E_NO_MEMORY, "no memory for tasks")
                                     : train_text_required(options, "model", &folder, error);
    if (status == RZ_OK)
        status = train_precision_read(rz_options_text(options, "precision"), &j.o.train.precision,
                                      error);
    if (status == RZ_OK && onset)
        status = check_onset(options, error);
    if (status == RZ_OK)
        status = train_mix_read(options, &j.o.mix, error);
    if (status == RZ_OK && j.o.negatives > 0.0 && (j.o.labels > 0 || j.o.crossfit))
        status = rz_fail(error, RZ_E_USAGE,
                         "--negatives thins the rows of a large record; it does not go with "
                         "--labels or --cross-fit");
    if (status == RZ_OK)
        status = train_fold_read(rz_options_text(options, "fold"), &j.o.split, error);
    if (status == RZ_OK)
        status = train_facilities_read(options, &j.o.facilities, error);
    if (status == RZ_OK)
        status = train_method_read(rz_options_text(options, "method"), &j.o.method, error);
    if (status == RZ_OK && !onset)
        status = train_tasks_load(rz_options_text(options, "tasks"),
                                  rz_options_text(options, "task"), tasks, &n, error);
    if (status == RZ_OK)
        status = train_prevalence_read(rz_options_text(options, "prevalence"), tasks, n,
                                       j.o.prevalence, error);
    if (status == RZ_OK)
        status = rz_pool_new((unsigned)rz_options_int(options, "threads"), &pool, error);
    if (status == RZ_OK)
        status = rz_checkpoint_load(folder, pool, &j.base, error);
    if (status == RZ_OK)
        status =
            rz_facilities_join(&j.o.facilities, &j.base.origin.facilities, &j.learnt_from, error);
    if (status == RZ_OK)
        status = finetune_all(&j, tasks, n, error);
    rz_model_free(j.base.model);
    rz_pool_free(pool);
    free(tasks);
    return status;
}

rz_status cmd_finetune(int argc, char *const *argv, rz_error *error)
{
    rz_options *options = NULL;
    bool stop = false;
    rz_status status =
        program_options(table, RZ_COUNT(table), usage, false, argc, argv, &options, &stop, error);
    if (status == RZ_OK && !stop)
        status = run_job(options, error);
    rz_options_free(options);
    return status;
}
