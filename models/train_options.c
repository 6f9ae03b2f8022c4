/* Reads the shared options into the library's structs. */
#include "train_options.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

rz_status train_facilities_read(const rz_options *options, rz_facilities *out, rz_error *error)
{
    const char *without = rz_options_text(options, "hold-out-facility"),
               *only = rz_options_text(options, "facility");
    if (without != NULL && only != NULL)
        return rz_fail(error, RZ_E_USAGE,
                       "give --hold-out-facility or --facility, not both: the one leaves out, the "
                       "other keeps");
    rz_status status =
        rz_facilities_read(without != NULL ? without : only, without != NULL, out, error);
    if (status != RZ_OK)
        rz_error_prefix(error, without != NULL ? "--hold-out-facility: " : "--facility: ");
    return status;
}

rz_train_options train_options_read(const rz_options *options, const rz_progress *progress)
{
    rz_train_options o = rz_train_options_defaults();
    o.seed = (uint64_t)rz_options_int(options, "seed");
    o.learning_rate = rz_options_real(options, "lr");
    o.rate_factor = rz_options_real(options, "lr-factor");
    o.warmup = rz_options_real(options, "warmup");
    o.optimizer.weight_decay = rz_options_real(options, "weight-decay");
    o.optimizer.clip = rz_options_real(options, "clip");
    o.batch_tokens = (size_t)rz_options_int(options, "batch-tokens");
    o.part_tokens = (size_t)rz_options_int(options, "part-tokens");
    o.steps = (uint64_t)rz_options_int(options, "steps");
    o.epochs = rz_options_real(options, "epochs");
    o.minutes = rz_options_real(options, "minutes");
    o.evaluations = (unsigned)rz_options_int(options, "evaluations");
    o.patience = (unsigned)rz_options_int(options, "patience");
    o.save_seconds = rz_options_real(options, "save-seconds");
    o.progress = progress;
    return o;
}

rz_status train_precision_read(const char *name, rz_precision *out, rz_error *error)
{
    if (!rz_precision_read(name, out))
        return rz_fail(error, RZ_E_USAGE, "--precision %.32s: float32, bf16 or int8", name);
    if (*out != RZ_FLOAT32 && !rz_kernels_find(NULL)->low_native)
        (void)fprintf(
            stderr,
            "rezept-train: this CPU has no instructions for %s, which is slower here than "
            "float32\n",
            name);
    return RZ_OK;
}

rz_status train_tasks_load(const char *folder, const char *names, rz_task *tasks, size_t *n,
                           rz_error *error)
{
    size_t all = 0, kept = 0;
    rz_status status = rz_tasks_load(folder, tasks, &all, error);
    for (const char *name = names; status == RZ_OK && name != NULL && *name != '\0';) {
        size_t length = strcspn(name, ","), t = 0;
        while (t < all &&
               (strlen(tasks[t].name) != length || strncmp(tasks[t].name, name, length) != 0))
            t++;
        if (t == all)
            status = rz_fail(error, RZ_E_NOT_FOUND, "there is no task %.*s in %s", (int)length,
                             name, folder);
        name += length + (name[length] == ',');
    }
    for (size_t t = 0; status == RZ_OK && t < all; t++) {
        bool wanted = names == NULL;
        for (const char *name = names; !wanted && name != NULL && *name != '\0';) {
            size_t length = strcspn(name, ",");
            wanted = strlen(tasks[t].name) == length && strncmp(tasks[t].name, name, length) == 0;
            name += length + (name[length] == ',');
        }
        if (wanted)
            tasks[kept++] = tasks[t];
    }
    if (status == RZ_OK && kept == 0)
        status = rz_fail(error, RZ_E_NOT_FOUND, "there is no task in %s", folder);
    *n = kept;
    return status;
}

rz_status train_fold_read(const char *text, rz_split_rule *out, rz_error *error)
{
    *out = (rz_split_rule){0};
    if (text == NULL)
        return RZ_OK;
    char *slash = NULL, *end = NULL;
    unsigned long fold = strtoul(text, &slash, 10), n = 0;
    if (slash != text && *slash == '/')
        n = strtoul(slash + 1, &end, 10);
    if (end == NULL || *end != '\0' || n < 2 || n > RZ_FOLDS_MAX || fold < 1 || fold > n)
        return rz_fail(error, RZ_E_USAGE,
                       "--fold %s: give K/N with N from 2 to %d and K from 1 to N", text,
                       RZ_FOLDS_MAX);
    *out = (rz_split_rule){.n_folds = (unsigned)n, .fold = (unsigned)fold - 1};
    return RZ_OK;
}

/* A share with a decimal point; programs set no locale, so strtod reads one. */
static bool read_share(const char *text, size_t n, double *out)
{
    char copy[40], *end = NULL;
    if (n == 0 || n >= sizeof copy)
        return false;
    memcpy(copy, text, n);
    copy[n] = '\0';
    *out = strtod(copy, &end);
    return *end == '\0' && *out > 0.0 && *out < 1.0;
}

rz_status train_prevalence_read(const char *text, const rz_task *tasks, size_t n_tasks, double *out,
                                rz_error *error)
{
    double value = NAN;
    for (size_t t = 0; t < n_tasks; t++)
        out[t] = NAN;
    if (text == NULL)
        return RZ_OK;
    if (read_share(text, strlen(text), &value)) {
        for (size_t t = 0; t < n_tasks; t++)
            out[t] = value;
        return RZ_OK;
    }
    for (const char *item = text; *item != '\0';) {
        size_t n = strcspn(item, ","), name = strcspn(item, "=");
        size_t t = 0;
        while (t < n_tasks && (name >= n || strlen(tasks[t].name) != name ||
                               strncmp(tasks[t].name, item, name) != 0))
            t++;
        if (t == n_tasks || !read_share(item + name + 1, n - name - 1, &out[t]))
            return rz_fail(error, RZ_E_USAGE,
                           "--prevalence %.60s: a share between 0 and 1, or task=share,…", text);
        item += n + (item[n] == ',');
    }
    return RZ_OK;
}

rz_status train_mix_read(const rz_options *options, rz_label_mix *out, rz_error *error)
{
    const bool balanced = rz_options_switch(options, "balanced"),
               enriched = rz_options_switch(options, "enriched");
    if (balanced && enriched)
        return rz_fail(error, RZ_E_USAGE, "give --balanced or --enriched, not both");
    *out = balanced ? RZ_MIX_BALANCED : enriched ? RZ_MIX_ENRICHED : RZ_MIX_NATURAL;
    if (*out != RZ_MIX_NATURAL && rz_options_int(options, "labels") == 0)
        return rz_fail(error, RZ_E_USAGE, "--%s needs --labels N",
                       balanced ? "balanced" : "enriched");
    return RZ_OK;
}

rz_status train_method_read(const char *text, rz_calibration_method *out, rz_error *error)
{
    if (strcmp(text, "platt") != 0 && strcmp(text, "isotonic") != 0)
        return rz_fail(error, RZ_E_USAGE, "--method %.40s: platt or isotonic", text);
    *out = strcmp(text, "isotonic") == 0 ? RZ_CALIBRATION_ISOTONIC : RZ_CALIBRATION_PLATT;
    return RZ_OK;
}

rz_status train_text_required(const rz_options *options, const char *name, const char **out,
                              rz_error *error)
{
    *out = rz_options_text(options, name);
    if (*out == NULL || **out == '\0')
        return rz_fail(error, RZ_E_USAGE, "--%s is missing; --help explains it", name);
    return RZ_OK;
}

void train_result_print(const char *what, const char *out, const rz_train_result *r)
{
    program_progress_end();
    (void)printf("%s: %llu steps, %llu tokens, %llu epochs in %.1f s (%.0f tokens/s)\n", what,
                 (unsigned long long)r->steps, (unsigned long long)r->tokens,
                 (unsigned long long)r->epochs, r->seconds,
                 r->seconds > 0.0 ? (double)r->tokens / r->seconds : 0.0);
    (void)printf("tuning loss %.4f, best at step %llu%s\n%s\n", r->best_loss,
                 (unsigned long long)r->best_step,
                 r->stopped_early ? "; ended early, no gain any more"
                 : r->time_over   ? "; ended by --minutes before the plan"
                                  : "",
                 out);
}
