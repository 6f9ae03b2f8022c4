/* study.json and the cells of a study, checked against each other: a cell of another size, task or
 * engine than the study has is foreign and an error. Texts stay in the JSON they came from. */
#include "study_results.h"

#include "base/file.h"
#include "base/size.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FORMAT_VERSION = 1, FILE_BYTES_MAX = 16 << 20, CELLS_MAX = 100000 };

static rz_status read_json(const char *path, json_t **out, rz_error *error)
{
    char *text = NULL;
    size_t n = 0;
    json_error_t where;
    rz_status status = rz_file_read(path, FILE_BYTES_MAX, &text, &n, error);
    if (status != RZ_OK)
        return status;
    json_t *json = json_loadb(text, n, JSON_REJECT_DUPLICATES, &where);
    free(text);
    if (!json_is_object(json)) {
        json_decref(json);
        return rz_fail(error, RZ_E_FORMAT, "%s: damaged: line %d: %s", path, where.line,
                       json == NULL ? where.text : "an object was expected");
    }
    *out = json;
    return RZ_OK;
}

static const char *text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text != NULL ? text : "";
}

/* NaN where the member is absent or null. */
static double number_of(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

/* ---- study.json ---- */

static rz_status read_texts(const json_t *json, const char *name, const char **out, size_t cap,
                            size_t *n, rz_error *error)
{
    const json_t *list = json_object_get(json, name);
    size_t count = json_array_size(list);
    if (!json_is_array(list) || count > cap)
        return rz_fail(error, RZ_E_FORMAT, "%s is no list of at most %zu names", name, cap);
    for (size_t i = 0; i < count; i++) {
        out[i] = json_string_value(json_array_get(list, i));
        if (out[i] == NULL || *out[i] == '\0')
            return rz_fail(error, RZ_E_FORMAT, "%s: entry %zu is no name", name, i + 1);
        for (size_t k = 0; k < i; k++)
            if (strcmp(out[i], out[k]) == 0)
                return rz_fail(error, RZ_E_FORMAT, "%s: %.40s stands there twice", name, out[i]);
    }
    *n = count;
    return RZ_OK;
}

static rz_status read_tasks(const json_t *json, study_design *d, rz_error *error)
{
    const json_t *list = json_object_get(json, "tasks");
    d->n_tasks = json_array_size(list);
    if (d->n_tasks == 0 || d->n_tasks > RZ_TASKS_MAX)
        return rz_fail(error, RZ_E_FORMAT, "tasks is no list of 1 to %d tasks", RZ_TASKS_MAX);
    for (size_t i = 0; i < d->n_tasks; i++) {
        const json_t *task = json_array_get(list, i);
        study_task *t = &d->tasks[i];
        *t = (study_task){.name = text_of(task, "name"),
                          .kind = text_of(task, "kind"),
                          .title_en = text_of(task, "title_en"),
                          .title_ja = text_of(task, "title_ja"),
                          .prevalence = number_of(task, "prevalence")};
        size_t length = strlen(t->name);
        if (length == 0 || length >= RZ_TASK_NAME ||
            strspn(t->name, "abcdefghijklmnopqrstuvwxyz0123456789_-") != length)
            return rz_fail(error, RZ_E_FORMAT, "tasks: entry %zu has no name of a task", i + 1);
        if (*t->title_en == '\0')
            t->title_en = t->name;
        for (size_t k = 0; k < i; k++)
            if (strcmp(t->name, d->tasks[k].name) == 0)
                return rz_fail(error, RZ_E_FORMAT, "tasks: %s stands there twice", t->name);
    }
    return RZ_OK;
}

static int by_labels(const void *left, const void *right)
{
    size_t a = *(const size_t *)left, b = *(const size_t *)right;
    a = a == 0 ? SIZE_MAX : a; /* all labels are the most */
    b = b == 0 ? SIZE_MAX : b;
    return a < b ? -1 : a > b;
}

static rz_status read_labels(const json_t *json, study_design *d, rz_error *error)
{
    const json_t *list = json_object_get(json, "labels");
    d->n_labels = json_array_size(list);
    if (d->n_labels == 0 || d->n_labels > STUDY_LABELS_MAX)
        return rz_fail(error, RZ_E_FORMAT, "labels is no list of 1 to %d counts", STUDY_LABELS_MAX);
    for (size_t i = 0; i < d->n_labels; i++) {
        const json_t *count = json_array_get(list, i);
        if (!json_is_integer(count) || json_integer_value(count) < 0)
            return rz_fail(error, RZ_E_FORMAT, "labels: entry %zu is no count", i + 1);
        d->labels[i] = (size_t)json_integer_value(count);
    }
    qsort(d->labels, d->n_labels, sizeof *d->labels, by_labels);
    for (size_t i = 1; i < d->n_labels; i++)
        if (d->labels[i] == d->labels[i - 1])
            return rz_fail(error, RZ_E_FORMAT, "labels: %zu stands there twice", d->labels[i]);
    return RZ_OK;
}

static rz_status read_design(const json_t *json, study_design *d, rz_error *error)
{
    const json_t *version = json_object_get(json, "format_version");
    if (json_integer_value(version) != FORMAT_VERSION)
        return rz_fail(error, RZ_E_UNSUPPORTED, "format_version %lld; this program reads %d",
                       (long long)json_integer_value(version), FORMAT_VERSION);
    d->code_version = text_of(json, "code_version");
    d->db = text_of(json, "db");
    d->data_sha256 = text_of(json, "data_sha256");
    d->command = text_of(json, "command");
    d->started_at = text_of(json, "started_at");
    d->onsets = !json_is_false(json_object_get(json, "onsets")); /* older studies do not say */
    d->seeds = (size_t)json_integer_value(json_object_get(json, "seeds"));
    rz_status status = read_tasks(json, d, error);
    if (status == RZ_OK)
        status = read_labels(json, d, error);
    if (status == RZ_OK)
        status = read_texts(json, "sizes", d->sizes, STUDY_SIZES_MAX, &d->n_sizes, error);
    if (status == RZ_OK)
        status = read_texts(json, "engines", d->engines, STUDY_ENGINES_MAX, &d->n_engines, error);
    if (status == RZ_OK && json_object_get(json, "hold_out_facilities") != NULL)
        status = read_texts(json, "hold_out_facilities", d->hold_out, RZ_FACILITIES_MAX,
                            &d->n_hold_out, error);
    return status;
}

/* ---- cells ---- */

static int place_of(const char *name, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(name, names[i]) == 0)
            return (int)i;
    return STUDY_NONE;
}

static rz_status read_cell_tasks(const json_t *json, const study_design *d, study_cell *c,
                                 rz_error *error)
{
    const json_t *list = json_object_get(json, "tasks");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *name = json_string_value(json_array_get(list, i));
        size_t t = 0;
        while (name != NULL && t < d->n_tasks && strcmp(name, d->tasks[t].name) != 0)
            t++;
        if (name == NULL || t == d->n_tasks)
            return rz_fail(error, RZ_E_INVALID, "the study has no task %.47s",
                           name != NULL ? name : "(no text)");
        if ((c->tasks >> t & 1) != 0)
            return rz_fail(error, RZ_E_INVALID, "task %s stands there twice", name);
        c->tasks |= (uint64_t)1 << t;
        c->n_tasks++;
    }
    if (c->n_tasks == 0 && c->kind != STUDY_PRETRAIN)
        return rz_fail(error, RZ_E_FORMAT, "tasks is empty");
    return RZ_OK;
}

static rz_status read_cell_arm(const json_t *json, const study_design *d, study_cell *c,
                               rz_error *error)
{
    const char *size = text_of(json, "size"), *engine = text_of(json, "engine"),
               *init = text_of(json, "init");
    c->size = place_of(size, d->sizes, d->n_sizes);
    c->engine = place_of(engine, d->engines, d->n_engines);
    int start = STUDY_INITS - 1;
    while (start > 0 && strcmp(init, study_init_name((study_init)start)) != 0)
        start--;
    c->init = (study_init)start;
    if (c->kind == STUDY_BASELINE && c->engine == STUDY_NONE)
        return rz_fail(error, RZ_E_INVALID, "the study has no engine \"%.40s\"", engine);
    if (c->kind != STUDY_BASELINE && c->size == STUDY_NONE)
        return rz_fail(error, RZ_E_INVALID, "the study has no size \"%.40s\"", size);
    if (c->kind == STUDY_FINETUNE && c->init == STUDY_PRETRAINED && strcmp(init, "pretrained") != 0)
        return rz_fail(error, RZ_E_FORMAT,
                       "init \"%.40s\" is neither pretrained nor scratch nor onset", init);
    if (c->kind == STUDY_PRETRAIN)
        return RZ_OK;
    const json_t *labels = json_object_get(json, "labels");
    while (json_is_integer(labels) && c->labels < d->n_labels &&
           (json_int_t)d->labels[c->labels] != json_integer_value(labels))
        c->labels++;
    if (!json_is_integer(labels) || c->labels == d->n_labels)
        return rz_fail(error, RZ_E_INVALID, "the study has no label count %lld",
                       (long long)json_integer_value(labels));
    return RZ_OK;
}

static rz_status read_transfer(const json_t *json, const study_design *d, study_cell *c,
                               rz_error *error)
{
    const json_t *value = json_object_get(json, "transfer");
    const char *name = json_string_value(value);
    if (value == NULL || json_is_null(value))
        return RZ_OK;
    for (int t = STUDY_ZERO_SHOT; name != NULL && t < STUDY_TRANSFERS; t++)
        if (strcmp(name, study_transfer_name((study_transfer)t)) == 0)
            c->transfer = (study_transfer)t;
    if (c->transfer == STUDY_GRID)
        return rz_fail(error, RZ_E_FORMAT,
                       "transfer \"%.40s\" is none of zero_shot, recalibrated, "
                       "tuned, local",
                       name != NULL ? name : "(no text)");
    if (d->n_hold_out == 0)
        return rz_fail(error, RZ_E_INVALID, "the study holds out no facility");
    return RZ_OK;
}

static rz_status read_cell(const json_t *json, const char *name, const study_design *d,
                           study_cell *c, rz_error *error)
{
    static const char *const kinds[] = {"pretrain", "finetune", "baseline"};
    int kind = place_of(text_of(json, "kind"), kinds, RZ_COUNT(kinds));
    if (strcmp(text_of(json, "cell"), name) != 0)
        return rz_fail(error, RZ_E_INVALID, "the file is that of cell \"%.80s\"",
                       text_of(json, "cell"));
    if (kind == STUDY_NONE)
        return rz_fail(error, RZ_E_FORMAT, "kind \"%.40s\" is none of pretrain, finetune, baseline",
                       text_of(json, "kind"));
    *c = (study_cell){.name = text_of(json, "cell"),
                      .kind = (study_kind)kind,
                      .seed = (uint64_t)json_integer_value(json_object_get(json, "seed")),
                      .parameters = number_of(json, "parameters"),
                      .seconds = number_of(json, "seconds"),
                      .cpu_seconds = number_of(json, "cpu_seconds"),
                      .peak_bytes = number_of(json, "peak_bytes"),
                      .tokens = number_of(json, "tokens"),
                      .tuning_loss = number_of(json, "tuning_loss"),
                      .model = json_string_value(json_object_get(json, "model"))};
    const json_t *curve = json_object_get(json, "loss_by_tokens");
    for (size_t i = 0; i < json_array_size(curve); i++) {
        const json_t *pair = json_array_get(curve, i);
        if (!json_is_number(json_array_get(pair, 0)) || !json_is_number(json_array_get(pair, 1)))
            return rz_fail(error, RZ_E_FORMAT, "loss_by_tokens: entry %zu is no pair of numbers",
                           i + 1);
    }
    c->loss_by_tokens = json_is_array(curve) ? curve : NULL;
    rz_status status = read_transfer(json, d, c, error);
    if (status == RZ_OK)
        status = read_cell_arm(json, d, c, error);
    return status == RZ_OK ? read_cell_tasks(json, d, c, error) : status;
}

/* Two cells that measure the same would count one seed twice. */
static rz_status check_distinct(const study_results *r, rz_error *error)
{
    for (size_t i = 0; i < r->n_cells; i++) {
        const study_cell *a = &r->cells[i];
        for (size_t k = 0; k < i; k++) {
            const study_cell *b = &r->cells[k];
            bool same = a->kind == b->kind && a->transfer == b->transfer && a->size == b->size &&
                        a->engine == b->engine;
            if (same && a->kind != STUDY_PRETRAIN) /* a size is pretrained once */
                same = a->seed == b->seed && a->init == b->init && a->labels == b->labels &&
                       (a->tasks & b->tasks) != 0;
            if (same)
                return rz_fail(error, RZ_E_CONFLICT,
                               "cells %.100s and %.100s measure the same; remove one of the two "
                               "files from cells/",
                               b->name, a->name);
        }
    }
    return RZ_OK;
}

/* ---- the folder ---- */

typedef struct names {
    char **name; /* owned */
    size_t n, capacity;
} names;

static int by_name(const void *left, const void *right)
{
    return strcmp(*(char *const *)left, *(char *const *)right);
}

static rz_status add_name(names *all, const char *file, size_t length, rz_error *error)
{
    if (all->n == CELLS_MAX)
        return rz_fail(error, RZ_E_TOO_LARGE, "more than %d cells", CELLS_MAX);
    if (all->n == all->capacity) {
        size_t capacity = all->capacity == 0 ? 64 : 2 * all->capacity;
        char **grown = realloc(all->name, capacity * sizeof *grown);
        if (grown == NULL)
            return rz_fail(error, RZ_E_NO_MEMORY, "no memory for the names of cells");
        all->name = grown;
        all->capacity = capacity;
    }
    all->name[all->n] = strndup(file, length);
    if (all->name[all->n] == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for the name of a cell");
    all->n++;
    return RZ_OK;
}

/* NAME.json is finished; what is being written has another name. No folder: no cell yet. */
static rz_status list_cells(const char *folder, names *out, rz_error *error)
{
    DIR *entries = opendir(folder);
    rz_status status = RZ_OK;
    if (entries == NULL)
        return errno == ENOENT ? RZ_OK : rz_fail_errno(error, errno, "%s", folder);
    for (struct dirent *e = readdir(entries); status == RZ_OK && e != NULL; e = readdir(entries)) {
        size_t n = strlen(e->d_name);
        if (e->d_name[0] != '.' && n > 5 && strcmp(e->d_name + n - 5, ".json") == 0)
            status = add_name(out, e->d_name, n - 5, error);
    }
    (void)closedir(entries);
    if (status == RZ_OK && out->n > 0)
        qsort(out->name, out->n, sizeof *out->name, by_name);
    return status;
}

static rz_status read_cells(const char *folder, const names *all, study_results *r, rz_error *error)
{
    char path[PATH_MAX];
    r->cells = calloc(all->n + 1, sizeof *r->cells);
    r->cells_json = json_array();
    if (r->cells == NULL || r->cells_json == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for %zu cells", all->n);
    for (size_t i = 0; i < all->n; i++) {
        json_t *json = NULL;
        (void)snprintf(path, sizeof path, "%s/cells/%s.json", folder, all->name[i]);
        rz_status status = read_json(path, &json, error);
        if (status == RZ_OK && json_array_append_new(r->cells_json, json) != 0)
            status = rz_fail(error, RZ_E_NO_MEMORY, "no memory for cell %s", all->name[i]);
        else if (status == RZ_OK) {
            status = read_cell(json, all->name[i], &r->design, &r->cells[i], error);
            if (status != RZ_OK)
                rz_error_prefix(error, "cell %.100s: ", all->name[i]);
        }
        if (status != RZ_OK)
            return status;
        r->n_cells++;
    }
    return check_distinct(r, error);
}

rz_status study_cells_read(const char *folder, study_results *r, rz_error *error)
{
    char path[PATH_MAX];
    names all = {0};
    (void)snprintf(path, sizeof path, "%s/study.json", folder);
    rz_status status = read_json(path, &r->design_json, error);
    if (status == RZ_OK) {
        status = read_design(r->design_json, &r->design, error);
        if (status != RZ_OK)
            rz_error_prefix(error, "%s: ", path);
    }
    (void)snprintf(path, sizeof path, "%s/cells", folder);
    if (status == RZ_OK)
        status = list_cells(path, &all, error);
    if (status == RZ_OK)
        status = read_cells(folder, &all, r, error);
    for (size_t i = 0; i < all.n; i++)
        free(all.name[i]);
    free(all.name);
    return status;
}
