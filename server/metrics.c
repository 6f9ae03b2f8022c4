/* Fixed tables of atomic counters; the text is made when it is asked for. */
#include "metrics.h"

#include "audit.h"
#include "cache.h"
#include "http.h"
#include "log.h"
#include "readers.h"
#include "registry.h"
#include "route.h"
#include "scorer.h"
#include "worker.h"
#include "writer.h"

#include "base/size.h"
#include "handlers.h"
#include "problem.h"
#include "tensor/gemm.h"

#include <assert.h>
#include <dirent.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ROUTES_MAX = 64, CODES = 21, BUCKETS = 12 };

static const int codes[CODES] = {200, 201, 204, 304, 400, 401, 403, 404, 405, 408, 409,
                                 413, 414, 415, 421, 422, 429, 431, 500, 503, 507};
static const double bounds_s[BUCKETS] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05,
                                         0.1,   0.25,   0.5,   1.0,  2.5,   10.0};
static const char *const claim_names[CLAIM_COUNTS] = {"added", "unchanged", "superseded",
                                                      "refused"};

/* Times without labels. */
typedef struct times {
    atomic_ullong buckets[BUCKETS + 1], sum_us;
} times;

struct metrics {
    atomic_ullong requests[ROUTES_MAX + 1][CODES + 1]; /* the last ones: no route, another code */
    atomic_ullong buckets[ROUTES_MAX + 1][BUCKETS + 1];
    atomic_ullong sum_us[ROUTES_MAX + 1];
    times history, checkpoints;
    atomic_ullong store_waits;
    atomic_ullong explained_kept, explained_computed;
    atomic_ullong claims[CLAIM_COUNTS];
};

rz_status metrics_new(metrics **out, rz_error *error)
{
    assert(route_count() <= ROUTES_MAX);
    *out = calloc(1, sizeof **out);
    return *out != NULL ? RZ_OK : rz_fail(error, RZ_E_NO_MEMORY, "no memory for the metrics");
}

void metrics_free(metrics *m)
{
    free(m);
}

static void times_add(times *t, double seconds)
{
    size_t bucket = 0;
    while (bucket < BUCKETS && seconds > bounds_s[bucket])
        bucket++;
    (void)atomic_fetch_add(&t->buckets[bucket], 1);
    (void)atomic_fetch_add(&t->sum_us, (unsigned long long)(seconds * 1e6));
}

void metrics_request(metrics *m, const request *r)
{
    size_t row = r->route != NULL ? route_index(r->route) : ROUTES_MAX, code = 0, bucket = 0;
    double seconds = request_seconds(r);
    while (code < CODES && codes[code] != r->answer.status)
        code++;
    while (bucket < BUCKETS && seconds > bounds_s[bucket])
        bucket++;
    (void)atomic_fetch_add(&m->requests[row][code], 1);
    (void)atomic_fetch_add(&m->buckets[row][bucket], 1);
    (void)atomic_fetch_add(&m->sum_us[row], (unsigned long long)(seconds * 1e6));
    log_request(r->answer.status >= 500 ? "warning" : "info", r, seconds);
}

uint64_t metrics_requests(const metrics *m)
{
    uint64_t n = 0;
    for (size_t row = 0; row <= ROUTES_MAX; row++)
        for (size_t code = 0; code <= CODES; code++)
            n += atomic_load(&m->requests[row][code]);
    return n;
}

void metrics_history(metrics *m, double seconds)
{
    times_add(&m->history, seconds);
}

void metrics_explained(metrics *m, uint64_t recalled, uint64_t computed)
{
    (void)atomic_fetch_add(&m->explained_kept, recalled);
    (void)atomic_fetch_add(&m->explained_computed, computed);
}

void metrics_store_wait(metrics *m)
{
    (void)atomic_fetch_add(&m->store_waits, 1);
}

void metrics_checkpoint(metrics *m, double seconds)
{
    times_add(&m->checkpoints, seconds);
}

void metrics_claims(metrics *m, claim_count outcome, uint64_t n)
{
    (void)atomic_fetch_add(&m->claims[outcome], n);
}

/* ---- the text ------------------------------------------------------------------------------- */

static void head(rz_buffer *out, rz_status *status, const char *name, const char *type,
                 const char *help)
{
    if (*status == RZ_OK)
        *status = rz_buffer_addf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

#define ADD(...)                                                                                   \
    do {                                                                                           \
        if (*status == RZ_OK)                                                                      \
            *status = rz_buffer_addf(out, __VA_ARGS__);                                            \
    } while (0)

static const char *route_label(size_t row)
{
    return row < route_count() ? route_at(row)->pattern : "none";
}

static const char *method_label(size_t row)
{
    return row < route_count() ? route_at(row)->method : "none";
}

static void http_text(metrics *m, const server *s, rz_buffer *out, rz_status *status)
{
    head(out, status, "rezeptd_http_requests_total", "counter", "Answered requests.");
    for (size_t row = 0; row <= ROUTES_MAX; row++)
        for (size_t code = 0; code <= CODES; code++) {
            unsigned long long n = atomic_load(&m->requests[row][code]);
            char text[12] = "other";
            if (code < CODES)
                (void)snprintf(text, sizeof text, "%d", codes[code]);
            if (n > 0)
                ADD("rezeptd_http_requests_total{method=\"%s\",route=\"%s\",code=\"%s\"} %llu\n",
                    method_label(row), route_label(row), text, n);
        }
    head(out, status, "rezeptd_http_request_duration_seconds", "histogram",
         "From the request line to the end of the answer.");
    for (size_t row = 0; row <= ROUTES_MAX; row++) {
        unsigned long long total = 0;
        for (size_t b = 0; b <= BUCKETS; b++)
            total += atomic_load(&m->buckets[row][b]);
        if (total == 0)
            continue;
        unsigned long long below = 0;
        for (size_t b = 0; b < BUCKETS; b++) {
            below += atomic_load(&m->buckets[row][b]);
            ADD("rezeptd_http_request_duration_seconds_bucket{method=\"%s\",route=\"%s\",le=\"%g\"}"
                " %llu\n",
                method_label(row), route_label(row), bounds_s[b], below);
        }
        ADD("rezeptd_http_request_duration_seconds_bucket{method=\"%s\",route=\"%s\",le=\"+Inf\"} "
            "%llu\n"
            "rezeptd_http_request_duration_seconds_sum{method=\"%s\",route=\"%s\"} %.6f\n"
            "rezeptd_http_request_duration_seconds_count{method=\"%s\",route=\"%s\"} %llu\n",
            method_label(row), route_label(row), total, method_label(row), route_label(row),
            1e-6 * (double)atomic_load(&m->sum_us[row]), method_label(row), route_label(row),
            total);
    }
    head(out, status, "rezeptd_http_connections", "gauge", "Open connections.");
    ADD("rezeptd_http_connections %zu\n", http_connections(s->http));
    head(out, status, "rezeptd_http_rejected_total", "counter",
         "Connections and requests turned away, by reason.");
    for (int i = 0; i < HTTP_REJECT_COUNT; i++)
        ADD("rezeptd_http_rejected_total{reason=\"%s\"} %" PRIu64 "\n",
            http_reject_name((http_reject)i), http_rejected(s->http, (http_reject)i));
}

static void times_text(times *t, const char *name, const char *help, rz_buffer *out,
                       rz_status *status)
{
    unsigned long long below = 0;
    head(out, status, name, "histogram", help);
    for (size_t b = 0; b < BUCKETS; b++) {
        below += atomic_load(&t->buckets[b]);
        ADD("%s_bucket{le=\"%g\"} %llu\n", name, bounds_s[b], below);
    }
    below += atomic_load(&t->buckets[BUCKETS]);
    ADD("%s_bucket{le=\"+Inf\"} %llu\n%s_sum %.6f\n%s_count %llu\n", name, below, name,
        1e-6 * (double)atomic_load(&t->sum_us), name, below);
}

static void store_text(metrics *m, const server *s, rz_buffer *out, rz_status *status)
{
    rz_store *store = NULL;
    rz_error error = {0};
    rz_store_counts counts;
    head(out, status, "rezeptd_claims_total", "counter", "Claims received, by outcome.");
    for (size_t i = 0; i < CLAIM_COUNTS; i++)
        ADD("rezeptd_claims_total{outcome=\"%s\"} %llu\n", claim_names[i],
            (unsigned long long)atomic_load(&m->claims[i]));
    head(out, status, "rezeptd_write_queue_depth", "gauge", "Operations that wait to be written.");
    ADD("rezeptd_write_queue_depth %zu\n", writer_depth(s->writer));
    head(out, status, "rezeptd_db_commits_total", "counter", "Durable commits of claims.");
    ADD("rezeptd_db_commits_total %" PRIu64 "\n", writer_commits(s->writer));
    uint64_t hits, misses;
    size_t bytes;
    cache_figures(s->cache, &hits, &misses, &bytes);
    head(out, status, "rezeptd_cache_requests_total", "counter", "Looks into the score cache.");
    ADD("rezeptd_cache_requests_total{outcome=\"hit\"} %" PRIu64
        "\nrezeptd_cache_requests_total{outcome=\"miss\"} %" PRIu64 "\n",
        hits, misses);
    head(out, status, "rezeptd_explanations_total", "counter",
         "Explained risks of stored patients that no kept answer held: those kept with their "
         "scores, and those that a model worked out, background included.");
    ADD("rezeptd_explanations_total{from=\"score\"} %llu\n"
        "rezeptd_explanations_total{from=\"model\"} %llu\n",
        (unsigned long long)atomic_load(&m->explained_kept),
        (unsigned long long)atomic_load(&m->explained_computed));
    head(out, status, "rezeptd_rescored_total", "counter", "Patients scored in the background.");
    ADD("rezeptd_rescored_total %" PRIu64 "\n", scorer_scored(s->scorer));
    head(out, status, "rezeptd_audit_lost_total", "counter", "Audit rows that were not kept.");
    ADD("rezeptd_audit_lost_total %" PRIu64 "\n", audit_lost(s->audit));
    head(out, status, "rezeptd_db_busy_total", "counter",
         "Times that the writer or a reader had to wait for a lock of the store.");
    ADD("rezeptd_db_busy_total %llu\n", (unsigned long long)atomic_load(&m->store_waits));
    times_text(&m->checkpoints, "rezeptd_db_checkpoint_duration_seconds",
               "Moving the write-ahead log into the file, waiting for readers included.", out,
               status);
    if (readers_take(s->readers, &store, &error) != RZ_OK)
        return; /* a scrape without these lines says that the store could not be read */
    if (rz_store_counts_of(store, &counts, &error) == RZ_OK) {
        head(out, status, "rezeptd_db_wal_bytes", "gauge", "Size of the write-ahead log.");
        ADD("rezeptd_db_wal_bytes %" PRId64 "\n", counts.wal_bytes);
        head(out, status, "rezeptd_db_free_bytes", "gauge", "Free space of the file system.");
        ADD("rezeptd_db_free_bytes %" PRId64 "\n", counts.free_bytes);
        head(out, status, "rezeptd_db_patients", "gauge", "Patients in the store.");
        ADD("rezeptd_db_patients %" PRId64 "\n", counts.patients);
        head(out, status, "rezeptd_db_events", "gauge", "Events in the store.");
        ADD("rezeptd_db_events %" PRId64 "\n", counts.events);
    }
    readers_give(s->readers, store);
}

static void process_text(const server *s, rz_buffer *out, rz_status *status)
{
    unsigned long resident = 0, fds = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file != NULL) {
        if (fscanf(file, "%*u %lu", &resident) != 1)
            resident = 0;
        (void)fclose(file);
    }
    DIR *folder = opendir("/proc/self/fd");
    while (folder != NULL && readdir(folder) != NULL)
        fds++;
    if (folder != NULL)
        (void)closedir(folder);
    struct timespec cpu = {0};
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
    head(out, status, "process_resident_memory_bytes", "gauge", "Resident memory.");
    ADD("process_resident_memory_bytes %lu\n", resident * (unsigned long)sysconf(_SC_PAGESIZE));
    head(out, status, "process_open_fds", "gauge", "Open files.");
    ADD("process_open_fds %lu\n", fds > 3 ? fds - 3 : 0);
    head(out, status, "process_cpu_seconds_total", "counter", "Processor time used.");
    ADD("process_cpu_seconds_total %.3f\n", (double)cpu.tv_sec + 1e-9 * (double)cpu.tv_nsec);
    head(out, status, "process_start_time_seconds", "gauge", "Start, since 1970.");
    ADD("process_start_time_seconds %.3f\n", 1e-6 * (double)s->started_us);
}

void metrics_get(request *r)
{
    rz_buffer out;
    rz_status ok = RZ_OK, *status = &ok;
    rz_buffer_init(&out, 4 << 20);
    head(&out, status, "rezeptd_build_info", "gauge", "The version that runs.");
    if (ok == RZ_OK)
        ok = rz_buffer_addf(&out,
                            "rezeptd_build_info{version=\"%s\",blas=\"%s\",kernels=\"%s\"} 1\n",
                            REZEPT_VERSION, rz_blas_core(), r->server->tensor.name);
    http_text(r->server->metrics, r->server, &out, status);
    registry_metrics(r->server->registry, &out, status);
    times_text(&r->server->metrics->history, "rezeptd_predict_store_duration_seconds",
               "Reading a history for a prediction, whatever models it is for.", &out, status);
    store_text(r->server->metrics, r->server, &out, status);
    process_text(r->server, &out, status);
    if (ok == RZ_OK)
        request_text(r, 200, "text/plain; version=0.0.4; charset=utf-8", out.data, out.length);
    else
        problem_no_memory(r);
    rz_buffer_done(&out);
}
