/* POST /v1/predict and /v1/predict:batch: risks of histories that come with the request. The batch
 * is answered while it is computed: windows of lines go to the model one after the other, so that
 * memory holds one window and not the batch. */
#include "audit.h"
#include "handlers.h"
#include "history.h"
#include "http.h"
#include "plan.h"

#include "claims/claim_json.h"

#include <stdlib.h>
#include <string.h>

/* ---- one ------------------------------------------------------------------------------------ */

typedef struct asked {
    plan plan;
    question question;
    json_t *id; /* owned; what the caller called it */
} asked;

/* The members of the answer about patient i, and its row in the audit. */
static void write_members(const request *r, const plan *p, const predict_job *j, size_t i,
                          json_out *o)
{
    char day[RZ_DAY_TEXT];
    audit_prediction(r->server->audit, r, NULL, j->as_of[i], p, j, i);
    json_out_member_text(o, "as_of", rz_day_text(j->as_of[i], day));
    json_out_name(o, "risks");
    plan_write_risks(p, j, i, o);
    json_out_member_text(o, "disclaimer", SERVER_DISCLAIMER);
}

static void write_answer(request *r)
{
    const asked *a = r->context;
    const predict_job *j = (predict_job *)r->job;
    rz_error error = {0};
    rz_buffer text;
    json_out out = {.to = &text};
    rz_status status = plan_status(j, &error);
    if (status != RZ_OK) {
        problem_from_error(r, status, &error);
        return;
    }
    rz_buffer_init(&text, ANSWER_BYTES_MAX);
    json_out_open(&out, '{');
    write_members(r, &a->plan, j, 0, &out);
    json_out_close(&out, '}');
    request_buffer(r, 200, out.status, &text);
    rz_buffer_done(&text);
}

/* Makes the job of a parsed body; NULL when the answer is a problem. */
static predict_job *read_one(request *r, const json_t *document, const asked *a)
{
    predict_job *j = NULL;
    rz_error error = {0};
    json_t *errors = NULL;
    rz_status status = predict_job_new(r->connection, 1, a->plan.n_parts,
                                       r->server->config.history_bytes_max, &j, &error);
    if (status == RZ_OK) {
        j->as_of[0] = a->question.as_of;
        status = history_read(document, &j->arena, &j->timelines[0], &j->as_of[0], &errors, &error);
    }
    if (status == RZ_OK)
        return j;
    if (status == RZ_E_INVALID)
        problem_answer(
            r, &(problem){.kind = PROBLEM_INVALID_HISTORY, .detail = error.text, .errors = errors});
    else
        problem_from_error(r, status, &error);
    if (j != NULL)
        job_drop(&j->job);
    return NULL;
}

void predict_post(request *r)
{
    asked *a = rz_arena_alloc(&r->arena, 1, sizeof *a);
    rz_error error = {0};
    json_t *document = NULL;
    if (a == NULL) {
        problem_no_memory(r);
        return;
    }
    if (!question_read(r, &a->question))
        return;
    rz_status status = rz_json_parse(r->body.data, r->body.length, &document, &error);
    if (status != RZ_OK) {
        problem_from_error(r, status, &error);
        return;
    }
    predict_job *j = plan_make(r, &a->question, &a->plan) ? read_one(r, document, a) : NULL;
    json_decref(document);
    if (j == NULL) {
        plan_done(&a->plan);
        return;
    }
    r->context = a;
    r->resume = write_answer;
    http_wait(r, &j->job, r->server->config.request_timeout_s);
    status = plan_submit(r->server->registry, &a->plan, j, &error);
    if (status != RZ_OK) {
        problem_from_error(r, status, &error);
        job_finish(&j->job);
    }
    plan_done(&a->plan);
}

/* ---- many ----------------------------------------------------------------------------------- */

typedef struct line {
    size_t number;
    json_t *id;      /* owned; NULL when the line has none */
    json_t *problem; /* owned; why there is no risk */
    size_t place;    /* in the job */
} line;

typedef struct batch {
    stream stream; /* first */
    request *request;
    asked asked;
    const char *at, *end; /* what is left of the body */
    size_t number;        /* of the next line */
    size_t window;
    line *lines; /* [window], owned */
    size_t n_lines;
    predict_job *job; /* one reference; the window under way */
    rz_buffer out;
    size_t sent; /* of out */
} batch;

static void clear_window(batch *b)
{
    for (size_t i = 0; i < b->n_lines; i++) {
        json_decref(b->lines[i].id);
        json_decref(b->lines[i].problem);
    }
    b->n_lines = 0;
    if (b->job != NULL)
        job_drop(&b->job->job);
    b->job = NULL;
    plan_done(&b->asked.plan);
}

static void free_batch(stream *s)
{
    batch *b = (batch *)s;
    clear_window(b);
    free(b->lines);
    rz_buffer_done(&b->out);
    free(b);
}

static void refuse(batch *b, line *l, problem_kind kind, const char *detail, json_t *errors)
{
    problem p = {.kind = kind, .detail = detail, .errors = errors};
    if (kind == PROBLEM_BODY_TOO_LARGE) {
        p.setting = "predict-bytes-max";
        p.limit = (int64_t)b->request->server->config.predict_bytes_max;
    }
    l->problem = problem_json(b->request, &p);
}

/* One line into the window. Errors: RZ_E_NO_MEMORY. */
static rz_status read_line(batch *b, const char *text, size_t n, predict_job *j)
{
    json_t *document = NULL, *errors = NULL;
    rz_error error = {0};
    line *l = &b->lines[b->n_lines++];
    *l = (line){.number = b->number, .place = j->n};
    if (n > b->request->server->config.predict_bytes_max) {
        refuse(b, l, PROBLEM_BODY_TOO_LARGE,
               "the line is longer than a history may be (predict-bytes-max)", NULL);
        return RZ_OK;
    }
    rz_status status = rz_json_parse(text, n, &document, &error);
    if (status == RZ_OK) {
        json_t *id = json_object_get(document, "id");
        l->id = json_is_string(id) || json_is_integer(id) ? json_incref(id) : NULL;
        j->as_of[j->n] = b->asked.question.as_of;
        status = history_read(document, &j->arena, &j->timelines[j->n], &j->as_of[j->n], &errors,
                              &error);
    }
    json_decref(document);
    if (status == RZ_OK)
        j->n++;
    else if (status == RZ_E_FORMAT)
        refuse(b, l, PROBLEM_MALFORMED_JSON, problem_of_line(&error), NULL);
    else if (status == RZ_E_INVALID)
        refuse(b, l, PROBLEM_INVALID_HISTORY, error.text, errors);
    else
        return status;
    return RZ_OK;
}

/* Reads lines until the window is full or the body ends. */
static rz_status read_window(batch *b, predict_job *j)
{
    rz_status status = RZ_OK;
    j->n = 0;
    while (b->at < b->end && b->n_lines < b->window && status == RZ_OK) {
        const char *newline = memchr(b->at, '\n', (size_t)(b->end - b->at));
        size_t n = newline != NULL ? (size_t)(newline - b->at) : (size_t)(b->end - b->at);
        b->number++;
        if (strspn(b->at, " \t\r") < n)
            status = read_line(b, b->at, n, j);
        b->at += n + (newline != NULL ? 1 : 0);
    }
    return status;
}

/* Starts the next window. Returns false when there is nothing to wait for. */
static bool start_window(batch *b)
{
    request *r = b->request;
    rz_error error = {0};
    predict_job *j = NULL;
    problem_kind why = PROBLEM_BUSY;
    bool made = plan_make(r, &b->asked.question, &b->asked.plan);
    if (!made)
        why = PROBLEM_LOADING;
    rz_status status = predict_job_new(r->connection, b->window, made ? b->asked.plan.n_parts : 0,
                                       r->server->config.history_bytes_max, &j, &error);
    if (status == RZ_OK)
        status = read_window(b, j);
    if (status != RZ_OK || !made || j->n == 0) {
        for (size_t i = 0; i < b->n_lines && (status != RZ_OK || !made); i++)
            if (b->lines[i].problem == NULL)
                refuse(b, &b->lines[i], status != RZ_OK ? PROBLEM_OUT_OF_MEMORY : why,
                       "this line could not be answered now; send it again", NULL);
        if (j != NULL)
            job_drop(&j->job);
        return false;
    }
    b->job = j;
    http_wait_stream(r, &j->job, r->server->config.send_timeout_s);
    status = plan_submit(r->server->registry, &b->asked.plan, j, &error);
    if (status != RZ_OK) {
        /* A full queue in the middle of a batch is told line by line. */
        for (size_t i = 0; i < b->n_lines; i++)
            if (b->lines[i].problem == NULL)
                refuse(b, &b->lines[i],
                       status == RZ_E_QUEUE_FULL ? PROBLEM_QUEUE_FULL : PROBLEM_BUSY, error.text,
                       NULL);
        job_finish(&j->job);
    }
    return true;
}

static rz_status write_problem(const batch *b, const line *l, json_out *o)
{
    json_t *told =
        l->problem != NULL
            ? json_incref(l->problem)
            : problem_json(b->request, &(problem){.kind = PROBLEM_INTERNAL,
                                                  .detail = "see the log of the daemon"});
    char *text = told != NULL ? json_text(told) : NULL;
    json_decref(told);
    if (text == NULL)
        return RZ_E_NO_MEMORY;
    json_out_name(o, "problem");
    json_out_raw(o, text);
    free(text);
    return RZ_OK;
}

/* The answer of one line; `why` is how its job went. */
static rz_status write_line(batch *b, const line *l, rz_status why)
{
    json_out out = {.to = &b->out};
    json_out_open(&out, '{');
    if (l->problem != NULL || why != RZ_OK) {
        rz_status status = write_problem(b, l, &out);
        if (status != RZ_OK)
            return status;
    } else { /* a line without a problem has a place in the job */
        write_members(b->request, &b->asked.plan, b->job, l->place, &out);
    }
    json_out_member_int(&out, "line", (int64_t)l->number);
    if (json_is_string(l->id))
        json_out_member_text(&out, "id", json_string_value(l->id));
    else if (l->id != NULL)
        json_out_member_int(&out, "id", json_integer_value(l->id));
    json_out_close(&out, '}');
    return out.status == RZ_OK ? rz_buffer_add(&b->out, "\n", 1) : out.status;
}

/* Writes the answers of the window. */
static rz_status write_window(batch *b)
{
    rz_status status = RZ_OK;
    rz_error error = {0};
    rz_status why = b->job != NULL ? plan_status(b->job, &error) : RZ_OK;
    for (size_t i = 0; i < b->n_lines && status == RZ_OK; i++)
        status = write_line(b, &b->lines[i], why);
    clear_window(b);
    return status;
}

static ssize_t read_batch(stream *s, char *out, size_t cap)
{
    batch *b = (batch *)s;
    for (;;) {
        if (b->sent < b->out.length) {
            size_t n = b->out.length - b->sent < cap ? b->out.length - b->sent : cap;
            memcpy(out, b->out.data + b->sent, n);
            b->sent += n;
            return (ssize_t)n;
        }
        rz_buffer_clear(&b->out);
        b->sent = 0;
        if (b->job != NULL) {
            job_state state = job_state_of(&b->job->job);
            if (state == JOB_WAITING)
                return 0;
            if (state != JOB_FINISHED)
                return STREAM_FAILED; /* the client is gone, or it took too long */
        } else if (b->n_lines == 0) {
            if (b->at >= b->end)
                return STREAM_END;
            if (start_window(b))
                return 0;
        }
        if (write_window(b) != RZ_OK)
            return STREAM_FAILED;
    }
}

void predict_batch(request *r)
{
    const config *c = &r->server->config;
    question q;
    plan probe;
    if (!question_read(r, &q) || !plan_make(r, &q, &probe))
        return; /* a wrong question is told before the first line */
    plan_done(&probe);
    batch *b = calloc(1, sizeof *b);
    size_t window = c->batch_patients_max < c->queue_patients_max ? c->batch_patients_max
                                                                  : c->queue_patients_max;
    if (b != NULL)
        b->lines = calloc(window, sizeof *b->lines);
    if (b == NULL || b->lines == NULL) {
        free(b);
        problem_no_memory(r);
        return;
    }
    b->stream = (stream){.read = read_batch, .free = free_batch};
    b->request = r;
    b->asked.question = q;
    b->at = r->body.data;
    b->end = b->at + r->body.length;
    b->window = window;
    rz_buffer_init(&b->out, (size_t)256 << 20);
    r->answer.stream = &b->stream;
    r->answer.content_type = "application/x-ndjson";
    r->answer.status = 200;
}
