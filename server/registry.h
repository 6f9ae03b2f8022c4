/* The models folder as the daemon serves it: what is there, in which state, and which model answers
 * which task. One thread loads and unloads; a new replica is loaded, verified and warm before it
 * takes the place of the old one, which then answers what it has queued. */
#ifndef REZEPTD_REGISTRY_H
#define REZEPTD_REGISTRY_H

#include "job.h"
#include "server.h"
#include "worker.h"

#include "base/buffer.h"

typedef struct registry registry;

enum { MODELS_MAX = 64, MODEL_ID_TEXT = 65 };

#define MODEL_STATE_MAP(X)                                                                         \
    X(UNLOADED, "unloaded")                                                                        \
    X(LOADING, "loading")                                                                          \
    X(READY, "ready")                                                                              \
    X(DRAINING, "draining")                                                                        \
    X(FAILED, "failed")

typedef enum model_state {
#define MODEL_STATE_ENUM(id, name) MODEL_##id,
    MODEL_STATE_MAP(MODEL_STATE_ENUM)
#undef MODEL_STATE_ENUM
        MODEL_STATE_COUNT
} model_state;

/* Scans the folder, then loads all models in the background. A folder that is missing is empty. */
RZ_MUST_CHECK rz_status registry_new(const config *c, struct changes *all, registry **out,
                                     rz_error *error);
void registry_free(registry *g); /* accepts NULL; drains all models */

/* True when the first scan has been loaded; how many models are ready. */
bool registry_settled(registry *g);
size_t registry_ready(registry *g);
uint64_t registry_loads(registry *g); /* grows when a model begins to answer or ends */

/* The replica of a model, or of the model that answers a task; one reference, new.
 * Errors  RZ_E_NOT_FOUND no such model, or no ready model has the task; RZ_E_BUSY it is loading or
 *         draining; RZ_E_INVALID it failed (with the reason). */
RZ_MUST_CHECK rz_status registry_model(registry *g, const char *id, replica **out, rz_error *error);
RZ_MUST_CHECK rz_status registry_task(registry *g, const char *task, replica **out, size_t *head,
                                      rz_error *error);

/* The replica that answers onsets: of the model that routing.json names for "onset:*", else of the
 * first one by id that has the onset head. Errors  as registry_task. */
RZ_MUST_CHECK rz_status registry_onset(registry *g, replica **out, rz_error *error);

/* The tasks that ready models answer, each with the id of the model that does, and those that
 * routing.json or a model that was unloaded names besides, with "". */
typedef struct task_route {
    char task[RZ_TASK_NAME], model[MODEL_ID_TEXT];
} task_route;
size_t registry_tasks(registry *g, task_route *out, size_t cap);

/* Why this model answers the task, in one sentence: what routing.json gives as the reason, or that
 * it had no say. New JSON text; NULL when memory is exhausted. */
json_t *registry_why(registry *g, const char *task, const char *model);

/* A load or unload that a request waits for. */
typedef struct model_change {
    job job; /* first */
    char id[MODEL_ID_TEXT];
    bool load;
    rz_status status;
    rz_error error;
    struct model_change *next;
} model_change;

bool model_id_valid(const char *id);
/* Queues the change; the registry keeps one reference until it is done.
 * Errors  RZ_E_NOT_FOUND no such folder; RZ_E_QUEUE_FULL. */
RZ_MUST_CHECK rz_status registry_change(registry *g, model_change *change, rz_error *error);

/* {"id", "state", …} of all models, or of one with figures (figures.h); new. */
json_t *registry_json(registry *g, const char *id);

/* The card of a model, new text; free() it.
 * Errors  RZ_E_NOT_FOUND no such model, or its folder has no card; RZ_E_TOO_LARGE, RZ_E_IO. */
RZ_MUST_CHECK rz_status registry_card(registry *g, const char *id, char **text, size_t *n,
                                      rz_error *error);

/* What routing.json tells of a study: {"code_version", "data_sha256", "tasks": [{"task", "model",
 * "size", "why", "evidence"}, …]}; new, NULL where no task has evidence. */
json_t *registry_study(registry *g);

/* The id of the model with these weights, and the date of a calibration, as far as a model that
 * answers has them; else "". */
void registry_id_of(registry *g, const char *sha256, char out[MODEL_ID_TEXT]);
void registry_calibration_date(registry *g, const char *calibration, char out[RZ_DAY_TEXT]);

/* All replicas that answer, one reference each. */
size_t registry_replicas(registry *g, replica **out, size_t cap);
size_t registry_queue_limit(const registry *g);

void registry_metrics(registry *g, rz_buffer *out, rz_status *status);

#endif
