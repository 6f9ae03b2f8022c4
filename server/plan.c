/* Choosing models for tasks and writing risks. */
#include "plan.h"

#include "handlers.h"
#include "problem.h"

#include <math.h>
#include <string.h>

/* ---- the question --------------------------------------------------------------------------- */

bool day_read(const char *text, int32_t *out)
{
    return rz_day_parse(text, out) && *out >= RZ_DAY_MIN && *out <= RZ_DAY_MAX;
}

bool question_read(request *r, question *out)
{
    const char *as_of = request_query(r, "as_of"), *explain = request_query(r, "explain");
    *out = (question){.as_of = rz_day_today(),
                      .tasks = request_query(r, "task"),
                      .model = request_query(r, "model")};
    if (as_of != NULL && !day_read(as_of, &out->as_of)) {
        problem_answerf(r, PROBLEM_BAD_PARAMETER,
                        "as_of is no date between 1800 and 2400; write YYYY-MM-DD");
        return false;
    }
    if (explain != NULL) {
        if (explain[0] < '0' || explain[0] > '8' || explain[1] != '\0') {
            problem_answerf(r, PROBLEM_BAD_PARAMETER,
                            "explain is the number of contributing codes, 0 to %d",
                            RZ_CONTRIBUTIONS_MAX);
            return false;
        }
        out->explain = (unsigned)(explain[0] - '0');
    }
    return true;
}

/* ---- the plan ------------------------------------------------------------------------------- */

static void unknown_task(request *r, const char *name, size_t n)
{
    task_route known[RZ_TASKS_MAX];
    size_t count = registry_tasks(r->server->registry, known, RZ_TASKS_MAX);
    char detail[200];
    json_t *names = json_array();
    for (size_t i = 0; i < count; i++)
        (void)json_array_append_new(names, json_string(known[i].task));
    (void)snprintf(detail, sizeof detail, "there is no task \"%.*s\"; `tasks` lists what exists",
                   (int)(n < RZ_TASK_NAME ? n : RZ_TASK_NAME), name);
    problem_answer(r, &(problem){.kind = PROBLEM_UNKNOWN_TASK,
                                 .detail = detail,
                                 .more = json_pack("{s:o}", "tasks", names)});
}

static void unknown_model(request *r)
{
    json_t *all = registry_json(r->server->registry, NULL), *ids = json_array();
    for (size_t i = 0; i < json_array_size(all); i++)
        (void)json_array_append(ids, json_object_get(json_array_get(all, i), "id"));
    json_decref(all);
    problem_answer(r, &(problem){.kind = PROBLEM_UNKNOWN_MODEL,
                                 .detail = "there is no model of this name; `models` lists what "
                                           "exists",
                                 .more = json_pack("{s:o}", "models", ids)});
}

static void not_ready(request *r, const char *detail)
{
    problem_answer(r, &(problem){.kind = PROBLEM_LOADING, .detail = detail, .retry_after_s = 2});
}

/* Takes the reference of `rep`. */
static void add_entry(plan *p, const char *task, replica *rep, size_t head)
{
    plan_entry *entry = &p->entries[p->n++];
    (void)snprintf(entry->task, sizeof entry->task, "%s", task);
    entry->part = -1;
    entry->head = head;
    if (rep == NULL)
        return;
    size_t k = 0;
    while (k < p->n_parts && p->parts[k].replica != rep)
        k++;
    if (k == p->n_parts) {
        p->parts[p->n_parts].replica = rep;
        p->parts[p->n_parts++].heads = 0;
    } else {
        replica_drop(rep);
    }
    p->parts[k].heads |= (uint64_t)1 << head;
    entry->part = (int)k;
}

static bool find_head(const replica *rep, const char *task, size_t *head)
{
    const rz_head *heads;
    size_t n = rz_predictor_heads(replica_predictor(rep), &heads);
    for (*head = 0; *head < n; (*head)++)
        if (strcmp(heads[*head].task.name, task) == 0)
            return true;
    return false;
}

/* One task of the question; false when the answer is a problem. */
static bool add_task(request *r, const question *q, const char *task, replica *only, plan *p)
{
    replica *rep = NULL;
    rz_error error = {0};
    size_t head = 0;
    for (size_t i = 0; i < p->n; i++)
        if (strcmp(p->entries[i].task, task) == 0)
            return true;
    if (q->model != NULL) {
        bool has = find_head(only, task, &head);
        add_entry(p, task, has ? replica_keep(only) : NULL, head);
        return true;
    }
    rz_status status = registry_task(r->server->registry, task, &rep, &head, &error);
    if (status == RZ_E_BUSY) {
        not_ready(r, error.text);
        return false;
    }
    add_entry(p, task, status == RZ_OK ? rep : NULL, head);
    return true;
}

static bool add_named(request *r, const question *q, const task_route *known, size_t n_known,
                      replica *only, plan *p)
{
    for (const char *t = q->tasks; *t != '\0';) {
        size_t n = strcspn(t, ","), k = 0;
        while (k < n_known && (strlen(known[k].task) != n || memcmp(known[k].task, t, n) != 0))
            k++;
        if (n > 0 && k == n_known) {
            if (!registry_settled(r->server->registry))
                not_ready(r, "the models are loading");
            else
                unknown_task(r, t, n);
            return false;
        }
        if (n > 0 && !add_task(r, q, known[k].task, only, p))
            return false;
        t += n + (t[n] == ',' ? 1 : 0);
    }
    return true;
}

static bool add_all(request *r, const question *q, const task_route *known, size_t n_known,
                    replica *only, plan *p)
{
    const rz_head *heads = NULL;
    size_t n = only != NULL ? rz_predictor_heads(replica_predictor(only), &heads) : n_known;
    if (n == 0) {
        not_ready(r, registry_settled(r->server->registry)
                         ? "no model is ready; /v1/models says why"
                         : "the models are loading");
        return false;
    }
    for (size_t i = 0; i < n; i++)
        if (!add_task(r, q, only != NULL ? heads[i].task.name : known[i].task, only, p))
            return false;
    return true;
}

bool plan_make(request *r, const question *q, plan *out)
{
    task_route known[RZ_TASKS_MAX];
    replica *only = NULL;
    rz_error error = {0};
    *out = (plan){0};
    if (q->model != NULL) {
        rz_status status = registry_model(r->server->registry, q->model, &only, &error);
        if (status == RZ_E_NOT_FOUND && registry_settled(r->server->registry)) {
            unknown_model(r);
            return false;
        }
        if (status == RZ_E_INVALID) {
            problem_answerf(r, PROBLEM_MODEL_STATE, "%s", error.text);
            return false;
        }
        if (status != RZ_OK) {
            not_ready(r, error.text);
            return false;
        }
    }
    size_t n_known = registry_tasks(r->server->registry, known, RZ_TASKS_MAX);
    bool made = q->tasks != NULL ? add_named(r, q, known, n_known, only, out)
                                 : add_all(r, q, known, n_known, only, out);
    replica_drop(only);
    if (!made)
        plan_done(out);
    return made;
}

void plan_done(plan *p)
{
    for (size_t k = 0; k < p->n_parts; k++)
        replica_drop(p->parts[k].replica);
    p->n_parts = 0;
}

/* ---- handing over --------------------------------------------------------------------------- */

/* The successor of a retired replica may have other heads. */
static rz_status retarget(registry *g, plan *p, size_t k, rz_error *error)
{
    replica *next = NULL;
    rz_status status = registry_model(g, replica_id(p->parts[k].replica), &next, error);
    if (status != RZ_OK)
        return RZ_E_BUSY;
    replica_drop(p->parts[k].replica);
    p->parts[k].replica = next;
    p->parts[k].heads = 0;
    for (size_t i = 0; i < p->n; i++) {
        if (p->entries[i].part != (int)k)
            continue;
        if (find_head(next, p->entries[i].task, &p->entries[i].head))
            p->parts[k].heads |= (uint64_t)1 << p->entries[i].head;
        else
            p->entries[i].part = -1;
    }
    return RZ_OK;
}

static rz_status submit_part(registry *g, plan *p, size_t k, predict_job *j, unsigned explain,
                             rz_error *error)
{
    rz_status status = RZ_E_BUSY;
    predict_part *part = &j->parts[k];
    for (int attempt = 0; attempt < 3 && status == RZ_E_BUSY; attempt++) {
        rz_error_clear(error);
        if (attempt > 0 && retarget(g, p, k, error) != RZ_OK)
            break;
        replica_drop(part->replica);
        part->replica = replica_keep(p->parts[k].replica);
        part->options = rz_predict_options_defaults();
        part->options.heads = p->parts[k].heads;
        part->options.explain = explain;
        part->n_heads = (size_t)__builtin_popcountll(p->parts[k].heads);
        if (part->n_heads == 0)
            return RZ_E_BUSY; /* the successor has none of the tasks */
        status = replica_add(part->replica, part, error);
    }
    return status;
}

rz_status plan_submit(registry *g, plan *p, predict_job *j, unsigned explain, rz_error *error)
{
    rz_status status = RZ_OK;
    if (p->n_parts == 0) /* nothing to compute: all tasks lack a model */
        job_finish(&j->job);
    for (size_t k = 0; k < p->n_parts && status == RZ_OK; k++)
        status = submit_part(g, p, k, j, explain, error);
    if (status != RZ_OK && error->status == RZ_OK)
        status = rz_fail(error, status, "the model is being exchanged; come again");
    return status;
}

/* ---- risks ---------------------------------------------------------------------------------- */

static json_t *window_json(const rz_timeline *t, int32_t as_of)
{
    int32_t first = RZ_DAY_NONE, last = RZ_DAY_NONE;
    json_int_t n = 0;
    char text[2][RZ_DAY_TEXT];
    for (size_t i = 0; i < t->n_events; i++) {
        if (t->events[i].known_day > as_of)
            continue;
        int32_t day = t->events[i].day;
        first = first == RZ_DAY_NONE || day < first ? day : first;
        last = last == RZ_DAY_NONE || day > last ? day : last;
        n++;
    }
    return json_pack("{s:s?, s:s?, s:I}", "first_day",
                     first == RZ_DAY_NONE ? NULL : rz_day_text(first, text[0]), "last_day",
                     last == RZ_DAY_NONE ? NULL : rz_day_text(last, text[1]), "events", n);
}

static json_t *contributions_json(const rz_risk *risk)
{
    json_t *all = json_array();
    for (size_t i = 0; i < risk->n_contributions; i++) {
        const rz_contribution *c = &risk->contributions[i];
        char first[RZ_DAY_TEXT], last[RZ_DAY_TEXT];
        (void)json_array_append_new(
            all, json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:o}", "kind", rz_kind_name(c->kind),
                           "system", rz_code_system_name(c->system), "code", c->code, "first_day",
                           rz_day_text(c->first_day, first), "last_day",
                           rz_day_text(c->last_day, last), "events", (json_int_t)c->events,
                           "logit_change", json_number_or_null(c->logit_change)));
    }
    return all;
}

static void add_reason(json_t *json, const rz_task *task, const rz_eligibility *e)
{
    char day[RZ_DAY_TEXT];
    (void)json_object_set_new(json, "probability", json_null());
    (void)json_object_set_new(json, "reason", json_string(rz_reason_text(e->reason)));
    if (e->reason == RZ_REASON_ALREADY_RECORDED)
        (void)json_object_set_new(
            json, "recorded",
            json_pack("{s:s, s:s}", "code", e->code, "date", rz_day_text(e->day, day)));
    if (e->reason == RZ_REASON_DEAD)
        (void)json_object_set_new(json, "death_date", json_string(rz_day_text(e->day, day)));
    if (e->reason == RZ_REASON_SHORT_HISTORY)
        (void)json_object_update_new(json, json_pack("{s:i, s:i}", "history_days", e->history_days,
                                                     "min_history_days", task->min_history_days));
}

static void add_numbers(json_t *json, const rz_risk *risk, unsigned explain)
{
    (void)json_object_set_new(json, "probability", json_number_or_null(risk->probability));
    (void)json_object_set_new(
        json, "interval",
        json_pack("[o, o]", json_number_or_null(risk->low), json_number_or_null(risk->high)));
    (void)json_object_set_new(json, "interval_kind",
                              json_string("calibration_curve_95_percent_bootstrap"));
    (void)json_object_set_new(json, "similar",
                              json_pack("{s:I, s:I}", "n", (json_int_t)risk->similar_n, "positives",
                                        (json_int_t)risk->similar_positives));
    (void)json_object_set_new(json, "average_age_sex", json_number_or_null(risk->age_sex_average));
    (void)json_object_set_new(json, "unmapped_codes", json_integer(risk->unmapped));
    (void)json_object_set_new(json, "older_codes_left_out", json_integer(risk->left_out));
    if (explain > 0)
        (void)json_object_set_new(json, "contributions", contributions_json(risk));
}

static json_t *risk_json(const plan_entry *entry, const predict_part *part, const rz_timeline *t,
                         int32_t as_of, const rz_risk *risk)
{
    const rz_predictor *predictor = replica_predictor(part->replica);
    const rz_head *heads;
    char day[RZ_DAY_TEXT];
    (void)rz_predictor_heads(predictor, &heads);
    const rz_head *head = &heads[entry->head];
    json_t *json = json_pack("{s:s, s:s, s:s, s:s, s:i, s:s}", "task", head->task.name, "title",
                             head->task.title_en, "title_ja", head->task.title_ja, "kind",
                             rz_kind_name(head->task.kind), "horizon_days", head->task.horizon_days,
                             "as_of", rz_day_text(as_of, day));
    if (json == NULL)
        return NULL;
    if (risk->eligibility.reason != RZ_REASON_NONE)
        add_reason(json, &head->task, &risk->eligibility);
    else
        add_numbers(json, risk, part->options.explain);
    (void)json_object_set_new(json, "data_window", window_json(t, as_of));
    (void)json_object_set_new(json, "model",
                              json_pack("{s:s, s:s}", "id", replica_id(part->replica), "sha256",
                                        rz_predictor_sha256(predictor)));
    (void)json_object_set_new(
        json, "calibration",
        json_pack("{s:s, s:s}", "id", head->calibration.id, "date", head->calibration.date));
    return json;
}

json_t *plan_risks(const plan *p, const predict_job *j, size_t i, rz_status *status,
                   rz_error *error)
{
    json_t *all = json_array();
    char day[RZ_DAY_TEXT];
    *status = RZ_OK;
    for (size_t k = 0; k < j->n_parts; k++) {
        if (j->parts[k].status != RZ_OK) {
            *status = j->parts[k].status;
            *error = j->parts[k].error;
            json_decref(all);
            return NULL;
        }
    }
    for (size_t e = 0; e < p->n; e++) {
        const plan_entry *entry = &p->entries[e];
        if (entry->part < 0) {
            (void)json_array_append_new(all, json_pack("{s:s, s:n, s:s, s:s}", "task", entry->task,
                                                       "probability", "reason",
                                                       rz_reason_text(RZ_REASON_NO_MODEL), "as_of",
                                                       rz_day_text(j->as_of[i], day)));
            continue;
        }
        const predict_part *part = &j->parts[entry->part];
        uint64_t below = part->options.heads & (((uint64_t)1 << entry->head) - 1);
        size_t row = i * part->n_heads + (size_t)__builtin_popcountll(below);
        (void)json_array_append_new(
            all, risk_json(entry, part, j->timelines[i], j->as_of[i], &part->risks[row]));
    }
    return all;
}
