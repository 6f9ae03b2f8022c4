/* The cells of held-out facilities: what models of the others are worth there, beside models of
 * their own patients. All of them score the same patients, those of the held-out facilities. */
#include "base/file.h"
#include "study.h"

#include <stdlib.h>

enum { CONFIG_BYTES_MAX = 64 << 10 };

size_t study_transfer_cells(const study_settings *s)
{
    if (s->hold_out.n == 0)
        return 0;
    size_t few = s->n_labels * s->n_tasks * (2 * s->n_sizes + s->n_engines);
    return s->n_sizes + (size_t)s->seeds * (2 * s->n_sizes + few);
}

/* The model with all labels of the others that is tried; the settings see to it that there is one.
 */
static size_t foreign(const study_plan *p, size_t size, unsigned seed)
{
    size_t i = 0;
    for (; i < p->n_cells; i++) {
        const planned_cell *c = &p->cells[i];
        if (c->kind == STUDY_FINETUNE && c->transfer == STUDY_GRID && c->size == size &&
            c->task == SIZE_MAX && c->labels == 0 && c->init == STUDY_PRETRAINED && c->seed == seed)
            break;
    }
    return i;
}

/* One label count of one seed: baselines, then each size from either start. */
static void list_labels(study_plan *p, size_t labels, unsigned seed, size_t first_local)
{
    const study_settings *s = p->settings;
    for (size_t e = 0; e < s->n_engines; e++)
        for (size_t t = 0; t < s->n_tasks; t++)
            study_plan_add(p, (planned_cell){.kind = STUDY_BASELINE,
                                             .transfer = STUDY_LOCAL,
                                             .engine = e,
                                             .task = t,
                                             .labels = labels,
                                             .seed = seed,
                                             .needs = SIZE_MAX});
    for (size_t i = 0; i < s->n_sizes; i++)
        for (int local = 0; local < 2; local++)
            for (size_t t = 0; t < (labels > 0 ? s->n_tasks : 1); t++)
                study_plan_add(p, (planned_cell){.kind = STUDY_FINETUNE,
                                                 .transfer = local ? STUDY_LOCAL : STUDY_TUNED,
                                                 .size = i,
                                                 .task = labels > 0 ? t : SIZE_MAX,
                                                 .labels = labels,
                                                 .seed = seed,
                                                 .needs = local                   ? first_local + i
                                                          : s->pretrained == NULL ? i
                                                                                  : SIZE_MAX});
}

void study_transfer_list(study_plan *p)
{
    const study_settings *s = p->settings;
    const size_t first_local = p->n_cells;
    if (s->hold_out.n == 0)
        return;
    for (size_t i = 0; i < s->n_sizes; i++)
        study_plan_add(p, (planned_cell){.kind = STUDY_PRETRAIN,
                                         .transfer = STUDY_LOCAL,
                                         .size = i,
                                         .task = SIZE_MAX,
                                         .needs = SIZE_MAX});
    for (unsigned seed = 1; seed <= s->seeds; seed++) {
        for (size_t i = 0; i < s->n_sizes; i++)
            for (int t = STUDY_ZERO_SHOT; t <= STUDY_RECALIBRATED; t++)
                study_plan_add(p, (planned_cell){.kind = STUDY_FINETUNE,
                                                 .transfer = (study_transfer)t,
                                                 .size = i,
                                                 .task = SIZE_MAX,
                                                 .seed = seed,
                                                 .needs = foreign(p, i, seed)});
        for (size_t l = 0; l < s->n_labels; l++)
            list_labels(p, s->labels[l], seed, first_local);
    }
}

/* Whom a model has learnt from, by its config.json. */
static rz_status learnt_from(const char *folder, rz_facilities *out, rz_error *error)
{
    char *path = rz_path_join(folder, "config.json"), *text = NULL;
    size_t n = 0;
    json_error_t where;
    rz_status status = path != NULL ? rz_file_read(path, CONFIG_BYTES_MAX, &text, &n, error)
                                    : rz_fail(error, RZ_E_NO_MEMORY, "no memory for %s", folder);
    json_t *json = status == RZ_OK ? json_loadb(text, n, 0, &where) : NULL;
    if (status == RZ_OK && json == NULL)
        status = rz_fail(error, RZ_E_FORMAT, "%s:%d: %s", path, where.line, where.text);
    if (status == RZ_OK)
        status = rz_facilities_from_json(
            json_object_get(json_object_get(json, "training"), "facilities"), out, error);
    json_decref(json);
    free(text);
    free(path);
    return status;
}

rz_status study_transfer_check(const study_settings *s, rz_error *error)
{
    rz_status status = RZ_OK;
    for (size_t i = 0; s->hold_out.n > 0 && s->pretrained != NULL && i < s->n_sizes; i++) {
        char list[RZ_FACILITIES_TEXT];
        rz_facilities known;
        char *folder = rz_path_join(s->pretrained, s->sizes[i]);
        status = folder != NULL ? learnt_from(folder, &known, error)
                                : rz_fail(error, RZ_E_NO_MEMORY, "no memory for a model's name");
        if (status == RZ_OK && rz_facilities_meet(&known, &s->hold_out))
            status = rz_fail(error, RZ_E_CONFLICT,
                             "%s has learnt from patients of %.200s; pretrain it with "
                             "--hold-out-facility, or leave --pretrained away",
                             folder, rz_facilities_list(&s->hold_out, list));
        free(folder);
        if (status != RZ_OK)
            break;
    }
    return status;
}
