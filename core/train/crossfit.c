/* Keeps the scores out of fold of every evaluation, so that the one where all parts together do
 * best can be chosen when the last part has ended. */
#include "train/crossfit.h"

#include "base/file.h"
#include "base/size.h"
#include "claims/claim_json.h"
#include "train/score.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PART_BYTES_MAX = 1 << 30 };

struct rz_crossfit {
    rz_labels *labels;
    rz_dataset *dataset;
    const rz_train_options *options;
    const char *config_sha256, *data_sha256;
    unsigned n_evaluations; /* of a part, the one before the first step among them */
    unsigned *seen;         /* [n_evaluations] parts that came by there */
    float *logit;           /* [n_evaluations, n_used, n_tasks] */
    size_t n_used;
    uint32_t *used;  /* [n_used] rows that have a label */
    size_t *used_at; /* [n_rows] place of a row among them */
    json_t *scores;  /* of the part at work, by evaluation: {"3": [row after row]} */
};

static float *logits_at(const rz_crossfit *c, unsigned evaluation, size_t place)
{
    return c->logit + ((size_t)evaluation * c->n_used + place) * c->labels->n_tasks;
}

static void crossfit_done(rz_crossfit *c)
{
    free(c->seen);
    free(c->logit);
    free(c->used);
    free(c->used_at);
    json_decref(c->scores);
}

static bool is_used(const rz_labels *l, size_t row)
{
    for (size_t t = 0; t < l->n_tasks; t++)
        if (l->part[row * l->n_tasks + t] != RZ_PART_NONE)
            return true;
    return false;
}

static rz_status crossfit_init(rz_crossfit *c, rz_error *error)
{
    const rz_labels *l = c->labels;
    size_t n;
    c->n_evaluations = c->options->evaluations + 1;
    c->seen = calloc(c->n_evaluations, sizeof *c->seen);
    c->used = malloc((l->n_rows + 1) * sizeof *c->used);
    c->used_at = malloc((l->n_rows + 1) * sizeof *c->used_at);
    for (size_t r = 0; c->used != NULL && c->used_at != NULL && r < l->n_rows; r++) {
        c->used_at[r] = c->n_used;
        if (is_used(l, r))
            c->used[c->n_used++] = (uint32_t)r;
    }
    if (rz_size_mul(c->n_evaluations, c->n_used, &n) && rz_size_mul(n, l->n_tasks, &n) &&
        rz_size_mul(n, sizeof *c->logit, &n))
        c->logit = malloc(n + 1);
    if (c->seen == NULL || c->used == NULL || c->used_at == NULL || c->logit == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for the scores of %zu labelled rows",
                       c->n_used);
    return RZ_OK;
}

/* The part whose rows are left out tunes, the others train; RZ_CROSSFIT_PARTS: all train. */
static void set_parts(rz_labels *l, unsigned left_out)
{
    for (size_t r = 0; r < l->n_rows; r++)
        for (size_t t = 0; t < l->n_tasks; t++)
            if (l->part[r * l->n_tasks + t] != RZ_PART_NONE)
                l->part[r * l->n_tasks + t] =
                    l->rows[r].crossfit_part == left_out ? RZ_SPLIT_TUNING : RZ_SPLIT_TRAIN;
}

rz_status rz_crossfit_evaluated(rz_crossfit *c, const rz_model *model, unsigned evaluation,
                                rz_error *error)
{
    rz_scored scored = {0};
    size_t n_tasks = c->labels->n_tasks;
    json_t *values = json_array();
    char name[16];
    (void)snprintf(name, sizeof name, "%u", evaluation);
    rz_status status = rz_labels_score(model, c->dataset, c->labels, RZ_SPLIT_TUNING, false,
                                       c->options->part_tokens, NULL, &scored, error);
    if (status != RZ_OK) {
        json_decref(values);
        return status;
    }
    for (size_t i = 0; i < scored.n * n_tasks; i++)
        (void)json_array_append_new(values, json_real((double)scored.logit[i]));
    bool whole = json_array_size(values) == scored.n * n_tasks;
    if (json_object_set_new(c->scores, name, values) != 0 || !whole)
        status = rz_fail(error, RZ_E_NO_MEMORY, "no memory for %zu scores", scored.n);
    rz_scored_done(&scored);
    return status;
}

/* ---- parts on disk --------------------------------------------------------------------------- */

static void part_path(const char *resume, unsigned part, char out[PATH_MAX])
{
    (void)snprintf(out, PATH_MAX, "%s/part-%u.json", resume, part + 1);
}

static rz_status save_part(const rz_crossfit *c, const char *path, uint64_t steps, rz_error *error)
{
    json_t *json =
        json_pack("{s:s, s:s, s:I, s:O}", "config_sha256", c->config_sha256, "data_sha256",
                  c->data_sha256, "steps", (json_int_t)steps, "scores", c->scores);
    /* Nine digits bring every float back. */
    char *text = json == NULL ? NULL : json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(9));
    json_decref(json);
    rz_status status = text == NULL ? rz_fail(error, RZ_E_NO_MEMORY, "no memory for %s", path)
                                    : rz_file_write(path, text, strlen(text), error);
    free(text);
    return status;
}

/* Puts a part's scores in their places. Every part goes through its file's form, so that a kept
 * part and a fresh one cannot differ. */
static rz_status take_part(rz_crossfit *c, unsigned part, const json_t *scores, const char *path,
                           rz_error *error)
{
    const rz_labels *l = c->labels;
    for (unsigned e = 0; e < c->n_evaluations; e++) {
        char name[16];
        (void)snprintf(name, sizeof name, "%u", e);
        const json_t *values = json_object_get(scores, name);
        size_t at = 0;
        if (values == NULL)
            continue;
        for (size_t i = 0; i < c->n_used; i++) {
            if (l->rows[c->used[i]].crossfit_part != part)
                continue;
            for (size_t t = 0; t < l->n_tasks; t++)
                logits_at(c, e, i)[t] = (float)json_number_value(json_array_get(values, at++));
        }
        if (at != json_array_size(values))
            return rz_fail(error, RZ_E_CORRUPT, "%s has %zu scores, not %zu", path,
                           json_array_size(values), at);
        c->seen[e]++;
    }
    return RZ_OK;
}

/* *found says whether the part was kept. */
static rz_status load_part(rz_crossfit *c, unsigned part, const char *path, bool *found,
                           uint64_t *steps, rz_error *error)
{
    char *text = NULL;
    size_t n = 0;
    json_t *json = NULL;
    *found = false;
    if (access(path, F_OK) != 0)
        return RZ_OK;
    rz_status status = rz_file_read(path, PART_BYTES_MAX, &text, &n, error);
    if (status == RZ_OK)
        status = rz_json_parse(text, n, &json, error);
    const char *config = json_string_value(json_object_get(json, "config_sha256"));
    const char *data = json_string_value(json_object_get(json, "data_sha256"));
    if (status == RZ_OK &&
        (config == NULL || data == NULL || strcmp(config, c->config_sha256) != 0 ||
         strcmp(data, c->data_sha256) != 0))
        status = rz_fail(error, RZ_E_CONFLICT,
                         "%s began with other settings; give the same ones with --resume or start "
                         "over with --force",
                         path);
    if (status == RZ_OK)
        status = take_part(c, part, json_object_get(json, "scores"), path, error);
    if (status == RZ_OK) {
        *steps = (uint64_t)json_integer_value(json_object_get(json, "steps"));
        *found = true;
    }
    json_decref(json);
    free(text);
    return status;
}

/* ---- the choice ------------------------------------------------------------------------------ */

/* Mean over tasks of the mean cross-entropy out of fold. */
static double loss_at(const rz_crossfit *c, unsigned evaluation)
{
    const rz_labels *l = c->labels;
    double sum = 0.0;
    for (size_t t = 0; t < l->n_tasks; t++) {
        double loss = 0.0, n = 0.0;
        for (size_t i = 0; i < c->n_used; i++) {
            size_t at = c->used[i] * l->n_tasks + t;
            if (l->part[at] == RZ_PART_NONE)
                continue;
            double z = (double)logits_at(c, evaluation, i)[t];
            loss += fmax(z, 0.0) - z * (double)l->label[at] + log1p(exp(-fabs(z)));
            n += 1.0;
        }
        sum += loss / n;
    }
    return sum / (double)l->n_tasks;
}

static rz_status choose(const rz_crossfit *c, rz_crossfit_result *out, rz_error *error)
{
    const rz_labels *l = c->labels;
    out->first_loss = c->seen[0] == RZ_CROSSFIT_PARTS ? loss_at(c, 0) : NAN;
    for (unsigned e = 1; e < c->n_evaluations; e++) {
        double loss = c->seen[e] == RZ_CROSSFIT_PARTS ? loss_at(c, e) : NAN;
        if (isfinite(loss) && (out->evaluation == 0 || loss < out->loss)) {
            out->evaluation = e;
            out->loss = loss;
        }
    }
    if (out->evaluation == 0)
        return rz_fail(
            error, RZ_E_RANGE,
            "the %d parts of the labels share no evaluation; give more --steps, --epochs "
            "or --minutes, or fewer --evaluations",
            RZ_CROSSFIT_PARTS);
    out->logit = malloc((l->n_rows * l->n_tasks + 1) * sizeof *out->logit);
    if (out->logit == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for %zu scores", l->n_rows);
    for (size_t r = 0; r < l->n_rows; r++)
        for (size_t t = 0; t < l->n_tasks; t++) {
            size_t at = r * l->n_tasks + t;
            out->logit[at] =
                l->part[at] == RZ_PART_NONE ? NAN : logits_at(c, out->evaluation, c->used_at[r])[t];
        }
    return RZ_OK;
}

rz_status rz_crossfit_run(rz_labels *labels, rz_dataset *dataset, const char *resume,
                          const rz_train_options *options, const char *config_sha256,
                          const char *data_sha256, rz_crossfit_train train, void *context,
                          rz_crossfit_result *out, rz_error *error)
{
    rz_crossfit c = {.labels = labels,
                     .dataset = dataset,
                     .options = options,
                     .config_sha256 = config_sha256,
                     .data_sha256 = data_sha256};
    rz_crossfit_result result = {0};
    rz_train_options part_options = *options;
    part_options.patience = 0; /* all parts go to the end: which evaluation is best comes later */
    part_options.minutes = options->minutes / (RZ_CROSSFIT_PARTS + 1);
    rz_status status = crossfit_init(&c, error);
    for (unsigned part = 0; status == RZ_OK && part < RZ_CROSSFIT_PARTS; part++) {
        char path[PATH_MAX];
        bool found;
        uint64_t steps = 0;
        rz_train_result trained = {0};
        part_path(resume, part, path);
        status = load_part(&c, part, path, &found, &steps, error);
        if (status == RZ_OK && !found) {
            json_decref(c.scores);
            c.scores = json_object();
            set_parts(labels, part);
            status = train(context, &c, &part_options, &trained, error);
            set_parts(labels, RZ_CROSSFIT_PARTS);
            steps = trained.steps;
            if (status == RZ_OK)
                status = save_part(&c, path, steps, error);
            if (status == RZ_OK)
                status = load_part(&c, part, path, &found, &steps, error);
        }
        if (part_options.minutes > 0.0) { /* the first part's speed plans for all of them */
            part_options.minutes = 0.0;
            part_options.steps = result.steps = steps;
        }
    }
    if (status == RZ_OK)
        status = choose(&c, &result, error);
    if (status == RZ_OK)
        *out = result;
    crossfit_done(&c);
    return status;
}
