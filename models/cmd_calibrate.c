/* rezept-train calibrate: the same weights, calibrated anew on the patients of a store. */
#include "base/size.h"
#include "train/recalibrate.h"
#include "train_options.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const rz_option table[] = {
    {"db", RZ_OPTION_TEXT, "rezept.db", .value = "FILE", .help = "database to calibrate on"},
    {"model", RZ_OPTION_TEXT, NULL, .value = "DIR", .help = "model whose tasks.json is replaced"},
    {"out", RZ_OPTION_TEXT, NULL, .value = "DIR",
     .help = "folder of the result, on the same file system (default: the model itself)"},
    {"force", RZ_OPTION_SWITCH, "false", .help = "throw away what is in the output folder"},
    {"method", RZ_OPTION_TEXT, "platt", .value = "NAME", .help = "platt or isotonic"},
    {"prevalence", RZ_OPTION_TEXT, NULL, .value = "X",
     .help = "share of positives where risks are used: X, or task=X,… (default: counted)"},
    {"precision", RZ_OPTION_TEXT, NULL, .value = "NAME",
     .help = "of the products at serving: float32, bf16 or int8 (default: as it is)"},
    {"draws", RZ_OPTION_INT, "6", 1, RZ_COHORT_DRAWS_MAX, .value = "N",
     .help = "index days of a tuning patient"},
    {"fold", RZ_OPTION_TEXT, NULL, .value = "K/N", .help = "as the model was fine-tuned with"},
    FACILITY_OPTION_ROWS,
    {"part-tokens", RZ_OPTION_INT, "4096", .min = 1, .max = 1e7, .group = "Run", .value = "N",
     .help = "tokens computed at once: bounds the memory"},
    {"seed", RZ_OPTION_INT, "1", .max = 9e15, .value = "N", .help = "of the resamples"},
    {"threads", RZ_OPTION_INT, "0", .max = 1024, .value = "N",
     .help = "0 = all cores this process may use"},
};

static const char usage[] =
    "usage: rezept-train calibrate --db FILE --model DIR\n\n"
    "Fits calibration, baselines and reference figures on the tuning split of a database, as when\n"
    "a model moves to another hospital, or is to be served in another precision; one in which it\n"
    "ranks patients otherwise is refused. The model's folder is replaced in one step, or with "
    "--out\n"
    "left as it is.\n\n";

static const char *const listed[] = {"method", "prevalence", "draws", "hold-out-facility",
                                     "facility"};

/* A copy of the store in the hidden folder, gone before that becomes the model. */
static rz_status copy_store(const char *database, const char *path, const rz_facilities *facilities,
                            const rz_progress *progress, rz_dataset **out, rz_error *error)
{
    const rz_store_options options = rz_store_options_defaults();
    rz_store *store = NULL;
    rz_status status = rz_store_open(database, &options, &store, error);
    if (status == RZ_OK)
        status = rz_dataset_copy(store, path, facilities, progress, error);
    rz_store_close(store);
    return status == RZ_OK ? rz_dataset_open(path, out, error) : status;
}

static rz_status calibrate(const rz_options *options, const rz_checkpoint *checkpoint,
                           rz_recalibration *r, rz_head *heads, size_t n, rz_error *error)
{
    char path[PATH_MAX], split[RZ_SPLIT_TEXT];
    const rz_progress progress = program_progress();
    rz_dataset *dataset = NULL;
    rz_facilities facilities = {0};
    rz_recalibrate_options o = {.draws = (unsigned)rz_options_int(options, "draws"),
                                .part_tokens = (size_t)rz_options_int(options, "part-tokens"),
                                .seed = (uint64_t)rz_options_int(options, "seed"),
                                .progress = &progress};
    rz_task *tasks = calloc(RZ_TASKS_MAX, sizeof *tasks);
    rz_status status = tasks == NULL
                           ? rz_fail(error, RZ_E_NO_MEMORY, "no memory for tasks")
                           : train_fold_read(rz_options_text(options, "fold"), &o.split, error);
    rz_split_rule_text(o.split, split);
    if (status == RZ_OK && strcmp(split, checkpoint->origin.split) != 0)
        status = rz_fail(error, RZ_E_CONFLICT,
                         "the model was trained on the split %s, not on %s, whose tuning part it "
                         "may have learnt from; give the same --fold as finetune",
                         rz_split_text_shown(checkpoint->origin.split), split);
    for (size_t t = 0; status == RZ_OK && t < n; t++)
        tasks[t] = heads[t].task;
    if (status == RZ_OK)
        status = train_facilities_read(options, &facilities, error);
    if (status == RZ_OK)
        status = train_method_read(rz_options_text(options, "method"), &o.method, error);
    if (status == RZ_OK)
        status = train_prevalence_read(rz_options_text(options, "prevalence"), tasks, n,
                                       o.prevalence, error);
    (void)snprintf(path, sizeof path, "%s/.cache", r->work);
    if (status == RZ_OK)
        status = copy_store(rz_options_text(options, "db"), path, &facilities, &progress, &dataset,
                            error);
    if (status == RZ_OK)
        status = rz_recalibrate(r, checkpoint, dataset, &o, heads, n, error);
    (void)remove(path);
    if (status == RZ_OK)
        status = card_write(&(card){.folder = r->work,
                                    .title = "Risk model, calibrated anew",
                                    .model = checkpoint->model,
                                    .heads = heads,
                                    .n_heads = n,
                                    .data_sha256 = rz_dataset_sha256(dataset),
                                    .parent_sha256 = checkpoint->origin.parent_sha256,
                                    .learnt_from = &checkpoint->origin.facilities,
                                    .options = options,
                                    .option_names = listed,
                                    .n_options = RZ_COUNT(listed)},
                            error);
    if (status == RZ_OK)
        status = rz_recalibration_finish(r, error);
    rz_dataset_close(dataset);
    free(tasks);
    return status;
}

/* The precision that is asked for, or that of tasks.json. */
static rz_status precision_read(const rz_options *options, const rz_head *heads, rz_model *model,
                                rz_error *error)
{
    const char *name = rz_options_text(options, "precision");
    return train_precision_read(name != NULL ? name : rz_precision_name(heads[0].precision),
                                &model->precision, error);
}

static rz_status check_out(const rz_options *options, rz_error *error)
{
    const char *out = rz_options_text(options, "out");
    if (out == NULL || rz_options_switch(options, "force") || access(out, F_OK) != 0)
        return RZ_OK;
    return rz_fail(error, RZ_E_CONFLICT,
                   "%s is there; choose another --out or overwrite it with --force", out);
}

static rz_status run_command(const rz_options *options, rz_error *error)
{
    const char *folder = NULL;
    rz_checkpoint checkpoint = {0};
    rz_recalibration r = {0};
    rz_pool *pool = NULL;
    rz_head *heads = calloc(RZ_HEADS_MAX, sizeof *heads);
    size_t n = 0;
    rz_status status = heads == NULL ? rz_fail(error, RZ_E_NO_MEMORY, "no memory for heads")
                                     : train_text_required(options, "model", &folder, error);
    if (status == RZ_OK)
        status = rz_pool_new((unsigned)rz_options_int(options, "threads"), &pool, error);
    if (status == RZ_OK)
        status = rz_checkpoint_load(folder, pool, &checkpoint, error);
    if (status == RZ_OK && checkpoint.model->config.onset)
        status = rz_fail(error, RZ_E_INVALID,
                         "%s: calibrate fits task heads; the onset head is calibrated by finetune "
                         "--onset, on the database that it learns from",
                         folder);
    if (status == RZ_OK && checkpoint.model->n_heads == 0)
        status =
            rz_fail(error, RZ_E_INVALID,
                    "%s: this model has no task heads to calibrate; fine-tune it first", folder);
    if (status == RZ_OK)
        status = rz_heads_read(folder, heads, &n, NULL, error);
    if (status == RZ_OK && (n == 0 || n != checkpoint.model->n_heads))
        status = rz_fail(error, RZ_E_INVALID, "%s has %zu heads in tasks.json and %zu in the model",
                         folder, n, checkpoint.model->n_heads);
    if (status == RZ_OK)
        status = precision_read(options, heads, checkpoint.model, error);
    if (status == RZ_OK)
        status = check_out(options, error);
    if (status == RZ_OK)
        status = rz_recalibration_open(&r, folder, rz_options_text(options, "out"), error);
    if (status == RZ_OK)
        status = calibrate(options, &checkpoint, &r, heads, n, error);
    if (status == RZ_OK) {
        program_progress_end();
        (void)printf("%-14s %8s %9s %10s  %s\n", "task", "patients", "positives", "prevalence",
                     "calibration");
        for (size_t t = 0; t < n; t++)
            (void)printf("%-14s %8u %9u %10.4f  %.12s\n", heads[t].task.name,
                         heads[t].calibration.tuning_n, heads[t].calibration.tuning_positives,
                         heads[t].calibration.prevalence, heads[t].calibration.id);
    }
    rz_recalibration_close(&r);
    for (size_t t = 0; t < n; t++)
        rz_head_done(&heads[t]);
    rz_model_free(checkpoint.model);
    rz_pool_free(pool);
    free(heads);
    return status;
}

rz_status cmd_calibrate(int argc, char *const *argv, rz_error *error)
{
    rz_options *options = NULL;
    bool stop = false;
    rz_status status =
        program_options(table, RZ_COUNT(table), usage, false, argc, argv, &options, &stop, error);
    if (status == RZ_OK && !stop)
        status = run_command(options, error);
    rz_options_free(options);
    return status;
}
