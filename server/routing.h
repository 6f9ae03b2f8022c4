/* routing.json beside the models: {"format_version", "code_version", "data_sha256", "tasks":
 * {"ckd":
 * {"model": "m11", "size", "why": "…", "evidence": {…}}, …}}, or the model's id alone for a task.
 */
#ifndef REZEPTD_ROUTING_H
#define REZEPTD_ROUTING_H

#include <jansson.h>
#include <stdbool.h>

/* Of each task that names a model {"model", "size", "why", "evidence"}, what is missing null; and
 * in *study {"code_version", "data_sha256"}, NULL without a file. Both new. A file that is missing
 * is no task; one that cannot be read is logged. */
json_t *routing_read(const char *folder, json_t **study);

/* {"code_version", "data_sha256", "tasks": [{"task", "model", "size", "why", "evidence"}, …]} of
 * what routing_read gave; new, NULL where no task has evidence. */
json_t *routing_study(json_t *tasks, const json_t *study);

#endif
