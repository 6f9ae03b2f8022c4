/* rezept-train evaluate: how good a model is on patients it has not seen. Prints a table, and with
 * --out writes report.json, report.html and scores.csv, with --scores the last alone. */
#include "base/file.h"
#include "base/size.h"
#include "evaluate.h"
#include "onset_subject.h"
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
    {"tasks", RZ_OPTION_TEXT, NULL, .value = "DIR",
     .help =
         "folder of task files to answer through the model's onset head: the chance that any of "
         "their codes comes, calibrated on the tuning split"},
    {"split", RZ_OPTION_TEXT, "held_out", .value = "NAME",
     .help = "held_out, tuning, train or all"},
    {"fold", RZ_OPTION_TEXT, NULL, .value = "K/N",
     .help = "in place of the split: fold K of N (1/5 … 5/5) that finetune --fold held out"},
    FACILITY_OPTION_ROWS,
    {"truth", RZ_OPTION_TEXT, NULL, .group = "Measuring", .value = "FILE",
     .help = "true risks that simulate wrote (--truth)"},
    {"out", RZ_OPTION_TEXT, NULL, .value = "DIR",
     .help = "folder for report.json, report.html and scores.csv"},
    {"scores", RZ_OPTION_TEXT, NULL, .value = "FILE",
     .help = "the patients' scores alone, as in scores.csv of --out"},
    {"draws", RZ_OPTION_INT, "1", 1, RZ_COHORT_DRAWS_MAX, .value = "N",
     .help = "index days of a patient: where outcomes are few, more days say more; intervals "
             "resample patients"},
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
        out->split = RZ_SPLIT_HELD_OUT;
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

/* The tasks that --task names, or all: the model's heads in its order, or with --tasks those of the
 * folder, through the onset head. */
typedef struct chosen_tasks {
    rz_predictor *predictor;
    size_t n, head[RZ_TASKS_MAX];
    rz_task *tasks;      /* [n] owned */
    rz_risk *risks;      /* [EVALUATE_ROWS_PER_CALL] owned */
    onset_subject onset; /* zeroed without --tasks */
} chosen_tasks;

/* Keeps the tasks that --task names, in their order. */
static rz_status choose(const rz_options *options, size_t n, chosen_tasks *chosen, rz_error *error)
{
    const char *list = rz_options_text(options, "task");
    rz_task *tasks = chosen->tasks;
    uint64_t wanted = list == NULL ? UINT64_MAX : 0;
    while (list != NULL && *list != '\0') {
        size_t length = strcspn(list, ","), i = 0;
        while (i < n &&
               (strlen(tasks[i].name) != length || memcmp(tasks[i].name, list, length) != 0))
            i++;
        if (i == n)
            return rz_fail(error, RZ_E_NOT_FOUND, "there is no task %.*s; the tasks begin with %s",
                           (int)length, list, n > 0 ? tasks[0].name : "none");
        wanted |= (uint64_t)1 << i;
        list += length + (list[length] == ',' ? 1 : 0);
    }
    for (size_t i = 0; i < n; i++) {
        if ((wanted >> i & 1) == 0)
            continue;
        chosen->head[chosen->n] = i;
        tasks[chosen->n++] = tasks[i];
    }
    return RZ_OK;
}

static rz_status choose_tasks(const rz_options *options, rz_predictor *predictor,
                              chosen_tasks *chosen, rz_error *error)
{
    const char *folder = rz_options_text(options, "tasks");
    const rz_head *head = NULL;
    size_t n = rz_predictor_heads(predictor, &head);
    if (n == 0 && folder == NULL)
        return rz_fail(error, RZ_E_USAGE,
                       "the model has the onset head alone; give --tasks DIR to evaluate tasks "
                       "through it");
    *chosen = (chosen_tasks){.predictor = predictor,
                             .tasks = calloc(RZ_TASKS_MAX, sizeof *chosen->tasks),
                             .risks = calloc(EVALUATE_ROWS_PER_CALL, sizeof *chosen->risks)};
    if (chosen->tasks == NULL || chosen->risks == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for tasks");
    for (size_t i = 0; folder == NULL && i < n; i++)
        chosen->tasks[i] = head[i].task;
    rz_status status = folder == NULL ? RZ_OK : rz_tasks_load(folder, chosen->tasks, &n, error);
    if (status == RZ_OK)
        status = choose(options, n, chosen, error);
    if (status == RZ_OK && folder != NULL)
        status = onset_subject_init(predictor, chosen->tasks, chosen->n, &chosen->onset, error);
    return status;
}

static void chosen_done(chosen_tasks *chosen)
{
    onset_subject_done(&chosen->onset);
    free(chosen->tasks);
    free(chosen->risks);
}

/* The risks are those that the daemon would have given: the same predictor. */
static rz_status score(void *context, size_t task, const rz_timeline *const *timelines,
                       const int32_t *as_of, size_t n, evaluate_score *out, rz_error *error)
{
    const chosen_tasks *c = context;
    rz_predict_options options = rz_predict_options_defaults();
    options.heads = (uint64_t)1 << c->head[task];
    rz_status status =
        rz_predictor_risks(c->predictor, timelines, as_of, n, &options, c->risks, error);
    for (size_t i = 0; status == RZ_OK && i < n; i++) {
        const rz_risk *r = &c->risks[i];
        if (isnan(r->probability))
            return rz_fail(error, RZ_E_INTERNAL,
                           "task %s: a patient of the cohort has no risk (%s)", c->tasks[task].name,
                           rz_reason_text(r->eligibility.reason));
        out[i] = (evaluate_score){
            .probability = r->probability, .age_sex = r->age_sex_average, .logit = r->logit};
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
                              .draws = (unsigned)rz_options_int(options, "draws"),
                              .seed = (uint64_t)rz_options_int(options, "seed")};
    char split[32], data_sha256[RZ_SHA256_TEXT], date[RZ_DAY_TEXT], name[256];
    const char *truth_path = rz_options_text(options, "truth"),
               *out = rz_options_text(options, "out"), *scores = rz_options_text(options, "scores");
    chosen_tasks chosen = {0};
    const rz_onset *onset = rz_predictor_onset(predictor);
    bool through = rz_options_text(options, "tasks") != NULL;
    truth_table truth = {0};
    rz_progress progress = program_progress();
    folder_name(rz_options_text(options, "model"), name);
    evaluation result = {.report = {.model_name = name,
                                    .model_sha256 = rz_predictor_sha256(predictor),
                                    .tasks_sha256 = through && onset != NULL
                                                        ? onset->sha256
                                                        : rz_predictor_tasks_sha256(predictor),
                                    .data_sha256 = data_sha256,
                                    .model = rz_predictor_model(predictor),
                                    .date = rz_day_text(rz_day_today(), date),
                                    .split = split,
                                    .learnt_from = rz_predictor_origin(predictor)->facilities,
                                    .bootstraps = asked.bootstraps,
                                    .seed = asked.seed}};
    rz_status status = read_split(options, &asked, split, error);
    if (status == RZ_OK)
        status = train_facilities_read(options, &result.report.facilities, error);
    asked.facilities = &result.report.facilities;
    if (status == RZ_OK)
        status = check_unseen(&asked, rz_predictor_origin(predictor)->split, error);
    if (status == RZ_OK)
        status = choose_tasks(options, predictor, &chosen, error);
    if (status == RZ_OK && truth_path != NULL)
        status = truth_table_read(truth_path, store, chosen.tasks, chosen.n, &truth, error);
    if (truth_path != NULL)
        asked.truth = &truth;
    if (status == RZ_OK)
        status = rz_store_data_hash(store, data_sha256, error);
    /* Before the work, whose result would have nowhere to go. */
    if (status == RZ_OK && out != NULL)
        status = rz_folder_make(out, error);
    const evaluate_subject heads = {
        .tasks = chosen.tasks, .n_tasks = chosen.n, .score = score, .context = &chosen};
    const evaluate_subject subject = through ? onset_subject_of(&chosen.onset) : heads;
    if (status == RZ_OK && through)
        status = onset_subject_calibrate(&chosen.onset, store, asked.rule, asked.facilities,
                                         asked.draws, asked.seed, &progress, error);
    if (status == RZ_OK)
        status = evaluate(store, &subject, &asked, &progress, &result, error);
    if (status == RZ_OK && through)
        status = onset_subject_tell(&chosen.onset, store, &result.report, error);
    program_progress_end();
    if (status == RZ_OK)
        evaluation_print(&result, truth_path != NULL);
    if (status == RZ_OK && truth.foreign > 0)
        (void)printf("%zu rows of %s name tasks or patients that are not here\n", truth.foreign,
                     truth_path);
    if (status == RZ_OK && out != NULL)
        status = evaluation_write(&result, out, error);
    if (status == RZ_OK && scores != NULL)
        status = evaluation_write_scores(&result, scores, error);
    evaluation_done(&result);
    truth_table_done(&truth);
    chosen_done(&chosen);
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
