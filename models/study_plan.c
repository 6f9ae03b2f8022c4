/* What a study consists of and what each part of it asks rezept-train for. */
#define _GNU_SOURCE /* asprintf */
#include "base/file.h"
#include "base/size.h"
#include "model/model.h"
#include "onset_subject.h"
#include "store/store.h"
#include "study.h"
#include "tensor/gemm.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { SMALL_ROWS = 2000 }; /* labels below which a cell leaves cores idle */

char *study_path(const study_settings *s, const char *folder, const char *name, const char *end)
{
    char *path = NULL;
    return asprintf(&path, "%s/%s/%s%s", s->out, folder, name, end) < 0 ? NULL : path;
}

static bool exists(const study_settings *s, const char *folder, const char *name, const char *end)
{
    char *path = study_path(s, folder, name, end);
    bool there = path != NULL && access(path, F_OK) == 0;
    free(path);
    return there;
}

/* ---- the cells ---- */

static const char *labels_text(size_t labels, char out[24])
{
    if (labels == 0)
        return "all";
    (void)snprintf(out, 24, "%zu", labels);
    return out;
}

static void name_cell(const study_settings *s, planned_cell *c)
{
    char labels[24], part[40] = "";
    if (c->transfer != STUDY_GRID)
        (void)snprintf(part, sizeof part, "transfer-%s-", study_transfer_name(c->transfer));
    const char *task = c->task == SIZE_MAX ? "shared" : s->tasks[c->task].name;
    if (c->kind == STUDY_PRETRAIN)
        (void)snprintf(c->name, sizeof c->name, "%spretrain-%s", part, s->sizes[c->size]);
    else
        (void)snprintf(c->name, sizeof c->name, "%s%s%s%s-%s-%s-s%u", part,
                       c->kind == STUDY_BASELINE ? s->engines[c->engine] : s->sizes[c->size],
                       c->kind == STUDY_BASELINE ? "" : "-",
                       c->kind == STUDY_BASELINE ? "" : study_init_name(c->init), task,
                       labels_text(c->labels, labels), c->seed);
}

static void add(study_plan *p, planned_cell cell)
{
    const study_settings *s = p->settings;
    name_cell(s, &cell);
    cell.state = exists(s, "cells", cell.name, ".json")     ? STUDY_DONE
                 : exists(s, "skipped", cell.name, ".json") ? STUDY_SKIPPED
                                                            : STUDY_WAITING;
    cell.small = cell.kind != STUDY_PRETRAIN &&
                 ((cell.labels > 0 && cell.labels < SMALL_ROWS) || cell.kind == STUDY_BASELINE);
    p->cells[p->n_cells++] = cell;
}

/* Whether one head of all onsets can answer what is asked; it knows one horizon. */
static bool asks_for_onsets(const study_settings *s)
{
    size_t t = 0;
    while (t < s->n_tasks && onset_subject_answers(&s->tasks[t]))
        t++;
    return t == s->n_tasks;
}

rz_status study_begin_read(const char *text, study_settings *s, rz_error *error)
{
    const bool possible = asks_for_onsets(s);
    if (text != NULL && strcmp(text, "onset") != 0 && strcmp(text, "pretrained") != 0)
        return rz_fail(error, RZ_E_USAGE, "--begin %.40s: pretrained or onset", text);
    s->begin_onset = text != NULL ? strcmp(text, "onset") == 0 : possible;
    if (s->begin_onset && !possible)
        return rz_fail(
            error, RZ_E_USAGE,
            "--begin onset: one head of all onsets answers tasks with a horizon and a "
            "history of a year, and not all of these have them; take --begin pretrained");
    return RZ_OK;
}

void study_plan_add(study_plan *p, planned_cell cell)
{
    add(p, cell);
}

static void add_fits(study_plan *p, size_t size, size_t labels, unsigned seed)
{
    const study_settings *s = p->settings;
    static const study_init order[] = {STUDY_ONSET, STUDY_PRETRAINED, STUDY_SCRATCH};
    const size_t pretraining = s->pretrained == NULL ? size : SIZE_MAX;
    const bool onsets = labels == 0 && asks_for_onsets(s);
    const size_t first = p->n_cells;
    for (size_t i = onsets ? 0 : 1; i < RZ_COUNT(order); i++)
        for (size_t t = 0; t < (labels > 0 ? s->n_tasks : 1); t++)
            add(p, (planned_cell){.kind = STUDY_FINETUNE,
                                  .size = size,
                                  .task = labels > 0 ? t : SIZE_MAX,
                                  .labels = labels,
                                  .init = order[i],
                                  .seed = seed,
                                  .needs = order[i] == STUDY_PRETRAINED && onsets && s->begin_onset
                                               ? first
                                               : pretraining});
}

/* All of one seed before the next, so that a study that ends early has compared something; within
 * it from cheap to dear. */
static void list_cells(study_plan *p)
{
    const study_settings *s = p->settings;
    for (size_t i = 0; s->pretrained == NULL && i < s->n_sizes; i++)
        add(p,
            (planned_cell){.kind = STUDY_PRETRAIN, .size = i, .task = SIZE_MAX, .needs = SIZE_MAX});
    for (unsigned seed = 1; seed <= s->seeds; seed++)
        for (size_t l = 0; l < s->n_labels; l++) {
            for (size_t e = 0; e < s->n_engines; e++)
                for (size_t t = 0; t < s->n_tasks; t++)
                    add(p, (planned_cell){.kind = STUDY_BASELINE,
                                          .engine = e,
                                          .task = t,
                                          .labels = s->labels[l],
                                          .seed = seed,
                                          .needs = SIZE_MAX});
            for (size_t i = 0; i < s->n_sizes; i++)
                add_fits(p, i, s->labels[l], seed);
        }
    study_transfer_list(p);
}

/* ---- estimates ---- */

/* The number behind the last --name in flags; `otherwise` without one. */
static double flag(const char *flags, const char *name, double otherwise)
{
    char pattern[40];
    (void)snprintf(pattern, sizeof pattern, "--%s ", name);
    for (const char *at = flags; (at = strstr(at, pattern)) != NULL; at += strlen(pattern))
        otherwise = strtod(at + strlen(pattern), NULL);
    return otherwise;
}

typedef struct figures {
    double tokens, patients; /* in the record; tokens as models read them */
    double flop[PLAN_SIZES_MAX], parameters[PLAN_SIZES_MAX]; /* forward, of a token */
    double bytes[PLAN_SIZES_MAX];                            /* of training */
    double held_out; /* share of the facilities that are, and, as nobody counts, of the patients */
} figures;

static rz_status figure_sizes(const study_settings *s, figures *f, rz_error *error)
{
    rz_status status = RZ_OK;
    const rz_family *family = rz_family_find("encoder");
    double length = f->tokens / f->patients;
    for (size_t i = 0; status == RZ_OK && i < s->n_sizes; i++) {
        rz_config c;
        status = family->config_for_size(s->sizes[i], &c, error);
        if (status != RZ_OK)
            break;
        double h = c.hidden, ff = c.feed_forward, layers = c.layers;
        f->flop[i] = layers * (8 * h * h + 4 * h * ff + 4 * length * h);
        f->parameters[i] = layers * (4 * h * h + 2 * h * ff) + 2000 * 2 * h;
        /* Values, gradients, two moments, the best so far, panels forward and backward; what a tile
         * keeps; and the program with its record. */
        f->bytes[i] = 7 * 4 * f->parameters[i] + 2048 * 4 * layers * (8 * h + 2 * ff) + 1.5e8;
    }
    return status;
}

/* How the fine-tuning of a cell learns. */
static const char *finetune_flags(const study_settings *s, const planned_cell *c)
{
    return c->init == STUDY_ONSET ? s->onset_flags
           : c->labels > 0        ? s->few_flags
                                  : s->finetune_flags;
}

/* The record as a cell sees it. */
static figures part_of(const figures *all, const planned_cell *c)
{
    figures part = *all;
    double share = c->transfer == STUDY_GRID ? 1.0 - all->held_out : all->held_out;
    part.tokens *= share;
    part.patients *= share;
    return part;
}

static void estimate(const study_plan *p, const figures *all, planned_cell *c)
{
    const study_settings *s = p->settings;
    const figures part = part_of(all, c), *f = &part;
    const char *flags = c->kind == STUDY_PRETRAIN   ? s->pretrain_flags
                        : c->kind == STUDY_BASELINE ? s->baseline_flags
                                                    : finetune_flags(s, c);
    double length = f->tokens / f->patients, copy = f->tokens * 2e-6; /* of the record, each time */
    double tasks = c->task == SIZE_MAX ? (double)s->n_tasks : 1.0;
    double draws = flag(flags, "draws", 6.0); /* index days of a patient */
    if (c->kind == STUDY_BASELINE) {
        /* About one draw in four is of a member, on a day that no other draw gave. */
        double rows = c->labels > 0 ? (double)c->labels : 0.25 * draws * f->patients;
        c->seconds = copy + 2.0 + rows * 2e-3;
        c->bytes = 3e8 + f->patients * 2e4;
        return;
    }
    double speed = p->gflops * 1e9 * 0.6 * (c->small ? 0.5 : 1.0), flop = f->flop[c->size];
    double measured = 0.3 * f->tokens * tasks * 1.3 * s->draws; /* tuning and held-out, by task */
    double learnt = 0.7 * f->tokens;
    if (c->kind == STUDY_FINETUNE)
        learnt = (c->labels > 0 ? (double)c->labels : 0.7 * f->patients * draws) * length;
    /* Rows that --negatives leaves, of tasks whose outcome one row in twenty has. */
    if (c->kind == STUDY_FINETUNE && flag(flags, "negatives", 0.0) > 0.0)
        learnt *= fmin(1.0, 0.05 * tasks * (1.0 + flag(flags, "negatives", 0.0)));
    learnt *= flag(flags, "epochs", 1.0);
    if (c->transfer == STUDY_ZERO_SHOT || c->transfer == STUDY_RECALIBRATED)
        learnt = 0.0;
    else if (flag(flags, "steps", 0.0) > 0.0)
        learnt = flag(flags, "steps", 0.0) * flag(flags, "batch-tokens", 2048.0);
    double seconds = 3.0 * learnt * flop / speed;
    if (flag(flags, "minutes", 0.0) > 0.0)
        seconds = fmin(seconds, 60.0 * flag(flags, "minutes", 0.0));
    c->seconds = copy + 1.2 * seconds + (c->kind == STUDY_FINETUNE ? measured * flop / speed : 0.0);
    c->bytes = f->bytes[c->size];
}

/* Tokens of a history as models read it: without refills within `repeat_days`, at most a window. */
static double tokens_of(const rz_timeline *timeline, double repeat_days)
{
    enum { WINDOW = 512 };
    size_t n = 2;
    for (size_t i = 0; i < timeline->n_events; i++) {
        const rz_timeline_event *e = &timeline->events[i];
        bool kept = e->kind == RZ_KIND_DIAGNOSIS || e->kind == RZ_KIND_MEDICATION;
        for (size_t k = i; kept && repeat_days > 0.0 && k-- > 0;) {
            const rz_timeline_event *before = &timeline->events[k];
            kept = e->day - before->day >= repeat_days || strcmp(e->code, before->code) != 0;
            if (e->day - before->day >= repeat_days)
                break;
        }
        n += kept;
    }
    return n < WINDOW ? (double)n : WINDOW;
}

/* Patients, and tokens from the first of them. */
static rz_status figure_record(const study_settings *s, figures *f, rz_error *error)
{
    enum { SAMPLE = 200 };
    const rz_store_options options = rz_store_options_defaults();
    rz_store *store = NULL;
    rz_store_counts counts = {0};
    rz_patient *found = calloc(SAMPLE, sizeof *found);
    size_t n = 0;
    double tokens = 0.0;
    rz_arena arena;
    rz_arena_init(&arena, (size_t)1 << 30);
    rz_status status = found == NULL ? rz_fail(error, RZ_E_NO_MEMORY, "no memory for a sample")
                                     : rz_store_open(s->db, &options, &store, error);
    if (status == RZ_OK)
        status = rz_store_counts_of(store, &counts, error);
    if (status == RZ_OK && counts.patients == 0)
        status = rz_fail(error, RZ_E_INVALID, "%s has no patients to study", s->db);
    if (status == RZ_OK)
        f->held_out = (double)s->hold_out.n / (double)counts.facilities;
    if (status == RZ_OK)
        status = rz_store_patients(store, 0, NULL, found, SAMPLE, &n, error);
    for (size_t i = 0; status == RZ_OK && i < n; i++) {
        rz_timeline *timeline = NULL;
        status = rz_store_timeline(store, found[i].key, RZ_DAY_MAX, RZ_RECORDED_NOW, &arena,
                                   &timeline, error);
        if (status == RZ_OK)
            tokens += tokens_of(timeline, flag(s->pretrain_flags, "repeat-days", 0.0));
        rz_arena_reset(&arena);
    }
    f->patients = (double)counts.patients;
    f->tokens = n > 0 ? tokens / (double)n * f->patients : 1.0;
    rz_arena_done(&arena);
    rz_store_close(store);
    free(found);
    return status;
}

static rz_status estimate_all(study_plan *p, rz_error *error)
{
    const study_settings *s = p->settings;
    rz_pool *pool = NULL;
    figures f = {0};
    rz_status status = figure_record(s, &f, error);
    if (status == RZ_OK)
        status = rz_pool_new(s->threads, &pool, error);
    if (status == RZ_OK)
        status = rz_blas_speed(pool, &p->gflops, error);
    rz_pool_free(pool);
    if (status != RZ_OK)
        return status;
    status = figure_sizes(s, &f, error);
    for (size_t i = 0; status == RZ_OK && i < p->n_cells; i++)
        estimate(p, &f, &p->cells[i]);
    return status;
}

double study_seconds_left(const study_plan *p)
{
    double left = 0.0;
    for (size_t i = 0; i < p->n_cells; i++)
        if (p->cells[i].state == STUDY_WAITING || p->cells[i].state == STUDY_RUNNING)
            left += p->cells[i].seconds * (p->cells[i].small ? 0.5 : 1.0);
    return left;
}

/* ---- study.json ---- */

static json_t *texts(const char *list, size_t n, size_t stride)
{
    json_t *out = json_array();
    for (size_t i = 0; i < n; i++)
        (void)json_array_append_new(out, json_string(list + i * stride));
    return out;
}

static json_t *tasks_json(const study_settings *s)
{
    json_t *out = json_array();
    for (size_t t = 0; t < s->n_tasks; t++) {
        const rz_task *task = &s->tasks[t];
        (void)json_array_append_new(
            out, json_pack("{s:s, s:s, s:s, s:s}", "name", task->name, "kind",
                           task->kind == RZ_KIND_MEDICATION ? "medication" : "disease", "title_en",
                           task->title_en, "title_ja", task->title_ja));
    }
    return out;
}

rz_facilities study_grid_facilities(const study_settings *s)
{
    rz_facilities f = s->hold_out;
    f.without = f.n > 0;
    return f;
}

/* What cells depend on: a folder takes one study only. */
static json_t *study_json(const study_settings *s, const char *data_sha256)
{
    json_t *labels = json_array(), *pretrained = json_object();
    for (size_t i = 0; i < s->n_labels; i++)
        (void)json_array_append_new(labels, json_integer((json_int_t)s->labels[i]));
    for (size_t i = 0; i < s->n_sizes; i++) {
        char *path = NULL;
        if (asprintf(&path, "%s/%s", s->pretrained != NULL ? s->pretrained : "pretrained",
                     s->sizes[i]) >= 0)
            (void)json_object_set_new(pretrained, s->sizes[i], json_string(path));
        free(path);
    }
    json_t *held_out = s->hold_out.n == 0
                           ? NULL
                           : texts(s->hold_out.name[0], s->hold_out.n, sizeof s->hold_out.name[0]);
    return json_pack(
        "{s:i, s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:i, s:i, s:o, s:f, s:s, s:o, s:b, s:b, s:s, "
        "s:{s:s, s:s, s:s, s:s, s:s}, s:o*}",
        "format_version", 1, "code_version", REZEPT_VERSION, "command", s->command, "db", s->db,
        "data_sha256", data_sha256, "tasks", tasks_json(s), "sizes",
        texts(s->sizes[0], s->n_sizes, sizeof s->sizes[0]), "labels", labels, "seeds",
        (int)s->seeds, "draws", (int)s->draws, "engines",
        texts(s->engines[0], s->n_engines, sizeof s->engines[0]), "margin", s->margin, "prefer",
        s->prefer, "pretrained", pretrained, "truth", s->truth != NULL, "onsets",
        asks_for_onsets(s), "begin", s->begin_onset ? "onset" : "pretrained", "flags", "pretrain",
        s->pretrain_flags, "finetune", s->finetune_flags, "few", s->few_flags, "onset",
        s->onset_flags, "baseline", s->baseline_flags, "hold_out_facilities", held_out);
}

/* The folder may grow (more sizes, seeds, labels, tasks) but not hold cells of other data or ways
 * to learn. */
static rz_status check_same(json_t *old, json_t *now, const char *path, rz_error *error)
{
    static const char *const fixed[] = {"data_sha256", "code_version", "draws",
                                        "begin",       "pretrained",   "flags"};
    for (size_t i = 0; i < RZ_COUNT(fixed); i++) {
        json_t *a = json_object_get(old, fixed[i]), *b = json_object_get(now, fixed[i]);
        const char *key;
        json_t *value;
        if (json_is_object(a)) {
            json_object_foreach(a, key, value)
            {
                const json_t *other = json_object_get(b, key);
                if (other != NULL && !json_equal(value, other))
                    return rz_fail(error, RZ_E_CONFLICT,
                                   "%s was begun with another %s (%s); take a new --out", path,
                                   fixed[i], key);
            }
        } else if (!json_equal(a, b)) {
            return rz_fail(error, RZ_E_CONFLICT, "%s was begun with another %s; take a new --out",
                           path, fixed[i]);
        }
    }
    const json_t *a = json_object_get(old, "hold_out_facilities"),
                 *b = json_object_get(now, "hold_out_facilities");
    return a == b || json_equal(a, b)
               ? RZ_OK
               : rz_fail(error, RZ_E_CONFLICT,
                         "%s was begun with another --hold-out-facility; take a new --out", path);
}

static rz_status write_study(const study_settings *s, rz_error *error)
{
    const rz_store_options options = rz_store_options_defaults();
    static const char *const folders[] = {"cells",  "skipped",    "scores", "logs",
                                          "models", "pretrained", "local"};
    const size_t n_folders = RZ_COUNT(folders) - (s->hold_out.n == 0 ? 1 : 0);
    char data_sha256[65] = "", *path = NULL, *text = NULL, *folder = NULL;
    rz_store *store = NULL;
    json_error_t where;
    rz_status status = rz_store_open(s->db, &options, &store, error);
    const rz_facilities grid = study_grid_facilities(s);
    if (status == RZ_OK)
        status = rz_store_check_facilities(store, &grid, error);
    if (status == RZ_OK)
        status = rz_store_data_hash(store, data_sha256, error);
    rz_store_close(store);
    for (size_t i = 0; status == RZ_OK && i < n_folders; i++) {
        folder = rz_path_join(s->out, folders[i]);
        status = folder != NULL ? rz_folder_make(folder, error)
                                : rz_fail(error, RZ_E_NO_MEMORY, "no memory for a study");
        free(folder);
    }
    if (status != RZ_OK)
        return status;
    path = rz_path_join(s->out, "study.json");
    json_t *now = study_json(s, data_sha256);
    json_t *old = path != NULL && access(path, F_OK) == 0 ? json_load_file(path, 0, &where) : NULL;
    if (path == NULL || now == NULL)
        status = rz_fail(error, RZ_E_NO_MEMORY, "no memory for a study");
    else if (old == NULL && access(path, F_OK) == 0)
        status = rz_fail(error, RZ_E_FORMAT, "%s:%d: %s", path, where.line, where.text);
    if (status == RZ_OK && old != NULL)
        status = check_same(old, now, path, error);
    if (status == RZ_OK) {
        char text_now[32];
        time_t seconds = time(NULL);
        struct tm utc;
        (void)strftime(text_now, sizeof text_now, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&seconds, &utc));
        json_t *started = json_object_get(old, "started_at");
        (void)json_object_set_new(now, "started_at",
                                  started != NULL ? json_incref(started) : json_string(text_now));
    }
    if (status == RZ_OK)
        text = json_dumps(now, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    if (status == RZ_OK)
        status = text != NULL ? rz_file_write(path, text, strlen(text), error)
                              : rz_fail(error, RZ_E_NO_MEMORY, "no memory for %s", path);
    free(text);
    free(path);
    json_decref(old);
    json_decref(now);
    return status;
}

rz_status study_plan_make(const study_settings *s, study_plan *out, rz_error *error)
{
    size_t most =
        s->n_sizes +
        (size_t)s->seeds * s->n_labels * s->n_tasks * (STUDY_INITS * s->n_sizes + s->n_engines) +
        study_transfer_cells(s);
    study_plan p = {.settings = s, .cells = calloc(most + 1, sizeof *p.cells)};
    rz_status status = p.cells != NULL ? RZ_OK
                                       : rz_fail(error, RZ_E_NO_MEMORY,
                                                 "no memory for a study of %zu cells", most);
    if (status == RZ_OK)
        status = study_transfer_check(s, error);
    if (status == RZ_OK)
        status = write_study(s, error);
    if (status == RZ_OK) {
        list_cells(&p);
        status = estimate_all(&p, error);
    }
    if (status != RZ_OK) {
        study_plan_done(&p);
        return status;
    }
    *out = p;
    return RZ_OK;
}

void study_plan_done(study_plan *p)
{
    free(p->cells);
    *p = (study_plan){0};
}

static void print_time(double seconds)
{
    if (seconds < 3600.0)
        (void)printf("%6.1f min", seconds / 60.0);
    else
        (void)printf("%6.1f h  ", seconds / 3600.0);
}

void study_plan_print(const study_plan *p)
{
    static const char *const states[] = {"", "running", "done", "not possible"};
    size_t done = 0, skipped = 0;
    (void)printf("%-44s %10s %10s\n", "cell", "time", "memory");
    for (size_t i = 0; i < p->n_cells; i++) {
        const planned_cell *c = &p->cells[i];
        (void)printf("%-44s ", c->name);
        print_time(c->seconds);
        (void)printf(" %6.1f GB  %s\n", c->bytes * 1e-9, states[c->state]);
        done += c->state == STUDY_DONE;
        skipped += c->state == STUDY_SKIPPED;
    }
    (void)printf("\n%zu cells, %zu done, %zu not possible; left about ", p->n_cells, done, skipped);
    print_time(study_seconds_left(p));
    (void)printf(" at %.0f GFLOP/s of products on this machine\n", p->gflops);
}

/* ---- what a cell runs ---- */

/* Appends an argument to the newest program. */
__attribute__((format(printf, 3, 4))) static void give(study_commands *c, bool *failed,
                                                       const char *format, ...)
{
    char **argv = c->argv[c->n - 1];
    size_t n = 0;
    va_list list;
    while (argv[n] != NULL)
        n++;
    va_start(list, format);
    if (n + 1 >= STUDY_ARGUMENTS_MAX || vasprintf(&argv[n], format, list) < 0) {
        if (n + 1 < STUDY_ARGUMENTS_MAX)
            argv[n] = NULL;
        *failed = true;
    }
    va_end(list);
}

static void give_flags(study_commands *c, bool *failed, const char *flags)
{
    while (*(flags += strspn(flags, " ")) != '\0') {
        size_t n = strcspn(flags, " ");
        give(c, failed, "%.*s", (int)n, flags);
        flags += n;
    }
}

static void begin(study_commands *c, bool *failed, const study_settings *s, const char *command,
                  unsigned threads)
{
    c->n++;
    give(c, failed, "rezept-train");
    give(c, failed, "%s", command);
    give(c, failed, "--db");
    give(c, failed, "%s", s->db);
    give(c, failed, "--threads");
    give(c, failed, "%u", threads);
}

static void give_pair(study_commands *c, bool *failed, const char *name, const char *value)
{
    give(c, failed, "--%s", name);
    give(c, failed, "%s", value);
}

static void give_labels(study_commands *c, bool *failed, const planned_cell *cell)
{
    give(c, failed, "--seed");
    give(c, failed, "%u", cell->seed);
    if (cell->labels == 0)
        return;
    give(c, failed, "--labels");
    give(c, failed, "%zu", cell->labels);
    give(c, failed, "--enriched"); /* balanced, where there are so many positives */
}

/* The folder of a pretrained model: what a cell begins with, or what a pretraining makes. */
static void give_pretrained(study_commands *c, bool *failed, const study_settings *s,
                            const planned_cell *cell)
{
    const char *size = s->sizes[cell->size];
    if (cell->transfer == STUDY_LOCAL)
        give(c, failed, "%s/local/%s", s->out, size);
    else if (s->pretrained != NULL)
        give(c, failed, "%s/%s", s->pretrained, size);
    else
        give(c, failed, "%s/pretrained/%s", s->out, size);
}

static void pretrain_commands(const study_settings *s, const planned_cell *cell, unsigned threads,
                              study_commands *c, bool *failed)
{
    begin(c, failed, s, "pretrain", threads);
    give_pair(c, failed, "size", s->sizes[cell->size]);
    give(c, failed, "--out");
    give_pretrained(c, failed, s, cell);
    give(c, failed, "--resume");
    give_flags(c, failed, s->pretrain_flags);
}

/* The tasks of a cell: its own, or all of the study. */
static void give_tasks(study_commands *c, bool *failed, const study_settings *s,
                       const planned_cell *cell)
{
    give_pair(c, failed, "tasks", s->tasks_folder);
    give(c, failed, "--task");
    if (cell->task != SIZE_MAX) {
        give(c, failed, "%s", s->tasks[cell->task].name);
        return;
    }
    rz_buffer names;
    rz_buffer_init(&names, 1 << 16);
    for (size_t t = 0; t < s->n_tasks; t++)
        *failed |= rz_buffer_addf(&names, "%s%s", t > 0 ? "," : "", s->tasks[t].name) != RZ_OK;
    give(c, failed, "%s", names.data != NULL ? names.data : "");
    rz_buffer_done(&names);
}

/* The scores of a cell by the model of that name. */
static void evaluate_commands(const study_settings *s, const planned_cell *cell, const char *model,
                              unsigned threads, study_commands *c, bool *failed)
{
    static const char *const splits[] = {"tuning", "held_out"};
    for (size_t i = 0; i < RZ_COUNT(splits); i++) {
        begin(c, failed, s, "evaluate", threads);
        give(c, failed, "--model");
        give(c, failed, "%s/models/%s", s->out, model);
        if (cell->init == STUDY_ONSET)
            give_tasks(c, failed, s, cell);
        give_pair(c, failed, "split", splits[i]);
        give(c, failed, "--draws");
        give(c, failed, "%u", s->draws);
        give_pair(c, failed, "bootstraps", "0");
        if (s->truth != NULL)
            give_pair(c, failed, "truth", s->truth);
        give(c, failed, "--scores");
        give(c, failed, "%s/scores/%s-%s.csv", s->out, cell->name, splits[i]);
    }
}

static void finetune_commands(const study_plan *p, const planned_cell *cell, unsigned threads,
                              study_commands *c, bool *failed)
{
    const study_settings *s = p->settings;
    const planned_cell *begins =
        cell->needs == SIZE_MAX || p->cells[cell->needs].kind == STUDY_PRETRAIN
            ? NULL
            : &p->cells[cell->needs];
    begin(c, failed, s, "finetune", threads);
    give(c, failed, "--model");
    if (begins != NULL)
        give(c, failed, "%s/models/%s", s->out, begins->name);
    else
        give_pretrained(c, failed, s, cell);
    if (cell->init == STUDY_ONSET)
        give(c, failed, "--onset");
    else
        give_tasks(c, failed, s, cell);
    give(c, failed, "--out");
    give(c, failed, "%s/models/%s", s->out, cell->name);
    give_labels(c, failed, cell);
    if (cell->init == STUDY_SCRATCH)
        give(c, failed, "--scratch");
    give(c, failed, "--resume");
    give_flags(c, failed, finetune_flags(s, cell));
    evaluate_commands(s, cell, cell->name, threads, c, failed);
}

/* A model of the grid at the held-out facilities, as it is or calibrated there. */
static void foreign_commands(const study_plan *p, const planned_cell *cell, unsigned threads,
                             study_commands *c, bool *failed)
{
    const study_settings *s = p->settings;
    const char *model = p->cells[cell->needs].name;
    if (cell->transfer == STUDY_RECALIBRATED) {
        begin(c, failed, s, "calibrate", threads);
        give(c, failed, "--model");
        give(c, failed, "%s/models/%s", s->out, model);
        give(c, failed, "--out");
        give(c, failed, "%s/models/%s", s->out, cell->name);
        give(c, failed, "--force");
        model = cell->name;
    }
    evaluate_commands(s, cell, model, threads, c, failed);
}

/* Whose patients: the grid's programs do not see the held-out facilities, the others nobody else.
 */
static void restrict_commands(const study_settings *s, const planned_cell *cell, study_commands *c,
                              bool *failed)
{
    char list[RZ_FACILITIES_TEXT];
    const size_t programs = c->n;
    for (c->n = 1; s->hold_out.n > 0 && c->n <= programs; c->n++)
        give_pair(c, failed, cell->transfer == STUDY_GRID ? "hold-out-facility" : "facility",
                  rz_facilities_list(&s->hold_out, list));
    c->n = programs;
}

static void baseline_commands(const study_settings *s, const planned_cell *cell, unsigned threads,
                              study_commands *c, bool *failed)
{
    begin(c, failed, s, "baseline", threads);
    give_pair(c, failed, "engine", s->engines[cell->engine]);
    give(c, failed, "--task");
    give(c, failed, "%s/%s.json", s->tasks_folder, s->tasks[cell->task].name);
    give(c, failed, "--out");
    give(c, failed, "%s/models/%s", s->out, cell->name);
    give_labels(c, failed, cell);
    give(c, failed, "--scored-draws");
    give(c, failed, "%u", s->draws);
    give_pair(c, failed, "bootstraps", "0");
    if (s->truth != NULL)
        give_pair(c, failed, "truth", s->truth);
    give(c, failed, "--scores");
    give(c, failed, "%s/scores/%s", s->out, cell->name);
    give(c, failed, "--force");
    give_flags(c, failed, s->baseline_flags);
}

rz_status study_commands_make(const study_plan *p, const planned_cell *cell, unsigned threads,
                              study_commands *out, rz_error *error)
{
    bool failed = false;
    *out = (study_commands){0};
    if (cell->transfer == STUDY_ZERO_SHOT || cell->transfer == STUDY_RECALIBRATED)
        foreign_commands(p, cell, threads, out, &failed);
    else if (cell->kind == STUDY_PRETRAIN)
        pretrain_commands(p->settings, cell, threads, out, &failed);
    else if (cell->kind == STUDY_FINETUNE)
        finetune_commands(p, cell, threads, out, &failed);
    else
        baseline_commands(p->settings, cell, threads, out, &failed);
    restrict_commands(p->settings, cell, out, &failed);
    if (!failed)
        return RZ_OK;
    study_commands_done(out);
    return rz_fail(error, RZ_E_USAGE, "cell %s: no memory, or more than %d arguments", cell->name,
                   STUDY_ARGUMENTS_MAX - 1);
}

void study_commands_done(study_commands *c)
{
    for (size_t i = 0; i < STUDY_COMMANDS_MAX; i++)
        for (size_t k = 0; k < STUDY_ARGUMENTS_MAX; k++)
            free(c->argv[i][k]);
    *c = (study_commands){0};
}
