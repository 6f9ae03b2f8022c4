/* Is it alive, is it ready, and what are its limits. Alive never depends on a model or the store.
 */
#include "handlers.h"
#include "log.h"
#include "openapi.h"
#include "problem.h"
#include "readers.h"
#include "registry.h"
#include "writer.h"

#include "tensor/gemm.h"

#include <string.h>

void livez_get(request *r)
{
    request_json(r, 200, json_pack("{s:s}", "status", "alive"));
}

/* The parts of readiness; NULL when all are fine, else why not. */
static const char *not_ready(const server *s, problem_kind *kind)
{
    *kind = PROBLEM_LOADING;
    if (atomic_load(&s->draining)) {
        *kind = PROBLEM_DRAINING;
        return "the server is shutting down";
    }
    if (!registry_settled(s->registry))
        return "the models are loading";
    if (registry_ready(s->registry) == 0)
        return "no model is ready; /v1/models says why";
    return NULL;
}

static bool store_reads(request *r, rz_error *error)
{
    rz_store *store = NULL;
    rz_store_counts counts;
    rz_status status = readers_take(r->server->readers, &store, error);
    if (status == RZ_OK)
        status = rz_store_counts_of(store, &counts, error);
    readers_give(r->server->readers, store);
    return status == RZ_OK;
}

void readyz_get(request *r)
{
    problem_kind kind;
    rz_error error = {0};
    const char *why = not_ready(r->server, &kind);
    if (why == NULL && !store_reads(r, &error)) {
        kind = PROBLEM_BUSY;
        why = "the store cannot be read";
    }
    if (why != NULL)
        problem_answer(r, &(problem){.kind = kind, .detail = why, .retry_after_s = 1});
    else
        request_json(r, 200, json_pack("{s:s}", "status", "ready"));
}

void healthz_get(request *r)
{
    const server *s = r->server;
    problem_kind kind;
    rz_error error = {0};
    const char *why = not_ready(s, &kind);
    bool reads = store_reads(r, &error), writes = writer_healthy(s->writer);
    request_json(r, why == NULL && reads && writes ? 200 : 503,
                 json_pack("{s:s, s:b, s:b, s:b, s:I, s:s?}", "status",
                           why == NULL && reads && writes ? "ready" : "not_ready", "store_reads",
                           reads, "store_writes", writes, "draining",
                           (int)atomic_load(&s->draining), "models_ready",
                           (json_int_t)registry_ready(s->registry), "reason",
                           why != NULL ? why
                           : !reads    ? "the store cannot be read"
                           : !writes   ? "the last write failed; see the log"
                                       : NULL));
    if (r->answer.status == 503)
        r->answer.retry_after_s = 1;
}

void server_get(request *r)
{
    const server *s = r->server;
    char started[TIME_TEXT];
    request_json(r, 200,
                 json_pack("{s:s, s:s, s:s, s:b, s:s, s:{s:s, s:s, s:s}, s:o}", "name", "rezeptd",
                           "version", REZEPT_VERSION, "started_at",
                           time_text(s->started_us, started), "draining",
                           (int)atomic_load(&s->draining), "disclaimer", SERVER_DISCLAIMER,
                           "tensor", "path", s->tensor.name, "why", s->tensor.why, "blas",
                           rz_blas_core(), "settings", config_json(&s->config)));
}

void openapi_get(request *r)
{
    request_answer(r, 200, "application/json", (const char *)openapi_json, openapi_json_length,
                   NULL, NULL);
}
