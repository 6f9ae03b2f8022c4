/* rezept-train baseline: boosted trees or a regression on counts, learnt from the labels that
 * fine-tuning takes and measured as a model is. */
#include "base/file.h"
#include "base/size.h"
#include "baseline.h"
#include "program.h"
#include "train/run.h"
#include "train_options.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum { TASK_BYTES_MAX = 1 << 20, MODEL_BYTES_MAX = 1 << 30, NAMES_BYTES_MAX = 1 << 28 };

static const rz_option table[] = {
    {"db", RZ_OPTION_TEXT, "rezept.db", .value = "FILE", .help = "database to learn from"},
    {"task", RZ_OPTION_TEXT, NULL, .value = "FILE", .help = "task file (models/tasks/*.json)"},
    {"engine", RZ_OPTION_TEXT, "xgboost", .value = "NAME",
     .help = "xgboost, lightgbm (where its shared library is installed) or logistic"},
    {"out", RZ_OPTION_TEXT, NULL, .value = "DIR", .help = "folder of the result"},
    {"grid", RZ_OPTION_TEXT, "full", .value = "NAME",
     .help = "settings to choose from: full (21 of trees, 8 penalties) or small (3)"},
    {"labels", RZ_OPTION_INT, "0", .max = 1e9, .value = "N",
     .group = "Labels (the same values give finetune the same ones)",
     .help = "know so many labels and nothing else; 0 = all"},
    {"balanced", RZ_OPTION_SWITCH, "false", .help = "half of the --labels are positive"},
    {"enriched", RZ_OPTION_SWITCH, "false",
     .help = "half of the --labels are positive, or where there are fewer positives, all of them"},
    {"cross-fit", RZ_OPTION_SWITCH, "false",
     .help = "small records: choose and calibrate on scores out of fold instead of on a tuning "
             "part (--labels does so anyway)"},
    {"draws", RZ_OPTION_INT, "6", 1, RZ_COHORT_DRAWS_MAX, .value = "N",
     .help = "index days of a training or tuning patient"},
    {"scored-draws", RZ_OPTION_INT, "1", 1, RZ_COHORT_DRAWS_MAX, .value = "N",
     .help = "index days of a patient who is evaluated or scored, as evaluate --draws"},
    {"prevalence", RZ_OPTION_TEXT, NULL, .value = "X",
     .help = "share of positives where risks are used (default: counted)"},
    {"method", RZ_OPTION_TEXT, "platt", .value = "NAME", .help = "platt or isotonic"},
    {"seed", RZ_OPTION_INT, "1", .max = 9e15, .value = "N",
     .help = "of the labels, the engine and the resamples (never of the splits)"},
    {"fold", RZ_OPTION_TEXT, NULL, .value = "K/N",
     .help = "small sets: hold out fold K of N (1/5 … 5/5) and tune on a quarter of the rest"},
    FACILITY_OPTION_ROWS,
    {"split", RZ_OPTION_TEXT, "tuning", .value = "NAME", .group = "Measuring",
     .help = "tuning, or held_out, which is for the last report"},
    {"truth", RZ_OPTION_TEXT, NULL, .value = "FILE",
     .help = "true risks that simulate wrote (--truth)"},
    {"scores", RZ_OPTION_TEXT, NULL, .value = "PREFIX",
     .help = "scores of both splits, unseen, into PREFIX-tuning.csv and PREFIX-held_out.csv"},
    {"bootstraps", RZ_OPTION_INT, "1000", .min = 0, .max = 100000, .value = "N",
     .help = "patient resamples behind each interval"},
    {"threads", RZ_OPTION_INT, "0", .min = 0, .max = 256, .value = "N", .group = "Run",
     .help = "threads; 0 = all cores"},
    {"force", RZ_OPTION_SWITCH, "false", .help = "throw away what is in the output folder"},
};

static const char usage[] =
    "usage: rezept-train baseline --db FILE --task FILE --out DIR [--engine NAME] [FLAGS]\n\n"
    "Learns a task from counts of codes, age, sex and utilisation: what a model must beat.\n\n";

typedef struct job {
    const rz_options *options;
    const char *out;
    rz_task task;
    baseline_options learning;
    evaluate_options measuring;
    rz_facilities facilities;
    rz_progress progress;
    char split[RZ_SPLIT_TEXT + 16]; /* what is measured on */
} job;

/* ---- what was asked for ---- */

static rz_status read_task(const char *path, rz_task *out, rz_error *error)
{
    char *data = NULL;
    size_t length = 0;
    json_error_t where;
    rz_status status = rz_file_read(path, TASK_BYTES_MAX, &data, &length, error);
    if (status != RZ_OK)
        return status;
    json_t *json = json_loadb(data, length, JSON_REJECT_DUPLICATES, &where);
    if (json == NULL)
        status = rz_fail(error, RZ_E_FORMAT, "%s:%d: %s", path, where.line, where.text);
    else
        status = rz_task_from_json(json, out, error);
    if (json != NULL && status != RZ_OK)
        rz_error_prefix(error, "%s: ", path);
    json_decref(json);
    free(data);
    return status;
}

static rz_status read_split(job *j, rz_error *error)
{
    const char *name = rz_options_text(j->options, "split"),
               *fold = rz_options_text(j->options, "fold");
    bool held_out = strcmp(name, "held_out") == 0;
    if (!held_out && strcmp(name, "tuning") != 0)
        return rz_fail(error, RZ_E_USAGE, "--split %.40s: tuning or held_out is possible", name);
    rz_status status = train_fold_read(fold, &j->learning.split, error);
    if (status != RZ_OK)
        return status;
    j->measuring.split = held_out ? RZ_SPLIT_HELD_OUT : RZ_SPLIT_TUNING;
    j->measuring.rule = j->learning.split;
    if (fold == NULL) {
        (void)snprintf(j->split, sizeof j->split, "%s", name);
    } else {
        char text[RZ_SPLIT_TEXT];
        rz_split_rule_text(j->learning.split, text);
        (void)snprintf(j->split, sizeof j->split, "%s%s", text, held_out ? "" : ", tuning");
    }
    return RZ_OK;
}

static rz_status read_grid(job *j, rz_error *error)
{
    const char *grid = rz_options_text(j->options, "grid"),
               *name = rz_options_text(j->options, "engine");
    char version[ENGINE_VERSION];
    j->learning.engine = engine_find(name);
    if (j->learning.engine == NULL)
        return rz_fail(error, RZ_E_USAGE, "--engine %.40s: xgboost, lightgbm or logistic", name);
    if (strcmp(grid, "full") != 0 && strcmp(grid, "small") != 0)
        return rz_fail(error, RZ_E_USAGE, "--grid %.40s: full or small", grid);
    j->learning.full_grid = strcmp(grid, "full") == 0;
    return j->learning.engine->probe(version, error);
}

static rz_status read_job(job *j, rz_error *error)
{
    const rz_options *options = j->options;
    const char *task = NULL;
    j->learning.labels = (size_t)rz_options_int(options, "labels");
    j->learning.crossfit = rz_options_switch(options, "cross-fit");
    j->learning.draws = (unsigned)rz_options_int(options, "draws");
    j->learning.seed = (uint64_t)rz_options_int(options, "seed");
    j->learning.progress = &j->progress;
    j->measuring.bootstraps = (unsigned)rz_options_int(options, "bootstraps");
    j->measuring.draws = (unsigned)rz_options_int(options, "scored-draws");
    j->measuring.seed = j->learning.seed;
    rz_status status = train_text_required(options, "task", &task, error);
    if (status == RZ_OK)
        status = train_text_required(options, "out", &j->out, error);
    if (status == RZ_OK)
        status = train_mix_read(options, &j->learning.mix, error);
    if (status == RZ_OK)
        status = read_split(j, error);
    if (status == RZ_OK)
        status = train_facilities_read(options, &j->facilities, error);
    j->measuring.facilities = &j->facilities;
    if (status == RZ_OK)
        status = train_method_read(rz_options_text(options, "method"), &j->learning.method, error);
    if (status == RZ_OK)
        status = read_grid(j, error);
    if (status == RZ_OK)
        status = read_task(task, &j->task, error);
    if (status == RZ_OK)
        status = train_prevalence_read(rz_options_text(options, "prevalence"), &j->task, 1,
                                       &j->learning.prevalence, error);
    return status;
}

/* ---- files ---- */

static json_t *setting_json(const engine *e, const engine_setting *s)
{
    return e->trees ? json_pack("{s:f, s:i, s:i}", "rate", s->rate, "depth", s->depth, "leaves",
                                s->leaves)
                    : json_pack("{s:f}", "penalty", s->penalty);
}

static json_t *trials_json(const engine *e, const tuning_result *tuning)
{
    json_t *list = json_array();
    for (size_t i = 0; i < tuning->n; i++) {
        const tuning_trial *t = &tuning->trials[i];
        json_t *trial = setting_json(e, &t->setting);
        (void)json_object_set_new(trial, "rounds", json_integer(t->rounds));
        (void)json_object_set_new(trial, "loss", json_real(t->loss));
        (void)json_object_set_new(trial, "seconds", json_real(t->seconds));
        (void)json_object_set_new(trial, "chosen", json_boolean(i == tuning->best));
        (void)json_array_append_new(list, trial);
    }
    return list;
}

static double seconds(const struct timeval *t)
{
    return (double)t->tv_sec + 1e-6 * (double)t->tv_usec;
}

static json_t *baseline_json(const job *j, const baseline *b, const char *data_sha256)
{
    const baseline_options *o = &j->learning;
    char split[RZ_SPLIT_TEXT];
    struct rusage used;
    (void)getrusage(RUSAGE_SELF, &used);
    rz_split_rule_text(o->split, split);
    json_t *labels = json_pack(
        "{s:I, s:b, s:b, s:b, s:i, s:s, s:o, s:I, s:{s:I, s:I}, s:{s:s, s:I, s:I}}", "asked_for",
        (json_int_t)o->labels, "balanced", o->mix == RZ_MIX_BALANCED, "enriched",
        o->mix == RZ_MIX_ENRICHED, "cross_fit", o->crossfit, "draws", (int)o->draws, "split", split,
        "facilities", rz_facilities_json(&j->facilities), "seed", (json_int_t)o->seed,
        "learnt_from", "n", (json_int_t)b->learnt.n, "positives", (json_int_t)b->learnt.positives,
        "chosen_on", "part", o->labels > 0 || o->crossfit ? "train, out of fold" : "tuning", "n",
        (json_int_t)b->watched.n, "positives", (json_int_t)b->watched.positives);
    json_t *cost =
        json_pack("{s:i, s:f, s:f, s:f, s:f, s:I}", "threads", (int)b->engine_options.threads,
                  "features_seconds", b->features_s, "tuning_seconds", b->tuning_s, "fit_seconds",
                  b->fit_s, "cpu_seconds", seconds(&used.ru_utime) + seconds(&used.ru_stime),
                  "memory_bytes_max", (json_int_t)used.ru_maxrss * 1024);
    return json_pack("{s:s, s:i, s:s, s:s, s:s, s:s, s:s, s:s, s:o, s:{s:I, s:I, s:s}, s:o, s:o}",
                     "format", "rezept-baseline", "format_version", 1, "task", j->task.name,
                     "engine", o->engine->name, "engine_version", b->engine_version, "code_version",
                     REZEPT_VERSION, "data_sha256", data_sha256, "grid",
                     o->full_grid ? "full" : "small", "labels", labels, "features", "columns",
                     (json_int_t)features_columns(b->features), "codes",
                     (json_int_t)(b->vocabulary->n_diagnoses + b->vocabulary->n_medications),
                     "vocabulary_sha256", b->vocabulary->sha256, "settings",
                     trials_json(o->engine, &b->tuning), "cost", cost);
}

static rz_status write_in(const char *folder, const char *name, const void *data, size_t n,
                          rz_error *error)
{
    char *path = rz_path_join(folder, name);
    rz_status status = path != NULL ? rz_file_write(path, data, n, error)
                                    : rz_fail(error, RZ_E_NO_MEMORY, "no memory for %s", name);
    free(path);
    return status;
}

static rz_status write_names(const char *folder, const baseline *b, rz_error *error)
{
    char name[FEATURE_NAME];
    rz_buffer text;
    rz_buffer_init(&text, NAMES_BYTES_MAX);
    rz_status status = rz_buffer_add_text(&text, "column,name\n");
    for (size_t i = 0; status == RZ_OK && i < features_columns(b->features); i++)
        status = rz_buffer_addf(&text, "%zu,\"%s\"\n", i, features_name(b->features, i, name));
    if (status == RZ_OK)
        status = write_in(folder, "features.csv", text.data, text.length, error);
    else
        (void)rz_fail(error, status, "the names of the features: %s", rz_status_text(status));
    rz_buffer_done(&text);
    return status;
}

/* The engine's own file, features.csv, tasks.json and baseline.json; gives two digests. */
static rz_status write_baseline(const job *j, const char *folder, const baseline *b,
                                const char *data_sha256, char model_sha256[RZ_SHA256_TEXT],
                                char tasks_sha256[RZ_SHA256_TEXT], rz_error *error)
{
    const engine *e = j->learning.engine;
    uint64_t size = 0;
    rz_sha256 hash;
    rz_buffer model;
    rz_buffer_init(&model, MODEL_BYTES_MAX);
    rz_status status = e->save(b->tuned.fit, &model, error);
    if (status == RZ_OK)
        status = write_in(folder, e->model_file, model.data, model.length, error);
    if (status == RZ_OK) {
        rz_sha256_init(&hash);
        rz_sha256_add(&hash, model.data, model.length);
        rz_sha256_text(&hash, model_sha256);
    }
    rz_buffer_done(&model);
    if (status == RZ_OK)
        status = write_names(folder, b, error);
    if (status == RZ_OK)
        status = rz_heads_write(folder, &b->head, 1, error);
    char *path = rz_path_join(folder, "tasks.json");
    if (status == RZ_OK)
        status = path != NULL ? rz_file_digest(path, tasks_sha256, &size, error)
                              : rz_fail(error, RZ_E_NO_MEMORY, "no memory for tasks.json");
    free(path);
    json_t *json = status == RZ_OK ? baseline_json(j, b, data_sha256) : NULL;
    char *text = json != NULL ? json_dumps(json, JSON_INDENT(2) | JSON_REAL_PRECISION(9)) : NULL;
    if (status == RZ_OK)
        status = text != NULL ? write_in(folder, "baseline.json", text, strlen(text), error)
                              : rz_fail(error, RZ_E_NO_MEMORY, "no memory for baseline.json");
    free(text);
    json_decref(json);
    return status;
}

/* ---- the command ---- */

static void print_choice(const job *j, const baseline *b)
{
    const tuning_trial *t = &b->tuning.trials[b->tuning.best];
    (void)printf("%s %s: %zu labels (%zu positive), %zu features\n", j->learning.engine->name,
                 b->engine_version, b->learnt.n, b->learnt.positives,
                 features_columns(b->features));
    if (j->learning.engine->trees)
        (void)printf("chosen of %zu settings: %u trees, depth %d (0 = any), %d leaves, rate %g",
                     b->tuning.n, t->rounds, t->setting.depth, t->setting.leaves, t->setting.rate);
    else
        (void)printf("chosen of %zu settings: penalty %g", b->tuning.n, t->setting.penalty);
    (void)printf("; loss %.4f\nfeatures %.1f s, tuning %.1f s, fit %.1f s\n\n", t->loss,
                 b->features_s, b->tuning_s, b->fit_s);
}

/* Scores of tuning and held-out patients for whoever compares them later; no figure is made of
 * them here. */
static rz_status write_scores(const job *j, rz_store *store, const evaluate_subject *subject,
                              const char *prefix, rz_error *error)
{
    static const rz_split splits[] = {RZ_SPLIT_TUNING, RZ_SPLIT_HELD_OUT};
    static const char *const names[] = {"tuning", "held_out"};
    rz_status status = RZ_OK;
    for (size_t i = 0; status == RZ_OK && i < RZ_COUNT(splits); i++) {
        evaluate_options o = j->measuring;
        evaluation result = {.rule = o.rule};
        char path[PATH_MAX];
        o.split = splits[i];
        o.bootstraps = 0;
        int n = snprintf(path, sizeof path, "%s-%s.csv", prefix, names[i]);
        if (n < 0 || (size_t)n >= sizeof path)
            return rz_fail(error, RZ_E_USAGE, "--scores %.60s…: too long", prefix);
        status = evaluate(store, subject, &o, &j->progress, &result, error);
        if (status == RZ_OK)
            status = evaluation_write_scores(&result, path, error);
        evaluation_done(&result);
    }
    return status;
}

/* Measures, writes all files, prints. */
static rz_status report(job *j, rz_store *store, const rz_run *run, const rz_dataset *dataset,
                        baseline *b, rz_error *error)
{
    const char *truth_path = rz_options_text(j->options, "truth"),
               *scores = rz_options_text(j->options, "scores");
    const engine *e = j->learning.engine;
    char model_sha256[RZ_SHA256_TEXT], tasks_sha256[RZ_SHA256_TEXT], date[RZ_DAY_TEXT];
    char data_sha256[RZ_SHA256_TEXT];
    truth_table truth = {0};
    rz_model stands_for = {0}; /* its config is what a report says of a model */
    (void)snprintf(stands_for.config.family, sizeof stands_for.config.family, "%s", e->name);
    (void)snprintf(stands_for.config.size, sizeof stands_for.config.size,
                   e->trees ? "%u trees" : "linear", b->tuning.trials[b->tuning.best].rounds);
    (void)snprintf(data_sha256, sizeof data_sha256, "%s", rz_dataset_sha256(dataset));
    evaluation result = {.report = {.model_name = e->name,
                                    .model_sha256 = model_sha256,
                                    .tasks_sha256 = tasks_sha256,
                                    .data_sha256 = data_sha256,
                                    .model = &stands_for,
                                    .date = rz_day_text(rz_day_today(), date),
                                    .split = j->split,
                                    .facilities = j->facilities,
                                    .learnt_from = j->facilities,
                                    .bootstraps = j->measuring.bootstraps,
                                    .seed = j->measuring.seed}};
    const evaluate_subject subject = {
        .tasks = &j->task, .n_tasks = 1, .score = baseline_score, .context = b};
    rz_status status = RZ_OK;
    if (truth_path != NULL) {
        status = truth_table_read(truth_path, store, &j->task, 1, &truth, error);
        j->measuring.truth = &truth;
    }
    if (status == RZ_OK)
        status = evaluate(store, &subject, &j->measuring, &j->progress, &result, error);
    program_progress_end();
    if (status == RZ_OK)
        status = rz_checkpoint_begin(run->out, error);
    if (status == RZ_OK)
        status = write_baseline(j, run->out, b, data_sha256, model_sha256, tasks_sha256, error);
    if (status == RZ_OK)
        status = evaluation_write(&result, run->out, error);
    if (status == RZ_OK && scores != NULL)
        status = write_scores(j, store, &subject, scores, error);
    if (status == RZ_OK) {
        print_choice(j, b);
        evaluation_print(&result, truth_path != NULL);
    }
    evaluation_done(&result);
    truth_table_done(&truth);
    return status;
}

static rz_status run_job(job *j, rz_error *error)
{
    const rz_store_options store_options = rz_store_options_defaults();
    const char *db = rz_options_text(j->options, "db");
    rz_run run = {.lock = -1};
    rz_store *store = NULL;
    rz_dataset *dataset = NULL;
    baseline b = {0};
    rz_status status =
        rz_run_open(&run, j->out, false, rz_options_switch(j->options, "force"), error);
    if (status == RZ_OK)
        status =
            rz_run_dataset(&run, db, &store_options, &j->facilities, &j->progress, &dataset, error);
    if (status == RZ_OK)
        status = rz_store_open(db, &store_options, &store, error);
    if (status == RZ_OK)
        status =
            rz_pool_new((unsigned)rz_options_int(j->options, "threads"), &j->learning.pool, error);
    if (status == RZ_OK)
        status = baseline_learn(store, dataset, &j->task, &j->learning, &b, error);
    if (status == RZ_OK)
        status = report(j, store, &run, dataset, &b, error);
    rz_dataset_close(dataset);
    if (status == RZ_OK)
        status = rz_run_finish(&run, error);
    baseline_done(&b);
    rz_pool_free(j->learning.pool);
    rz_store_close(store);
    rz_run_close(&run);
    return status;
}

rz_status cmd_baseline(int argc, char *const *argv, rz_error *error)
{
    rz_options *options = NULL;
    bool stop = false;
    rz_status status =
        program_options(table, RZ_COUNT(table), usage, false, argc, argv, &options, &stop, error);
    if (status == RZ_OK && !stop) {
        job j = {.options = options, .progress = program_progress()};
        status = read_job(&j, error);
        if (status == RZ_OK)
            status = run_job(&j, error);
    }
    rz_options_free(options);
    return status;
}
