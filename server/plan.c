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

static bool top_read(const char *text, unsigned *out)
{
    unsigned value = 0;
    size_t n = strlen(text);
    if (n == 0 || n > 3 || strspn(text, "0123456789") != n)
        return false;
    for (size_t i = 0; i < n; i++)
        value = 10 * value + (unsigned)(text[i] - '0');
    *out = value;
    return value >= 1 && value <= RZ_ONSET_TOP_MAX;
}

bool question_read(request *r, question *out)
{
    const char *as_of = request_query(r, "as_of"), *explain = request_query(r, "explain"),
               *top = request_query(r, "top");
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
    if (top != NULL && !top_read(top, &out->top)) {
        problem_answerf(r, PROBLEM_BAD_PARAMETER, "top is the number of onsets to list, 1 to %d",
                        RZ_ONSET_TOP_MAX);
        return false;
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

/* The model that answers the question's onsets, once; false when the answer is a problem. */
static bool find_onset(request *r, replica *only, replica **rep)
{
    rz_error error = {0};
    if (*rep != NULL)
        return true;
    if (only != NULL && rz_predictor_onset(replica_predictor(only)) == NULL) {
        problem_answerf(r, PROBLEM_UNKNOWN_TASK, "model %s answers no onsets", replica_id(only));
        return false;
    }
    if (only != NULL) {
        *rep = replica_keep(only);
        return true;
    }
    rz_status status = registry_onset(r->server->registry, rep, &error);
    if (status == RZ_E_BUSY)
        not_ready(r, error.text);
    else if (status != RZ_OK)
        problem_answerf(r, PROBLEM_UNKNOWN_TASK, "%s", error.text);
    return status == RZ_OK;
}

static bool add_onset(request *r, const replica *rep, const char *task, size_t n, plan *p)
{
    const rz_vocabulary *vocabulary = rz_predictor_model(replica_predictor(rep))->vocabulary;
    onset_asked asked;
    if (!onset_read(r, vocabulary, replica_id(rep), task, n, &asked))
        return false;
    for (size_t i = 0; i < p->n_onsets; i++)
        if (p->onsets[i].code == asked.code)
            return true;
    if (p->n_onsets == ONSETS_ASKED_MAX) {
        problem_answerf(r, PROBLEM_BAD_PARAMETER, "at most %d onsets are answered at a time",
                        ONSETS_ASKED_MAX);
        return false;
    }
    p->onsets[p->n_onsets++] = asked;
    return true;
}

/* The onsets that the question names, and `top`: a part of their own. */
static bool add_onsets(request *r, const question *q, replica *only, plan *p)
{
    replica *rep = NULL;
    bool made = q->top == 0 || find_onset(r, only, &rep);
    for (const char *t = q->tasks; made && t != NULL && *t != '\0';) {
        size_t n = strcspn(t, ",");
        if (onset_named(t, n))
            made = find_onset(r, only, &rep) && add_onset(r, rep, t, n, p);
        t += n + (t[n] == ',' ? 1 : 0);
    }
    p->top = q->top;
    if (made && rep != NULL) {
        p->onset_part = p->n_parts;
        p->parts[p->n_parts].replica = rep;
        p->parts[p->n_parts++].heads = 0;
    } else {
        replica_drop(rep);
    }
    return made;
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
        if (onset_named(t, n)) { /* add_onsets reads it */
            t += n + (t[n] == ',' ? 1 : 0);
            continue;
        }
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
    *out = (plan){.explain = q->explain};
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
                : q->top > 0     ? true
                                 : add_all(r, q, known, n_known, only, out);
    made = made && add_onsets(r, q, only, out);
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

static bool is_onset_part(const plan *p, size_t k)
{
    return p->n_onsets + p->top > 0 && k == p->onset_part;
}

/* Codes are places in a vocabulary: another one would answer something else. */
static bool same_codes(const replica *a, const replica *b)
{
    return rz_predictor_onset(replica_predictor(b)) != NULL &&
           strcmp(rz_predictor_model(replica_predictor(a))->vocabulary->sha256,
                  rz_predictor_model(replica_predictor(b))->vocabulary->sha256) == 0;
}

/* The successor of a retired replica may have other heads. */
static rz_status retarget(registry *g, plan *p, size_t k, rz_error *error)
{
    replica *next = NULL;
    rz_status status = registry_model(g, replica_id(p->parts[k].replica), &next, error);
    if (status != RZ_OK)
        return RZ_E_BUSY;
    if (is_onset_part(p, k) && !same_codes(p->parts[k].replica, next)) {
        replica_drop(next);
        return RZ_E_BUSY;
    }
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

/* The job may outlive the request, and the plan with it. */
static bool ask_onsets(const plan *p, predict_part *part)
{
    uint32_t *codes = rz_arena_alloc(&part->job->arena, p->n_onsets + 1, sizeof *codes);
    for (size_t i = 0; codes != NULL && i < p->n_onsets; i++)
        codes[i] = p->onsets[i].code;
    part->onsets = (rz_onset_query){
        .codes = codes, .n_codes = p->n_onsets, .top = p->top, .explain = p->explain};
    part->n_heads = p->n_onsets + p->top;
    return codes != NULL;
}

static rz_status submit_part(registry *g, plan *p, size_t k, predict_job *j, rz_error *error)
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
        part->options.explain = p->explain > 0 ? RZ_CONTRIBUTIONS_MAX : 0; /* all are kept */
        part->n_heads = (size_t)__builtin_popcountll(p->parts[k].heads);
        if (is_onset_part(p, k) && !ask_onsets(p, part))
            return rz_fail(error, RZ_E_NO_MEMORY, "no memory for %zu onsets", p->n_onsets);
        if (part->n_heads == 0)
            return RZ_E_BUSY; /* the successor has none of the tasks */
        status = replica_add(part->replica, part, error);
    }
    return status;
}

rz_status plan_submit(registry *g, plan *p, predict_job *j, rz_error *error)
{
    rz_status status = RZ_OK;
    size_t n_known = 0;
    for (size_t k = 0; k < p->n_parts; k++)
        n_known += j->parts[k].recalled;
    if (n_known == p->n_parts) /* nothing to compute: all is known, or all tasks lack a model */
        job_finish(&j->job);
    (void)atomic_fetch_sub(&j->pending, n_known);
    for (size_t k = 0; k < p->n_parts && status == RZ_OK; k++)
        if (!j->parts[k].recalled)
            status = submit_part(g, p, k, j, error);
    if (status != RZ_OK && error->status == RZ_OK)
        status = rz_fail(error, status, "the model is being exchanged; come again");
    return status;
}

/* ---- risks ---------------------------------------------------------------------------------- */

/* What the history spans up to the day; the same for every task of a patient. */
typedef struct window {
    int32_t first, last;
    int64_t events;
} window;

static window window_of(const rz_timeline *t, int32_t as_of)
{
    window w = {.first = RZ_DAY_NONE, .last = RZ_DAY_NONE};
    for (size_t i = 0; i < t->n_events; i++) {
        if (t->events[i].known_day > as_of)
            continue;
        int32_t day = t->events[i].day;
        w.first = w.first == RZ_DAY_NONE || day < w.first ? day : w.first;
        w.last = w.last == RZ_DAY_NONE || day > w.last ? day : w.last;
        w.events++;
    }
    return w;
}

static void write_day(json_out *o, const char *name, int32_t day)
{
    char text[RZ_DAY_TEXT];
    json_out_member_text(o, name, day == RZ_DAY_NONE ? NULL : rz_day_text(day, text));
}

void plan_write_contributions(json_out *o, const rz_contribution *all, size_t n, size_t most)
{
    json_out_open(o, '[');
    for (size_t i = 0; i < n && i < most; i++) {
        const rz_contribution *c = &all[i];
        json_out_open(o, '{');
        json_out_member_text(o, "kind", rz_kind_name(c->kind));
        json_out_member_text(o, "system", rz_code_system_name(c->system));
        json_out_member_text(o, "code", c->code);
        write_day(o, "first_day", c->first_day);
        write_day(o, "last_day", c->last_day);
        json_out_member_int(o, "events", c->events);
        json_out_member_real(o, "logit_change", c->logit_change);
        json_out_member_real(o, "risk_change", c->risk_change);
        json_out_close(o, '}');
    }
    json_out_close(o, ']');
}

static void write_reason(json_out *o, const rz_task *task, const rz_eligibility *e)
{
    json_out_member_text(o, "probability", NULL);
    json_out_member_text(o, "reason", rz_reason_text(e->reason));
    if (e->reason == RZ_REASON_ALREADY_RECORDED) {
        json_out_name(o, "recorded");
        json_out_open(o, '{');
        json_out_member_text(o, "code", e->code);
        write_day(o, "date", e->day);
        json_out_close(o, '}');
    }
    if (e->reason == RZ_REASON_DEAD)
        write_day(o, "death_date", e->day);
    if (e->reason == RZ_REASON_SHORT_HISTORY) {
        json_out_member_int(o, "history_days", e->history_days);
        json_out_member_int(o, "min_history_days", task->min_history_days);
    }
}

/* counts  "similar": tuning patients scored alike; or "tuning": all of a code's. */
static void write_numbers(json_out *o, const rz_risk *risk, const char *interval_kind,
                          const char *counts, unsigned explain)
{
    json_out_member_real(o, "probability", risk->probability);
    json_out_name(o, "interval");
    json_out_open(o, '[');
    json_out_real(o, risk->low);
    json_out_real(o, risk->high);
    json_out_close(o, ']');
    json_out_member_text(o, "interval_kind", interval_kind);
    json_out_name(o, counts);
    json_out_open(o, '{');
    json_out_member_int(o, "n", risk->similar_n);
    json_out_member_int(o, "positives", risk->similar_positives);
    json_out_close(o, '}');
    json_out_member_real(o, "average_age_sex", risk->age_sex_average);
    json_out_member_int(o, "unmapped_codes", risk->unmapped);
    json_out_member_int(o, "older_codes_left_out", risk->left_out);
    if (explain > 0) {
        json_out_name(o, "contributions");
        plan_write_contributions(o, risk->contributions, risk->n_contributions, explain);
    }
}

static const rz_head *head_of(const plan_entry *entry, const predict_part *part)
{
    const rz_head *heads;
    (void)rz_predictor_heads(replica_predictor(part->replica), &heads);
    return &heads[entry->head];
}

static const rz_risk *risk_of(const plan_entry *entry, const predict_part *part, size_t i)
{
    uint64_t below = part->options.heads & (((uint64_t)1 << entry->head) - 1);
    return &part->risks[i * part->n_heads + (size_t)__builtin_popcountll(below)];
}

plan_risk plan_risk_of(const plan *p, const predict_job *j, size_t entry, size_t i)
{
    const plan_entry *e = &p->entries[entry];
    const predict_part *part = e->part >= 0 ? &j->parts[e->part] : NULL;
    if (part == NULL)
        return (plan_risk){.risk = NULL};
    return (plan_risk){
        .risk = risk_of(e, part, i), .head = head_of(e, part), .replica = part->replica};
}

/* What every risk ends with, and the object. */
static void write_origin(json_out *o, const window *w, const replica *rep, const char *id,
                         const char *date)
{
    json_out_name(o, "data_window");
    json_out_open(o, '{');
    write_day(o, "first_day", w->first);
    write_day(o, "last_day", w->last);
    json_out_member_int(o, "events", w->events);
    json_out_close(o, '}');
    json_out_name(o, "model");
    json_out_open(o, '{');
    json_out_member_text(o, "id", replica_id(rep));
    json_out_member_text(o, "sha256", rz_predictor_sha256(replica_predictor(rep)));
    json_out_close(o, '}');
    json_out_name(o, "calibration");
    json_out_open(o, '{');
    json_out_member_text(o, "id", id);
    json_out_member_text(o, "date", date);
    json_out_close(o, '}');
    json_out_close(o, '}');
}

static void write_risk(json_out *o, const plan *p, const plan_entry *entry,
                       const predict_part *part, const window *w, int32_t as_of,
                       const rz_risk *risk)
{
    const rz_head *head = head_of(entry, part);
    json_out_open(o, '{');
    json_out_member_text(o, "task", head->task.name);
    json_out_member_text(o, "title", head->task.title_en);
    json_out_member_text(o, "title_ja", head->task.title_ja);
    json_out_member_text(o, "kind", rz_kind_name(head->task.kind));
    json_out_member_int(o, "horizon_days", head->task.horizon_days);
    write_day(o, "as_of", as_of);
    if (risk->eligibility.reason != RZ_REASON_NONE)
        write_reason(o, &head->task, &risk->eligibility);
    else
        write_numbers(o, risk, "calibration_curve_95_percent_bootstrap", "similar", p->explain);
    write_origin(o, w, part->replica, head->calibration.id, head->calibration.date);
}

/* ---- onsets --------------------------------------------------------------------------------- */

/* Row k of patient i, and the name that it goes by; NULL for a place that no code is left for. The
 * first such place stands for all where nothing of the patient can be answered. */
static const rz_risk *onset_of(const plan *p, const predict_job *j, size_t i, size_t k,
                               char name[ONSET_NAME_TEXT])
{
    const predict_part *part = &j->parts[p->onset_part];
    /* A finished part has its rows. NOLINTNEXTLINE(clang-analyzer-core.NullDereference) */
    const rz_risk *risk = &part->risks[i * part->n_heads + k];
    if (risk->head != RZ_ONSET_NONE) {
        onset_name(
            &rz_predictor_model(replica_predictor(part->replica))->vocabulary->entries[risk->head],
            name);
        return risk;
    }
    text_copy(name, ONSET_NAME_TEXT, ONSET_ANY);
    return k == p->n_onsets && risk->eligibility.reason != RZ_REASON_NONE ? risk : NULL;
}

static void write_code(json_out *o, const rz_vocabulary_entry *entry, const onset_asked *asked)
{
    char title[ONSET_NAME_TEXT];
    const char *system = rz_code_system_name(entry->system);
    (void)snprintf(title, sizeof title, "First record of %s (%s)", entry->code, system);
    json_out_member_text(o, "title", title);
    (void)snprintf(title, sizeof title, "%s（%s）の初回記録", entry->code, system);
    json_out_member_text(o, "title_ja", title);
    json_out_member_text(o, "kind", rz_kind_name(entry->kind));
    json_out_name(o, "code");
    json_out_open(o, '{');
    json_out_member_text(o, "system", system);
    json_out_member_text(o, "code", entry->code);
    if (asked != NULL && asked->truncated)
        json_out_member_text(o, "truncated_from", asked->asked);
    json_out_close(o, '}');
}

static void write_onset(json_out *o, const plan *p, const predict_job *j, size_t i, size_t k,
                        const window *w)
{
    const predict_part *part = &j->parts[p->onset_part];
    const rz_predictor *predictor = replica_predictor(part->replica);
    const rz_onset *onset = rz_predictor_onset(predictor);
    const rz_task task = rz_onset_task();
    char name[ONSET_NAME_TEXT];
    const rz_risk *risk = onset_of(p, j, i, k, name);
    if (risk == NULL)
        return;
    json_out_open(o, '{');
    json_out_member_text(o, "task", name);
    if (risk->head != RZ_ONSET_NONE)
        write_code(o, &rz_predictor_model(predictor)->vocabulary->entries[risk->head],
                   k < p->n_onsets ? &p->onsets[k] : NULL);
    json_out_member_int(o, "horizon_days", task.horizon_days);
    write_day(o, "as_of", j->as_of[i]);
    if (risk->eligibility.reason != RZ_REASON_NONE) {
        write_reason(o, &task, &risk->eligibility);
    } else {
        write_numbers(o, risk, "calibration_curve_95_percent_posterior", "tuning", p->explain);
        json_out_member_real(o, "excess", risk->probability - risk->age_sex_average);
    }
    write_origin(o, w, part->replica, onset->sha256, onset->date);
}

rz_status plan_status(const predict_job *j, rz_error *error)
{
    for (size_t k = 0; k < j->n_parts; k++) {
        if (j->parts[k].status != RZ_OK) {
            *error = j->parts[k].error;
            return j->parts[k].status;
        }
    }
    return RZ_OK;
}

void plan_write_risks(const plan *p, const predict_job *j, size_t i, json_out *o)
{
    window w = window_of(j->timelines[i], j->as_of[i]);
    json_out_open(o, '[');
    for (size_t e = 0; e < p->n; e++) {
        const plan_entry *entry = &p->entries[e];
        if (entry->part >= 0) {
            const predict_part *part = &j->parts[entry->part];
            write_risk(o, p, entry, part, &w, j->as_of[i], risk_of(entry, part, i));
            continue;
        }
        json_out_open(o, '{');
        json_out_member_text(o, "task", entry->task);
        json_out_member_text(o, "probability", NULL);
        json_out_member_text(o, "reason", rz_reason_text(RZ_REASON_NO_MODEL));
        write_day(o, "as_of", j->as_of[i]);
        json_out_close(o, '}');
    }
    for (size_t k = 0; k < p->n_onsets + p->top; k++)
        write_onset(o, p, j, i, k, &w);
    json_out_close(o, ']');
}

static void audit_risk(json_out *o, const char *name, const rz_risk *risk, const char *sha256,
                       const char *calibration)
{
    rz_reason reason = risk != NULL ? risk->eligibility.reason : RZ_REASON_NO_MODEL;
    json_out_name(o, name);
    json_out_open(o, '{');
    if (reason == RZ_REASON_NONE)
        json_out_member_real(o, "probability", risk->probability);
    else
        json_out_member_text(o, "reason", rz_reason_text(reason));
    json_out_member_text(o, "model", sha256);
    json_out_member_text(o, "calibration", calibration);
    json_out_close(o, '}');
}

const char *plan_write_audit(const plan *p, const predict_job *j, size_t i, json_out *o)
{
    const char *first = NULL;
    json_out_open(o, '{');
    for (size_t e = 0; e < p->n; e++) {
        const plan_entry *entry = &p->entries[e];
        const predict_part *part = entry->part >= 0 ? &j->parts[entry->part] : NULL;
        const rz_risk *risk = part != NULL ? risk_of(entry, part, i) : NULL;
        const char *sha256 =
            part != NULL ? rz_predictor_sha256(replica_predictor(part->replica)) : NULL;
        audit_risk(o, entry->task, risk, sha256,
                   part != NULL ? head_of(entry, part)->calibration.id : NULL);
        first = first == NULL ? sha256 : first;
    }
    for (size_t k = 0; k < p->n_onsets + p->top; k++) {
        char name[ONSET_NAME_TEXT];
        const rz_risk *risk = onset_of(p, j, i, k, name);
        const rz_predictor *predictor = replica_predictor(j->parts[p->onset_part].replica);
        bool named = false; /* a code may be asked for and be among the largest */
        for (size_t a = 0; risk != NULL && k >= p->n_onsets && a < p->n_onsets; a++)
            named = named || p->onsets[a].code == risk->head;
        if (risk == NULL || named)
            continue;
        audit_risk(o, name, risk, rz_predictor_sha256(predictor),
                   rz_predictor_onset(predictor)->sha256);
        first = first == NULL ? rz_predictor_sha256(predictor) : first;
    }
    json_out_close(o, '}');
    return first;
}
