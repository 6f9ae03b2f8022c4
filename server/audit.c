/* A bounded list of rows, and one write operation at a time that appends the oldest of them and
 * queues itself again while there are more, so that claims are written in between. */
#include "audit.h"

#include "log.h"
#include "writer.h"

#include "base/size.h"
#include "store/audit.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum {
    ROWS_MAX = 100000,
    APPEND_MAX = 2000,
    GATHER_MS = 20, /* a transaction costs as much as some dozen rows, and a sync of the disk */
    DETAILS_BYTES_MAX = 1 << 20
};

typedef struct row {
    struct row *next;
    rz_audit_entry entry; /* its texts stand behind it */
} row;

struct audit {
    server *server;
    pthread_mutex_t lock;
    row *first, *last;
    size_t n;
    bool flushing; /* an operation is queued or running */
    uint64_t lost;
};

typedef struct flush_op {
    write_op op; /* first */
    audit *audit;
} flush_op;

static void free_rows(row *first)
{
    while (first != NULL) {
        row *next = first->next;
        free(first);
        first = next;
    }
}

static void destroy(job *j)
{
    free(j);
}

/* Takes up to APPEND_MAX rows off the list; NULL when it is empty, and the flush is then over. */
static row *take(audit *a, size_t *n)
{
    (void)pthread_mutex_lock(&a->lock);
    row *first = a->first, *last = NULL;
    for (*n = 0; *n < APPEND_MAX && a->first != NULL; (*n)++) {
        last = a->first;
        a->first = last->next;
    }
    a->n -= *n;
    if (last != NULL)
        last->next = NULL;
    if (a->first == NULL)
        a->last = NULL;
    if (*n == 0)
        a->flushing = false;
    (void)pthread_mutex_unlock(&a->lock);
    return first;
}

static rz_status append(rz_store *store, const row *first, size_t n, rz_error *error)
{
    rz_audit_entry *entries = calloc(n, sizeof *entries);
    if (entries == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for %zu audit rows", n);
    size_t i = 0;
    for (const row *r = first; r != NULL; r = r->next)
        entries[i++] = r->entry;
    rz_status status = rz_store_audit_append(store, entries, n, error);
    free(entries);
    return status;
}

static rz_status run(write_op *op, rz_store *store, rz_error *error);

/* Queues a flush; false when the writer takes none. */
static bool queue_flush(audit *a)
{
    rz_error error = {0};
    flush_op *f = calloc(1, sizeof *f);
    if (f == NULL)
        return false;
    job_init(&f->op.job, NULL, destroy);
    f->op.run = run;
    f->op.derived = true;
    f->op.gather_ms = GATHER_MS;
    f->audit = a;
    rz_status status = writer_add(a->server->writer, &f->op, &error);
    job_drop(&f->op.job);
    return status == RZ_OK;
}

static rz_status run(write_op *op, rz_store *store, rz_error *error)
{
    audit *a = ((flush_op *)op)->audit;
    size_t n;
    for (row *rows = take(a, &n); rows != NULL; rows = take(a, &n)) {
        rz_error why = {0};
        rz_status status = append(store, rows, n, &why);
        free_rows(rows);
        if (status != RZ_OK) {
            (void)pthread_mutex_lock(&a->lock);
            a->lost += n;
            a->flushing = false;
            (void)pthread_mutex_unlock(&a->lock);
            return rz_fail(error, status, "%zu audit rows are lost: %.300s", n, why.text);
        }
        /* The rest later, behind the claims that wait; at the end of the daemon here and now. */
        if (queue_flush(a))
            break;
    }
    return RZ_OK;
}

rz_status audit_new(server *s, audit **out, rz_error *error)
{
    audit *a = calloc(1, sizeof *a);
    if (a == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for the audit");
    a->server = s;
    (void)pthread_mutex_init(&a->lock, NULL);
    *out = a;
    return RZ_OK;
}

void audit_free(audit *a)
{
    if (a == NULL)
        return;
    free_rows(a->first);
    (void)pthread_mutex_destroy(&a->lock);
    free(a);
}

static void start_flush(audit *a)
{
    if (queue_flush(a))
        return;
    (void)pthread_mutex_lock(&a->lock);
    a->flushing = false; /* the next row tries again */
    (void)pthread_mutex_unlock(&a->lock);
}

/* A row with its texts in one block; NULL when memory is short. */
static row *make_row(const request *r, const char *action, const char *patient_hash,
                     const char *model_hash, const char *details)
{
    const char *texts[] = {r->id, r->caller, action, patient_hash, model_hash, details};
    size_t sizes[RZ_COUNT(texts)], bytes = sizeof(row);
    for (size_t i = 0; i < RZ_COUNT(texts); i++) {
        texts[i] = texts[i] != NULL ? texts[i] : "";
        sizes[i] = strlen(texts[i]) + 1;
        bytes += sizes[i];
    }
    row *fresh = malloc(bytes);
    if (fresh == NULL)
        return NULL;
    char *to = (char *)(fresh + 1);
    for (size_t i = 0; i < RZ_COUNT(texts); i++) {
        texts[i] = memcpy(to, texts[i], sizes[i]);
        to += sizes[i];
    }
    *fresh = (row){.entry = {.request_id = texts[0],
                             .actor = texts[1],
                             .action = texts[2],
                             .patient_hash = texts[3],
                             .model_hash = texts[4],
                             .details = texts[5],
                             .at = time_now_us()}};
    return fresh;
}

static void add(audit *a, const request *r, const char *action, const char *patient_hash,
                const char *model_hash, const char *details)
{
    row *fresh = make_row(r, action, patient_hash, model_hash, details);
    (void)pthread_mutex_lock(&a->lock);
    bool kept = fresh != NULL && a->n < ROWS_MAX, flush = !a->flushing;
    if (kept) {
        if (a->last != NULL)
            a->last->next = fresh;
        else
            a->first = fresh;
        a->last = fresh;
        a->n++;
    } else {
        a->lost++;
    }
    a->flushing = true;
    (void)pthread_mutex_unlock(&a->lock);
    if (!kept)
        free(fresh);
    if (flush)
        start_flush(a);
}

uint64_t audit_lost(audit *a)
{
    (void)pthread_mutex_lock(&a->lock);
    uint64_t lost = a->lost;
    (void)pthread_mutex_unlock(&a->lock);
    return lost;
}

void audit_add(audit *a, const request *r, const char *action, const char *patient_hash,
               const char *model_hash, json_t *details)
{
    char *text = details != NULL ? json_text(details) : NULL;
    json_decref(details);
    add(a, r, action, patient_hash, model_hash, text);
    free(text);
}

/* The row of an answer that was given before: that row names the risks. */
static void add_again(audit *a, const request *r, const char *patient_hash, const char *as_of)
{
    char details[96] = "{\"as_of\":\"", *to = details + strlen(details);
    text_copy(to, RZ_DAY_TEXT, as_of);
    text_copy(to + strlen(to), sizeof details - RZ_DAY_TEXT - strlen(details),
              "\",\"version\":\"" REZEPT_VERSION "\",\"cached\":true,\"tasks\":{}}");
    add(a, r, "predict", patient_hash, NULL, details);
}

void audit_prediction(audit *a, const request *r, const char *patient_hash, int32_t as_of,
                      const plan *p, const predict_job *j, size_t i)
{
    const char *model = NULL;
    char day[RZ_DAY_TEXT];
    rz_buffer text;
    json_out out = {.to = &text};
    if (j == NULL) {
        add_again(a, r, patient_hash, rz_day_text(as_of, day));
        return;
    }
    rz_buffer_init(&text, DETAILS_BYTES_MAX);
    json_out_open(&out, '{');
    json_out_member_text(&out, "as_of", rz_day_text(as_of, day));
    json_out_member_text(&out, "version", REZEPT_VERSION);
    json_out_name(&out, "cached");
    json_out_raw(&out, "false");
    json_out_name(&out, "tasks");
    model = plan_write_audit(p, j, i, &out);
    json_out_close(&out, '}');
    add(a, r, "predict", patient_hash, model, out.status == RZ_OK ? text.data : NULL);
    rz_buffer_done(&text);
}
