/* Slots by id, one loader thread, and the routing of tasks. */
#include "registry.h"

#include "changes.h"
#include "figures.h"
#include "log.h"
#include "onsets.h"
#include "routing.h"

#include "base/file.h"
#include "base/size.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct slot {
    char id[MODEL_ID_TEXT];
    model_state state;
    char reason[400];
    replica *replica; /* one reference; NULL unless it answers */
    int64_t loaded_us;
    json_t *known_tasks; /* names it answered when it was loaded last; owned, or NULL */
} slot;

struct registry {
    const config *config;
    changes *changes;
    pthread_t loader;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    slot slots[MODELS_MAX]; /* in the order of their ids */
    size_t n;
    model_change *first, *last;
    size_t n_changes;
    bool stop, settled;
    uint64_t loads;
    json_t *routing; /* task -> {"model", …}, of routing.json; owned */
    json_t *study;   /* what routing.json says besides; owned */
};

static const char *const state_names[] = {
#define MODEL_STATE_ROW(id, name) [MODEL_##id] = name,
    MODEL_STATE_MAP(MODEL_STATE_ROW)
#undef MODEL_STATE_ROW
};

bool model_id_valid(const char *id)
{
    size_t n = strlen(id);
    return n > 0 && n < MODEL_ID_TEXT && id[0] != '.' && id[0] != '_' && id[0] != '-' &&
           strspn(id, "abcdefghijklmnopqrstuvwxyz0123456789._-") == n;
}

/* Ends a section under the lock that changed what answers which question. */
static void unlock_changed(registry *g)
{
    changes_all(g->changes);
    (void)pthread_mutex_unlock(&g->lock);
}

/* ---- the folder ----------------------------------------------------------------------------- */

typedef enum entry_kind { ENTRY_OTHER, ENTRY_FOLDER, ENTRY_LINK } entry_kind;

/* What stands below the models folder. A folder's content is checked when it is loaded. A link to
 * a folder, or to nothing, is no model: what is served must not change by what somebody moves
 * elsewhere. It is listed with the reason all the same. */
static entry_kind entry_of(const config *c, const char *id)
{
    struct stat info;
    entry_kind kind = ENTRY_OTHER;
    int root = open(c->models, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root < 0)
        return kind;
    if (fstatat(root, id, &info, AT_SYMLINK_NOFOLLOW) == 0) {
        if (S_ISDIR(info.st_mode))
            kind = ENTRY_FOLDER;
        else if (S_ISLNK(info.st_mode) &&
                 (fstatat(root, id, &info, 0) != 0 || S_ISDIR(info.st_mode)))
            kind = ENTRY_LINK;
    }
    (void)close(root);
    return kind;
}

static slot *find(registry *g, const char *id)
{
    for (size_t i = 0; i < g->n; i++)
        if (strcmp(g->slots[i].id, id) == 0)
            return &g->slots[i];
    return NULL;
}

/* Adds a slot in its place; NULL when all are taken. */
static slot *insert(registry *g, const char *id)
{
    if (g->n == MODELS_MAX)
        return NULL;
    size_t i = g->n++;
    while (i > 0 && strcmp(g->slots[i - 1].id, id) > 0) {
        g->slots[i] = g->slots[i - 1];
        i--;
    }
    g->slots[i] = (slot){.state = MODEL_UNLOADED};
    size_t length = strnlen(id, sizeof g->slots[i].id - 1); /* callers let only short ids pass */
    memcpy(g->slots[i].id, id, length);
    return &g->slots[i];
}

static void scan(registry *g)
{
    DIR *folder = opendir(g->config->models);
    if (folder == NULL) {
        log_event("warning", "no_models", "{s:s, s:s}", "folder", g->config->models, "detail",
                  strerror(errno));
        return;
    }
    for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
        if (!model_id_valid(entry->d_name) || entry_of(g->config, entry->d_name) == ENTRY_OTHER ||
            find(g, entry->d_name) != NULL)
            continue;
        if (insert(g, entry->d_name) == NULL)
            log_event("warning", "too_many_models", "{s:s, s:i}", "left_out", entry->d_name,
                      "models_max", MODELS_MAX);
    }
    (void)closedir(folder);
}

/* ---- loading and unloading ------------------------------------------------------------------ */

/* A pretrained encoder has no heads: it is listed, but it answers nothing and is no failure. */
static bool has_no_heads(const char *folder)
{
    char *path = rz_path_join(folder, "config.json"), *text = NULL;
    size_t n = 0;
    bool none = false;
    if (path != NULL && rz_file_read(path, 1 << 22, &text, &n, NULL) == RZ_OK) {
        json_t *json = json_loadb(text, n, JSON_REJECT_DUPLICATES, NULL);
        const json_t *heads = json_object_get(json, "heads");
        none = json_is_array(heads) && json_array_size(heads) == 0 &&
               !json_is_true(json_object_get(json_object_get(json, "model"), "onset"));
        json_decref(json);
    }
    free(text);
    free(path);
    return none;
}

static void set_state(registry *g, const char *id, model_state state, const char *reason)
{
    (void)pthread_mutex_lock(&g->lock);
    slot *s = find(g, id);
    s->state = state;
    (void)snprintf(s->reason, sizeof s->reason, "%s", reason);
    unlock_changed(g);
    log_event(state == MODEL_FAILED ? "error" : "info", "model", "{s:s, s:s, s:s}", "model", id,
              "state", state_names[state], "reason", reason);
}

/* New: the tasks of a replica. */
static json_t *task_names(const replica *r)
{
    const rz_head *heads;
    size_t n = rz_predictor_heads(replica_predictor(r), &heads);
    json_t *names = json_array();
    for (size_t i = 0; i < n; i++)
        (void)json_array_append_new(names, json_string(heads[i].task.name));
    return names;
}

/* Puts `fresh` (or nothing) in the place of the slot's replica and drains that. */
static void swap(registry *g, const char *id, replica *fresh, model_state state, const char *reason)
{
    (void)pthread_mutex_lock(&g->lock);
    slot *s = find(g, id);
    replica *old = s->replica;
    s->replica = fresh;
    g->loads++;
    if (fresh != NULL) {
        json_decref(s->known_tasks);
        s->known_tasks = task_names(fresh);
    }
    s->loaded_us = fresh != NULL ? time_now_us() : s->loaded_us;
    s->state = fresh != NULL ? MODEL_READY : old != NULL ? MODEL_DRAINING : state;
    s->reason[0] = '\0';
    unlock_changed(g);
    if (old != NULL) {
        replica_retire(old);
        replica_drop(old);
    }
    set_state(g, id, state, reason);
}

/* A failure leaves what answers in place: the state stays READY and the reason says so. */
static rz_status load(registry *g, const char *id, rz_error *error)
{
    char *folder = rz_path_join(g->config->models, id);
    replica *fresh = NULL;
    rz_status status = RZ_OK;
    (void)pthread_mutex_lock(&g->lock);
    slot *s = find(g, id);
    bool serving = s->replica != NULL;
    if (!serving)
        s->state = MODEL_LOADING;
    unlock_changed(g);
    if (folder == NULL)
        status = rz_fail(error, RZ_E_NO_MEMORY, "no memory for model %s", id);
    else if (entry_of(g->config, id) == ENTRY_LINK)
        status = rz_fail(error, RZ_E_INVALID,
                         "a symbolic link, which is not followed; put the model's folder itself "
                         "here (cp -r, or a bind mount)");
    else if (has_no_heads(folder))
        status = rz_fail(error, RZ_E_INVALID,
                         "a pretrained encoder without task heads; `rezept-train finetune` makes "
                         "a model that answers");
    else
        status = replica_new(g->config, id, folder, &fresh, error);
    if (status == RZ_OK) {
        swap(g, id, fresh, MODEL_READY, "");
    } else if (serving) {
        char reason[400];
        (void)snprintf(reason, sizeof reason, "loading it again failed, the old one serves: %.300s",
                       error->text);
        set_state(g, id, MODEL_READY, reason);
    } else {
        set_state(g, id, folder != NULL && has_no_heads(folder) ? MODEL_UNLOADED : MODEL_FAILED,
                  error->text);
    }
    free(folder);
    return status;
}

static rz_status unload(registry *g, const char *id)
{
    swap(g, id, NULL, MODEL_UNLOADED, "");
    return RZ_OK;
}

static void read_routing_again(registry *g)
{
    json_t *study, *routing = routing_read(g->config->models, &study);
    (void)pthread_mutex_lock(&g->lock);
    json_t *old = g->routing, *old_study = g->study;
    g->routing = routing;
    g->study = study;
    unlock_changed(g);
    json_decref(old);
    json_decref(old_study);
}

static void load_all(registry *g)
{
    char ids[MODELS_MAX][MODEL_ID_TEXT];
    (void)pthread_mutex_lock(&g->lock);
    scan(g);
    size_t n = g->n;
    for (size_t i = 0; i < n; i++) {
        memcpy(ids[i], g->slots[i].id, MODEL_ID_TEXT);
        g->slots[i].state = MODEL_LOADING;
    }
    unlock_changed(g);
    read_routing_again(g);
    for (size_t i = 0; i < n; i++) {
        rz_error error = {0};
        (void)pthread_mutex_lock(&g->lock);
        bool stop = g->stop;
        (void)pthread_mutex_unlock(&g->lock);
        if (!stop && load(g, ids[i], &error) != RZ_OK)
            continue; /* the slot says why; the others are served */
    }
    (void)pthread_mutex_lock(&g->lock);
    g->settled = true;
    unlock_changed(g);
}

static void *loader_main(void *argument)
{
    registry *g = argument;
    load_all(g);
    (void)pthread_mutex_lock(&g->lock);
    for (;;) {
        while (g->first == NULL && !g->stop)
            (void)pthread_cond_wait(&g->wake, &g->lock);
        if (g->first == NULL)
            break;
        model_change *change = g->first;
        g->first = change->next;
        if (g->first == NULL)
            g->last = NULL;
        g->n_changes--;
        (void)pthread_mutex_unlock(&g->lock);
        read_routing_again(g);
        change->status = change->load ? load(g, change->id, &change->error) : unload(g, change->id);
        job_finish(&change->job);
        job_drop(&change->job);
        (void)pthread_mutex_lock(&g->lock);
    }
    (void)pthread_mutex_unlock(&g->lock);
    return NULL;
}

rz_status registry_change(registry *g, model_change *change, rz_error *error)
{
    rz_status status = RZ_OK;
    (void)pthread_mutex_lock(&g->lock);
    /* A new slot answers nothing before it is loaded. */
    if (find(g, change->id) == NULL &&
        (!change->load || entry_of(g->config, change->id) == ENTRY_OTHER ||
         insert(g, change->id) == NULL))
        status = rz_fail(error, RZ_E_NOT_FOUND, "there is no model folder of this name");
    else if (g->stop || g->n_changes >= MODELS_MAX)
        status =
            rz_fail(error, RZ_E_QUEUE_FULL, "%zu changes of models wait; come again", g->n_changes);
    if (status == RZ_OK) {
        (void)job_keep(&change->job);
        change->next = NULL;
        if (g->last != NULL)
            g->last->next = change;
        else
            g->first = change;
        g->last = change;
        g->n_changes++;
        (void)pthread_cond_signal(&g->wake);
    }
    (void)pthread_mutex_unlock(&g->lock);
    return status;
}

/* A folder without models is a beginning; one that is not there is a wrong path, which would else
 * show only as a daemon that never becomes ready. */
static rz_status check_folder(const config *c, rz_error *error)
{
    int folder = open(c->models, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder >= 0) {
        (void)close(folder);
        return RZ_OK;
    }
    if (errno == ENOENT)
        return rz_fail(error, RZ_E_NOT_FOUND,
                       "there is no folder of models %s; make it (it may be empty) or name another "
                       "with --models",
                       c->models);
    return rz_fail_errno(error, errno, "the folder of models %s cannot be read", c->models);
}

rz_status registry_new(const config *c, changes *all, registry **out, rz_error *error)
{
    rz_status status = check_folder(c, error);
    if (status != RZ_OK)
        return status;
    registry *g = calloc(1, sizeof *g);
    if (g == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for the models");
    g->config = c;
    g->changes = all;
    g->routing = json_object();
    (void)pthread_mutex_init(&g->lock, NULL);
    (void)pthread_cond_init(&g->wake, NULL);
    if (pthread_create(&g->loader, NULL, loader_main, g) != 0) {
        json_decref(g->routing);
        free(g);
        return rz_fail(error, RZ_E_BUSY, "the thread that loads models could not be started");
    }
    *out = g;
    return RZ_OK;
}

void registry_free(registry *g)
{
    if (g == NULL)
        return;
    (void)pthread_mutex_lock(&g->lock);
    g->stop = true;
    (void)pthread_cond_signal(&g->wake);
    (void)pthread_mutex_unlock(&g->lock);
    (void)pthread_join(g->loader, NULL);
    for (size_t i = 0; i < g->n; i++) {
        if (g->slots[i].replica != NULL) {
            replica_retire(g->slots[i].replica);
            replica_drop(g->slots[i].replica);
        }
        json_decref(g->slots[i].known_tasks);
    }
    json_decref(g->routing);
    json_decref(g->study);
    (void)pthread_cond_destroy(&g->wake);
    (void)pthread_mutex_destroy(&g->lock);
    free(g);
}

/* ---- questions ------------------------------------------------------------------------------ */

bool registry_settled(registry *g)
{
    (void)pthread_mutex_lock(&g->lock);
    bool settled = g->settled;
    (void)pthread_mutex_unlock(&g->lock);
    return settled;
}

size_t registry_ready(registry *g)
{
    size_t ready = 0;
    (void)pthread_mutex_lock(&g->lock);
    for (size_t i = 0; i < g->n; i++)
        ready += g->slots[i].replica != NULL ? 1 : 0;
    (void)pthread_mutex_unlock(&g->lock);
    return ready;
}

uint64_t registry_loads(registry *g)
{
    (void)pthread_mutex_lock(&g->lock);
    uint64_t loads = g->loads;
    (void)pthread_mutex_unlock(&g->lock);
    return loads;
}

rz_status registry_model(registry *g, const char *id, replica **out, rz_error *error)
{
    rz_status status = RZ_OK;
    (void)pthread_mutex_lock(&g->lock);
    slot *s = find(g, id);
    if (s == NULL)
        status = rz_fail(error, RZ_E_NOT_FOUND, "there is no model of this name");
    else if (s->replica != NULL)
        *out = replica_keep(s->replica);
    else if (s->state == MODEL_LOADING || s->state == MODEL_DRAINING)
        status = rz_fail(error, RZ_E_BUSY, "model %s is %s", s->id, state_names[s->state]);
    else
        status = rz_fail(error, RZ_E_INVALID, "model %s is %s%s%s", s->id, state_names[s->state],
                         s->reason[0] != '\0' ? ": " : "", s->reason);
    (void)pthread_mutex_unlock(&g->lock);
    return status;
}

/* The onsets are routed under a name that no task can have. */
static bool has_task(const replica *r, const char *task, size_t *head)
{
    const rz_head *heads;
    if (strcmp(task, ONSET_ANY) == 0)
        return rz_predictor_onset(replica_predictor(r)) != NULL;
    size_t n = rz_predictor_heads(replica_predictor(r), &heads);
    for (size_t i = 0; i < n; i++) {
        if (strcmp(heads[i].task.name, task) == 0) {
            *head = i;
            return true;
        }
    }
    return false;
}

/* The model that routing.json names for a task, whether it answers or not; or NULL. */
static const char *named_model(const registry *g, const char *task)
{
    return json_string_value(json_object_get(json_object_get(g->routing, task), "model"));
}

/* The model that the study chose if it answers, else the first one by id that has the task. */
static slot *route(registry *g, const char *task, size_t *head)
{
    const char *chosen = named_model(g, task);
    slot *s = chosen != NULL ? find(g, chosen) : NULL;
    if (s != NULL && s->replica != NULL && has_task(s->replica, task, head))
        return s;
    for (size_t i = 0; i < g->n; i++)
        if (g->slots[i].replica != NULL && has_task(g->slots[i].replica, task, head))
            return &g->slots[i];
    return NULL;
}

rz_status registry_task(registry *g, const char *task, replica **out, size_t *head, rz_error *error)
{
    rz_status status = RZ_OK;
    (void)pthread_mutex_lock(&g->lock);
    slot *s = route(g, task, head);
    if (s != NULL)
        *out = replica_keep(s->replica);
    else if (!g->settled)
        status = rz_fail(error, RZ_E_BUSY, "the models are loading");
    else
        status = rz_fail(error, RZ_E_NOT_FOUND, "no model that is ready has this task");
    (void)pthread_mutex_unlock(&g->lock);
    return status;
}

rz_status registry_onset(registry *g, replica **out, rz_error *error)
{
    size_t head;
    rz_status status = registry_task(g, ONSET_ANY, out, &head, error);
    if (status != RZ_E_NOT_FOUND)
        return status;
    rz_error_clear(error);
    return rz_fail(
        error, status,
        "no model that is ready answers onsets; `rezept-train finetune --onset` makes one");
}

json_t *registry_why(registry *g, const char *task, const char *model)
{
    json_t *why;
    size_t head, answering = 0;
    (void)pthread_mutex_lock(&g->lock);
    const char *named = named_model(g, task);
    json_t *told = json_object_get(json_object_get(g->routing, task), "why");
    for (size_t i = 0; i < g->n; i++)
        answering += g->slots[i].replica != NULL && has_task(g->slots[i].replica, task, &head);
    if (named != NULL && strcmp(named, model) == 0)
        why = json_is_string(told) ? json_incref(told) : json_string("routing.json names it");
    else if (named != NULL)
        why = json_sprintf("routing.json names %s, which does not answer now; this is the first by "
                           "name that does",
                           named);
    else if (answering > 1)
        why = json_sprintf("the first by name of %zu models that have the task; routing.json names "
                           "none",
                           answering);
    else
        why = json_string("the only model that has the task");
    (void)pthread_mutex_unlock(&g->lock);
    return why;
}

static size_t add_unanswered(const char *task, task_route *out, size_t n, size_t cap)
{
    size_t seen = 0;
    while (seen < n && strcmp(out[seen].task, task) != 0)
        seen++;
    if (seen < n || n == cap || strlen(task) >= RZ_TASK_NAME)
        return n;
    (void)snprintf(out[n].task, sizeof out[n].task, "%s", task);
    out[n].model[0] = '\0';
    return n + 1;
}

size_t registry_tasks(registry *g, task_route *out, size_t cap)
{
    size_t n = 0, head;
    (void)pthread_mutex_lock(&g->lock);
    for (size_t i = 0; i < g->n; i++) {
        const rz_head *heads = NULL;
        size_t n_heads = g->slots[i].replica != NULL
                             ? rz_predictor_heads(replica_predictor(g->slots[i].replica), &heads)
                             : 0;
        for (size_t k = 0; k < n_heads && n < cap; k++) {
            size_t seen = 0;
            while (seen < n && strcmp(out[seen].task, heads[k].task.name) != 0)
                seen++;
            if (seen < n)
                continue;
            (void)snprintf(out[n].task, sizeof out[n].task, "%s", heads[k].task.name);
            (void)snprintf(out[n].model, sizeof out[n].model, "%s",
                           route(g, heads[k].task.name, &head)->id);
            n++;
        }
    }
    /* Then what cannot be answered just now, but is no unknown name either. */
    const char *task;
    json_t *value;
    json_object_foreach(g->routing, task, value)
    {
        if (strcmp(task, ONSET_ANY) != 0)
            n = add_unanswered(task, out, n, cap);
    }
    for (size_t i = 0; i < g->n; i++)
        for (size_t k = 0; k < json_array_size(g->slots[i].known_tasks); k++)
            n = add_unanswered(json_string_value(json_array_get(g->slots[i].known_tasks, k)), out,
                               n, cap);
    (void)pthread_mutex_unlock(&g->lock);
    return n;
}

static json_t *number_or_null(double value)
{
    return isnan(value) ? json_null() : json_real(value);
}

static json_t *day_or_null(int32_t day)
{
    char text[RZ_DAY_TEXT];
    return day == RZ_DAY_NONE ? json_null() : json_string(rz_day_text(day, text));
}

/* How far one task has drifted. */
static json_t *drift_json(const replica_drift *d)
{
    char computed[TIME_TEXT];
    const char *reason;
    const drift_outcomes *o = &d->outcomes;
    json_t *psi = json_object();
    double ratio = drift_ratio(o, &reason);
    for (int f = 0; f < DRIFT_FEATURES; f++)
        (void)json_object_set_new(psi, drift_feature_name((drift_feature)f),
                                  number_or_null(d->index[f]));
    return json_pack("{s:I, s:o, s:{s:o, s:s?, s:I, s:f, s:I, s:o, s:o, s:s?}}", "patients",
                     (json_int_t)d->patients, "input_psi", psi, "calibration", "oe_ratio",
                     number_or_null(ratio), "reason", reason, "observed", (json_int_t)o->observed,
                     "expected", o->expected, "patients", (json_int_t)o->patients, "index_from",
                     day_or_null(o->patients > 0 ? o->first_index : RZ_DAY_NONE), "index_to",
                     day_or_null(o->patients > 0 ? o->last_index : RZ_DAY_NONE), "computed_at",
                     o->computed_us != 0 ? time_text(o->computed_us, computed) : NULL);
}

/* `figures`: with what can be drawn, and the titles. */
static json_t *calibration_json(const rz_head *head, bool figures)
{
    json_t *json = json_pack("{s:s, s:s, s:O?}", "id", head->calibration.id, "date",
                             head->calibration.date, "metrics", head->metrics);
    if (figures) {
        (void)json_object_set_new(json, "title", json_string(head->task.title_en));
        (void)json_object_set_new(json, "title_ja", json_string(head->task.title_ja));
        (void)json_object_set_new(json, "figures", figures_json(head));
    }
    return json;
}

static json_t *slot_json(const slot *s, bool figures)
{
    char loaded[TIME_TEXT];
    json_t *tasks = json_array(), *calibrations = json_object(), *drifts = json_object();
    json_t *json = json_pack("{s:s, s:s, s:s?}", "id", s->id, "state", state_names[s->state],
                             "reason", s->reason[0] != '\0' ? s->reason : NULL);
    if (s->replica != NULL) {
        const rz_predictor *p = replica_predictor(s->replica);
        const rz_model *model = rz_predictor_model(p);
        const rz_head *heads;
        size_t n = rz_predictor_heads(p, &heads);
        for (size_t i = 0; i < n; i++) {
            replica_drift d;
            replica_drift_of(s->replica, i, &d);
            (void)json_object_set_new(drifts, heads[i].task.name, drift_json(&d));
            (void)json_array_append_new(tasks, json_string(heads[i].task.name));
            (void)json_object_set_new(calibrations, heads[i].task.name,
                                      calibration_json(&heads[i], figures));
        }
        (void)json_object_update_new(
            json,
            json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:s, s:s}", "family", model->config.family,
                      "size", model->config.size, "precision",
                      rz_precision_name(rz_predictor_model(p)->precision), "sha256",
                      rz_predictor_sha256(p), "tasks_sha256", rz_predictor_tasks_sha256(p),
                      "parameters", (json_int_t)model->n_counted, "vocabulary_sha256",
                      model->vocabulary->sha256, "loaded_at", time_text(s->loaded_us, loaded)));
    }
    (void)json_object_set_new(json, "tasks", tasks);
    (void)json_object_set_new(json, "calibrations", calibrations);
    (void)json_object_set_new(json, "drift", drifts);
    const rz_onset *onset =
        s->replica != NULL ? rz_predictor_onset(replica_predictor(s->replica)) : NULL;
    if (onset != NULL)
        (void)json_object_set_new(json, "onset",
                                  json_pack("{s:I, s:s, s:s, s:O, s:O}", "codes",
                                            (json_int_t)onset->n_codes, "id", onset->sha256, "date",
                                            onset->date, "kinds", onset->kinds, "metrics",
                                            onset->metrics));
    return json;
}

json_t *registry_json(registry *g, const char *id)
{
    json_t *json = id == NULL ? json_array() : NULL;
    (void)pthread_mutex_lock(&g->lock);
    for (size_t i = 0; i < g->n; i++) {
        if (id == NULL)
            (void)json_array_append_new(json, slot_json(&g->slots[i], false));
        else if (strcmp(g->slots[i].id, id) == 0)
            json = slot_json(&g->slots[i], true);
    }
    (void)pthread_mutex_unlock(&g->lock);
    return json;
}

rz_status registry_card(registry *g, const char *id, char **text, size_t *n, rz_error *error)
{
    enum { CARD_BYTES_MAX = 1 << 20 };
    (void)pthread_mutex_lock(&g->lock);
    bool listed = find(g, id) != NULL;
    (void)pthread_mutex_unlock(&g->lock);
    if (!listed || entry_of(g->config, id) != ENTRY_FOLDER)
        return rz_fail(error, RZ_E_NOT_FOUND, "there is no model of this name");
    char *folder = rz_path_join(g->config->models, id);
    char *path = folder != NULL ? rz_path_join(folder, "card.md") : NULL;
    struct stat info;
    rz_status status;
    if (path == NULL)
        status = rz_fail(error, RZ_E_NO_MEMORY, "no memory for the card of %s", id);
    else if (lstat(path, &info) != 0 || !S_ISREG(info.st_mode)) /* a link leads elsewhere */
        status = rz_fail(error, RZ_E_NOT_FOUND, "model %s has no card.md", id);
    else
        status = rz_file_read(path, CARD_BYTES_MAX, text, n, error);
    free(path);
    free(folder);
    return status;
}

json_t *registry_study(registry *g)
{
    (void)pthread_mutex_lock(&g->lock);
    json_t *study = routing_study(g->routing, g->study);
    (void)pthread_mutex_unlock(&g->lock);
    return study;
}

void registry_id_of(registry *g, const char *sha256, char out[MODEL_ID_TEXT])
{
    out[0] = '\0';
    (void)pthread_mutex_lock(&g->lock);
    for (size_t i = 0; i < g->n && out[0] == '\0'; i++)
        if (g->slots[i].replica != NULL &&
            strcmp(rz_predictor_sha256(replica_predictor(g->slots[i].replica)), sha256) == 0)
            text_copy(out, MODEL_ID_TEXT, g->slots[i].id);
    (void)pthread_mutex_unlock(&g->lock);
}

void registry_calibration_date(registry *g, const char *calibration, char out[RZ_DAY_TEXT])
{
    out[0] = '\0';
    (void)pthread_mutex_lock(&g->lock);
    for (size_t i = 0; i < g->n; i++) {
        const rz_head *heads = NULL;
        size_t n = g->slots[i].replica != NULL
                       ? rz_predictor_heads(replica_predictor(g->slots[i].replica), &heads)
                       : 0;
        for (size_t k = 0; k < n; k++)
            if (strcmp(heads[k].calibration.id, calibration) == 0)
                text_copy(out, RZ_DAY_TEXT, heads[k].calibration.date);
    }
    (void)pthread_mutex_unlock(&g->lock);
}

size_t registry_replicas(registry *g, replica **out, size_t cap)
{
    size_t n = 0;
    (void)pthread_mutex_lock(&g->lock);
    for (size_t i = 0; i < g->n && n < cap; i++)
        if (g->slots[i].replica != NULL)
            out[n++] = replica_keep(g->slots[i].replica);
    (void)pthread_mutex_unlock(&g->lock);
    return n;
}

size_t registry_queue_limit(const registry *g)
{
    return g->config->queue_patients_max;
}
