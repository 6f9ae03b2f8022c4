/* Counts the groups, and measures those that have enough outcomes. */
#include "metrics/subgroups.h"

#include "base/size.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const by_names[RZ_SUBGROUP_BY_COUNT] = {
    [RZ_SUBGROUP_SEX] = "sex", [RZ_SUBGROUP_AGE] = "age", [RZ_SUBGROUP_HOSPITAL] = "hospital"};

const char *rz_subgroup_by_name(rz_subgroup_by by)
{
    return by_names[by];
}

/* The rows of one group, packed. */
typedef struct packed {
    double *probability; /* [rows.n] owned */
    uint8_t *label;
    uint32_t *patient;
} packed;

/* Returns how many; *positives of them have the outcome. */
static size_t pack(const rz_subgroup_rows *rows, rz_subgroup_by by, uint32_t key, packed *out,
                   size_t *positives)
{
    size_t n = 0;
    uint32_t last = 0; /* whose row was packed last */
    *positives = 0;
    for (size_t i = 0; i < rows->n; i++) {
        if (rows->key[by][i] != key)
            continue;
        uint32_t whose = rows->patient != NULL ? rows->patient[i] : (uint32_t)i;
        out->patient[n] = rz_patient_number(out->patient, n, whose != last);
        last = whose;
        out->probability[n] = rows->probability[i];
        out->label[n++] = rows->label[i];
        *positives += rows->label[i] != 0;
    }
    return n;
}

static bool too_few(const rz_subgroup *g)
{
    return g->positives < RZ_SUBGROUP_OUTCOMES || g->n - g->positives < RZ_SUBGROUP_OUTCOMES;
}

static rz_status measure(const rz_subgroup_rows *rows, rz_subgroup_by by, uint32_t key,
                         unsigned n_bootstraps, uint64_t seed, packed *room, rz_subgroups *out,
                         rz_error *error)
{
    rz_subgroup *g = &out->group[out->n];
    *g = (rz_subgroup){.by = by};
    g->n = pack(rows, by, key, room, &g->positives);
    if (g->n == 0)
        return RZ_OK;
    (void)snprintf(g->name, sizeof g->name, "%s",
                   key < rows->n_names[by] ? rows->names[by][key] : "unknown");
    g->measured = !too_few(g);
    out->n++;
    return g->measured ? rz_metrics_compute(room->probability, room->label, room->patient, g->n,
                                            n_bootstraps, seed, &g->metrics, error)
                       : RZ_OK;
}

static int by_size(const void *left, const void *right)
{
    const rz_subgroup *a = left, *b = right;
    if (a->n != b->n)
        return a->n > b->n ? -1 : 1;
    return strcmp(a->name, b->name);
}

rz_status rz_subgroups_measure(const rz_subgroup_rows *rows, unsigned n_bootstraps, uint64_t seed,
                               rz_subgroups *out, rz_error *error)
{
    rz_subgroups all = {0};
    size_t names = RZ_SUBGROUP_BY_COUNT, bytes;
    packed room = {malloc((rows->n + 1) * sizeof *room.probability), malloc(rows->n + 1),
                   malloc((rows->n + 1) * sizeof *room.patient)};
    for (int by = 0; by < RZ_SUBGROUP_BY_COUNT; by++)
        names += rows->n_names[by]; /* each has its unknown ones, too */
    if (rz_size_mul(names, sizeof *all.group, &bytes))
        all.group = malloc(bytes);
    rz_status status = RZ_OK;
    if (all.group == NULL || room.probability == NULL || room.label == NULL || room.patient == NULL)
        status = rz_fail(error, RZ_E_NO_MEMORY, "no memory for %zu subgroups", names);
    for (int by = 0; status == RZ_OK && by < RZ_SUBGROUP_BY_COUNT; by++) {
        size_t first = all.n;
        if (rows->key[by] == NULL)
            continue;
        for (size_t key = 0; status == RZ_OK && key <= rows->n_names[by]; key++)
            status = measure(rows, (rz_subgroup_by)by, (uint32_t)key, n_bootstraps, seed, &room,
                             &all, error);
        if (status == RZ_OK && by == RZ_SUBGROUP_HOSPITAL)
            qsort(all.group + first, all.n - first, sizeof *all.group, by_size);
    }
    free(room.probability);
    free(room.label);
    free(room.patient);
    if (status != RZ_OK) {
        rz_subgroups_done(&all);
        return status;
    }
    *out = all;
    return RZ_OK;
}

void rz_subgroups_done(rz_subgroups *groups)
{
    free(groups->group);
    *groups = (rz_subgroups){0};
}
