/* Who was left out of each task of a study, counted once in its store. */
#include "study.h"

#include "base/file.h"
#include "store/store.h"
#include "tasks/cohort.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static json_t *split_json(const rz_cohort *cohort, rz_split split)
{
    json_int_t n = 0, positives = 0;
    for (size_t i = 0; i < cohort->n; i++) {
        n += cohort->members[i].split == split;
        positives += cohort->members[i].split == split && cohort->members[i].label;
    }
    return split == RZ_SPLIT_HELD_OUT
               ? json_pack("{s:I}", "patients", n)
               : json_pack("{s:I, s:I}", "patients", n, "positives", positives);
}

static json_t *task_json(const rz_task *task, const rz_cohort *cohort)
{
    json_t *splits = json_object();
    for (int s = RZ_SPLIT_TRAIN; s <= RZ_SPLIT_HELD_OUT; s++)
        (void)json_object_set_new(splits, rz_split_name((rz_split)s),
                                  split_json(cohort, (rz_split)s));
    return json_pack("{s:s, s:o, s:o}", "name", task->name, "attrition",
                     rz_cohort_attrition_json(cohort), "splits", splits);
}

static rz_status write_json(const char *path, const study_settings *s, const rz_cohort *cohorts,
                            rz_error *error)
{
    json_t *tasks = json_array();
    for (size_t t = 0; t < s->n_tasks; t++)
        (void)json_array_append_new(tasks, task_json(&s->tasks[t], &cohorts[t]));
    json_t *json = json_pack("{s:o}", "tasks", tasks);
    char *text = json_array_size(tasks) == s->n_tasks ? json_dumps(json, JSON_INDENT(1)) : NULL;
    rz_status status = text != NULL ? rz_file_write(path, text, strlen(text), error)
                                    : rz_fail(error, RZ_E_NO_MEMORY, "no memory for %s", path);
    free(text);
    json_decref(json);
    return status;
}

rz_status study_cohorts_write(const study_settings *s, const rz_progress *progress, rz_error *error)
{
    const rz_store_options options = rz_store_options_defaults();
    char *path = rz_path_join(s->out, "cohorts.json");
    rz_cohort *cohorts = calloc(s->n_tasks + 1, sizeof *cohorts);
    rz_store *store = NULL;
    const rz_facilities grid = study_grid_facilities(s);
    rz_status status = RZ_OK;
    if (path == NULL || cohorts == NULL)
        status = rz_fail(error, RZ_E_NO_MEMORY, "no memory for %zu cohorts", s->n_tasks);
    else if (access(path, F_OK) == 0)
        goto out;
    if (status == RZ_OK)
        status = rz_store_open(s->db, &options, &store, error);
    if (status == RZ_OK)
        status =
            rz_cohort_build(store, s->tasks, s->n_tasks, &(rz_cohort_options){.facilities = &grid},
                            progress, cohorts, error);
    if (status == RZ_OK)
        status = write_json(path, s, cohorts, error);
out:
    for (size_t t = 0; cohorts != NULL && t < s->n_tasks; t++)
        rz_cohort_done(&cohorts[t]);
    rz_store_close(store);
    free(cohorts);
    free(path);
    return status;
}
