/* The routes of models and tasks. */
#include "audit.h"
#include "handlers.h"
#include "http.h"
#include "log.h"
#include "onsets.h"
#include "problem.h"
#include "registry.h"

#include <stdlib.h>
#include <string.h>

void models_list(request *r)
{
    request_json(r, 200, json_pack("{s:o}", "models", registry_json(r->server->registry, NULL)));
}

static void unknown(request *r)
{
    json_t *all = registry_json(r->server->registry, NULL), *ids = json_array();
    for (size_t i = 0; i < json_array_size(all); i++)
        (void)json_array_append(ids, json_object_get(json_array_get(all, i), "id"));
    json_decref(all);
    problem_answer(r, &(problem){.kind = PROBLEM_UNKNOWN_MODEL,
                                 .detail = "there is no model folder of this name (a-z, 0-9, '.', "
                                           "'_', '-'); `models` lists what exists",
                                 .more = json_pack("{s:o}", "models", ids)});
}

void models_get(request *r)
{
    json_t *model = registry_json(r->server->registry, request_parameter(r, "id"));
    if (model != NULL)
        request_json(r, 200, model);
    else
        unknown(r);
}

void models_card(request *r)
{
    const char *id = request_parameter(r, "id");
    char *text = NULL;
    size_t n = 0;
    rz_error error = {0};
    json_t *model = registry_json(r->server->registry, id);
    bool known = model != NULL;
    json_decref(model);
    if (!known) {
        unknown(r);
        return;
    }
    rz_status status = registry_card(r->server->registry, id, &text, &n, &error);
    if (status == RZ_OK)
        request_answer(r, 200, "text/markdown; charset=utf-8", text, n, free, text);
    else if (status == RZ_E_NOT_FOUND)
        problem_answerf(r, PROBLEM_NO_CARD,
                        "the model's folder has no card.md; `rezept-train finetune` writes one");
    else
        problem_from_error(r, status, &error);
}

void models_study(request *r)
{
    json_t *study = registry_study(r->server->registry);
    if (study != NULL)
        request_json(r, 200, study);
    else
        problem_answerf(r, PROBLEM_NO_STUDY,
                        "routing.json is missing in the folder of models, or holds no evidence; "
                        "`rezept-train study` compares models and writes it");
}

static json_t *prefixes_json(const rz_task_prefix *prefixes, size_t n)
{
    json_t *all = json_array();
    for (size_t i = 0; i < n; i++)
        (void)json_array_append_new(all, json_pack("{s:s, s:s}", "system",
                                                   rz_code_system_name(prefixes[i].system),
                                                   "prefix", prefixes[i].prefix));
    return all;
}

/* A task as the model that answers it knows it, and why that one does. */
static json_t *task_json(registry *g, const rz_task *t, const replica *r)
{
    const char *model = replica_id(r);
    return json_pack("{s:s, s:s, s:s, s:s, s:i, s:i, s:s, s:i, s:i, s:o, s:o, s:s, s:s, s:o}",
                     "name", t->name, "title", t->title_en, "title_ja", t->title_ja, "kind",
                     rz_kind_name(t->kind), "horizon_days", t->horizon_days, "min_history_days",
                     t->min_history_days, "sex",
                     t->sex == RZ_SEX_UNKNOWN ? "any" : rz_sex_name(t->sex), "age_min", t->age_min,
                     "age_max", t->age_max, "outcomes", prefixes_json(t->outcomes, t->n_outcomes),
                     "required", prefixes_json(t->required, t->n_required), "model", model, "size",
                     rz_predictor_model(replica_predictor(r))->config.size, "why",
                     registry_why(g, t->name, model));
}

/* NULL where no model answers onsets. */
static json_t *onset_json(registry *g)
{
    replica *rep = NULL;
    rz_error error = {0};
    const rz_task task = rz_onset_task();
    if (registry_onset(g, &rep, &error) != RZ_OK)
        return NULL;
    const rz_predictor *p = replica_predictor(rep);
    json_t *json = json_pack("{s:s, s:I, s:o, s:i, s:i}", "model", replica_id(rep), "codes",
                             (json_int_t)rz_predictor_onset(p)->n_codes, "systems",
                             onset_systems(rz_predictor_model(p)->vocabulary), "horizon_days",
                             task.horizon_days, "min_history_days", task.min_history_days);
    replica_drop(rep);
    return json;
}

void tasks_list(request *r)
{
    task_route routes[RZ_TASKS_MAX];
    registry *g = r->server->registry;
    json_t *all = json_array();
    size_t n = registry_tasks(g, routes, RZ_TASKS_MAX);
    for (size_t i = 0; i < n; i++) {
        replica *rep = NULL;
        size_t head;
        const rz_head *heads;
        rz_error error = {0};
        if (registry_task(g, routes[i].task, &rep, &head, &error) != RZ_OK) {
            (void)json_array_append_new(all, json_pack("{s:s, s:n, s:n, s:n}", "name",
                                                       routes[i].task, "model", "size", "why"));
            continue;
        }
        (void)rz_predictor_heads(replica_predictor(rep), &heads);
        (void)json_array_append_new(all, task_json(g, &heads[head].task, rep));
        replica_drop(rep);
    }
    request_json(r, 200, json_pack("{s:o, s:o*}", "tasks", all, "onset", onset_json(g)));
}

/* ---- load and unload ------------------------------------------------------------------------ */

static void destroy(job *j)
{
    free(j);
}

static void changed(request *r)
{
    const model_change *change = (const model_change *)r->job;
    if (change->status == RZ_OK) {
        request_json(r, 200, registry_json(r->server->registry, change->id));
        return;
    }
    problem_answer(r, &(problem){.kind = PROBLEM_MODEL_STATE, .detail = change->error.text});
}

static void change_model(request *r, bool load)
{
    const char *id = request_parameter(r, "id");
    rz_error error = {0};
    if (!model_id_valid(id)) {
        unknown(r);
        return;
    }
    model_change *change = calloc(1, sizeof *change);
    if (change == NULL) {
        problem_no_memory(r);
        return;
    }
    job_init(&change->job, r->connection, destroy);
    (void)snprintf(change->id, sizeof change->id, "%s", id);
    change->load = load;
    log_event("info", "model_change", "{s:s, s:s, s:b, s:s}", "request_id", r->id, "model", id,
              "load", load, "caller", r->caller);
    audit_add(r->server->audit, r, load ? "model_load" : "model_unload", NULL, NULL,
              json_pack("{s:s}", "model", id));
    r->resume = changed;
    http_wait(r, &change->job, r->server->config.load_timeout_s);
    rz_status status = registry_change(r->server->registry, change, &error);
    if (status == RZ_E_NOT_FOUND)
        unknown(r);
    else if (status != RZ_OK)
        problem_from_error(r, status, &error);
    if (status != RZ_OK)
        job_finish(&change->job);
}

void models_load(request *r)
{
    change_model(r, true);
}

void models_unload(request *r)
{
    change_model(r, false);
}
