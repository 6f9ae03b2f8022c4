/* The file that a study writes, and that people may write by hand: what is not of the form is
 * passed over, and what cannot be read at all is logged. */
#include "routing.h"

#include "log.h"

#include "base/file.h"

#include <stdlib.h>

static json_t *text_or_null(const json_t *object, const char *name)
{
    json_t *value = json_object_get(object, name);
    return json_is_string(value) ? json_incref(value) : json_null();
}

/* A task's entry, or NULL where it names no model. */
static json_t *read_choice(json_t *choice)
{
    json_t *model = json_is_string(choice) ? choice : json_object_get(choice, "model");
    json_t *evidence = json_object_get(choice, "evidence");
    if (!json_is_string(model))
        return NULL;
    return json_pack("{s:O, s:o, s:o, s:o}", "model", model, "size", text_or_null(choice, "size"),
                     "why", text_or_null(choice, "why"), "evidence",
                     json_is_object(evidence) ? json_incref(evidence) : json_null());
}

json_t *routing_read(const char *folder, json_t **study)
{
    char *path = rz_path_join(folder, "routing.json"), *text = NULL;
    size_t n = 0;
    rz_error error = {0};
    json_t *json = NULL, *tasks = json_object();
    *study = NULL;
    if (path != NULL && rz_file_read(path, 1 << 20, &text, &n, &error) == RZ_OK) {
        json = json_loadb(text, n, JSON_REJECT_DUPLICATES, NULL);
        const char *task;
        json_t *choice;
        if (!json_is_object(json_object_get(json, "tasks")))
            log_event("error", "routing_unreadable", "{s:s}", "detail",
                      "routing.json has no object \"tasks\"; the first model with a task answers");
        json_object_foreach(json_object_get(json, "tasks"), task, choice)
        {
            json_t *entry = read_choice(choice);
            if (entry != NULL)
                (void)json_object_set_new(tasks, task, entry);
        }
        *study = json_pack("{s:o, s:o}", "code_version", text_or_null(json, "code_version"),
                           "data_sha256", text_or_null(json, "data_sha256"));
    } else if (error.status != RZ_E_NOT_FOUND && error.status != RZ_OK) {
        log_event("error", "routing_unreadable", "{s:s}", "detail", error.text);
    }
    json_decref(json);
    free(text);
    free(path);
    return tasks;
}

json_t *routing_study(json_t *tasks, const json_t *study)
{
    const char *task;
    json_t *entry, *all = json_array();
    bool any = false;
    json_object_foreach(tasks, task, entry)
    {
        json_t *row = json_deep_copy(entry);
        any = any || json_is_object(json_object_get(entry, "evidence"));
        (void)json_object_set_new(row, "task", json_string(task));
        (void)json_array_append_new(all, row);
    }
    json_t *out = any ? json_deep_copy(study) : NULL;
    if (out != NULL)
        (void)json_object_set(out, "tasks", all);
    json_decref(all);
    return out;
}
