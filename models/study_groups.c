/* Sexes and age bands are read by their names; hospitals are numbered as they come. */
#include "study_groups.h"

#include "base/size.h"
#include "claims/event.h"
#include "tasks/age_sex.h"

#include <stdlib.h>
#include <string.h>

static const char *const sexes[] = {"female", "male"};

void study_groups_columns(const rz_csv *csv, int column[RZ_SUBGROUP_BY_COUNT])
{
    static const char *const names[RZ_SUBGROUP_BY_COUNT] = {[RZ_SUBGROUP_SEX] = "sex",
                                                            [RZ_SUBGROUP_AGE] = "age_band",
                                                            [RZ_SUBGROUP_HOSPITAL] = "facility"};
    bool all = true;
    for (int by = 0; by < RZ_SUBGROUP_BY_COUNT; by++) {
        column[by] = rz_csv_column(csv, names[by]);
        all = all && column[by] >= 0;
    }
    column[0] = all ? column[0] : -1;
}

static rz_status hospital_key(study_groups *g, rz_field name, uint32_t *out, rz_error *error)
{
    if (g->last < g->n_hospitals && strcmp(g->hospital[g->last], name.text) == 0) {
        *out = (uint32_t)g->last;
        return RZ_OK;
    }
    size_t i = 0;
    while (i < g->n_hospitals && strcmp(g->hospital[i], name.text) != 0)
        i++;
    if (i == g->capacity) {
        size_t capacity = g->capacity == 0 ? 16 : 2 * g->capacity;
        char **grown = realloc(g->hospital, capacity * sizeof *grown);
        if (grown == NULL)
            return rz_fail(error, RZ_E_NO_MEMORY, "no memory for %zu hospitals", capacity);
        g->hospital = grown;
        g->capacity = capacity;
    }
    if (i == g->n_hospitals) {
        g->hospital[i] = strdup(name.text);
        if (g->hospital[i] == NULL)
            return rz_fail(error, RZ_E_NO_MEMORY, "no memory for %zu hospitals", i + 1);
        g->n_hospitals++;
    }
    g->last = i;
    *out = (uint32_t)i;
    return RZ_OK;
}

rz_status study_groups_read(const rz_csv *csv, const int column[RZ_SUBGROUP_BY_COUNT],
                            study_groups *names, uint32_t key[RZ_SUBGROUP_BY_COUNT],
                            rz_error *error)
{
    rz_field sex = rz_csv_field(csv, column[RZ_SUBGROUP_SEX]);
    rz_field age = rz_csv_field(csv, column[RZ_SUBGROUP_AGE]);
    rz_field hospital = rz_csv_field(csv, column[RZ_SUBGROUP_HOSPITAL]);
    rz_sex known;
    size_t band = 0;
    if (!rz_sex_from_name(sex.text, &known))
        return rz_fail(error, RZ_E_FORMAT, "sex \"%.10s\" is none of F, M and U", sex.text);
    while (band < RZ_AGE_BANDS && strcmp(rz_age_band_name(band), age.text) != 0)
        band++;
    if (strcmp(rz_age_band_name(band), age.text) != 0)
        return rz_fail(error, RZ_E_FORMAT, "age_band \"%.10s\" is none, as 40-49 is one", age.text);
    key[RZ_SUBGROUP_SEX] = known == RZ_SEX_FEMALE ? 0 : known == RZ_SEX_MALE ? 1 : 2;
    key[RZ_SUBGROUP_AGE] = (uint32_t)band;
    key[RZ_SUBGROUP_HOSPITAL] = UINT32_MAX; /* a hospital without a name is an unknown one */
    return hospital.n > 0 ? hospital_key(names, hospital, &key[RZ_SUBGROUP_HOSPITAL], error)
                          : RZ_OK;
}

rz_status study_groups_take(const study_groups *names, size_t n, study_groups *out, rz_error *error)
{
    study_groups g = {.hospital = calloc(names->n_hospitals + 1, sizeof *g.hospital)};
    bool whole = g.hospital != NULL;
    for (size_t i = 0; whole && i < names->n_hospitals; i++) {
        g.hospital[i] = strdup(names->hospital[i]);
        whole = g.hospital[i] != NULL;
        g.n_hospitals += whole;
    }
    for (int by = 0; whole && by < RZ_SUBGROUP_BY_COUNT; by++) {
        g.key[by] = calloc(n > 0 ? n : 1, sizeof *g.key[by]);
        whole = g.key[by] != NULL;
    }
    if (!whole) {
        study_groups_done(&g);
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for the subgroups of %zu patients", n);
    }
    g.capacity = g.n_hospitals;
    *out = g;
    return RZ_OK;
}

void study_groups_done(study_groups *g)
{
    for (int by = 0; by < RZ_SUBGROUP_BY_COUNT; by++)
        free(g->key[by]);
    for (size_t i = 0; i < g->n_hospitals; i++)
        free(g->hospital[i]);
    free(g->hospital);
    *g = (study_groups){0};
}

rz_status study_groups_measure(const study_groups *g, const double *probability,
                               const uint8_t *label, const uint32_t *patient, size_t n,
                               unsigned bootstraps, uint64_t seed, rz_subgroups *out,
                               rz_error *error)
{
    const char *ages[RZ_AGE_BANDS];
    for (size_t band = 0; band < RZ_AGE_BANDS; band++)
        ages[band] = rz_age_band_name(band);
    rz_subgroup_rows rows = {.n = n,
                             .probability = probability,
                             .label = label,
                             .patient = patient,
                             .names = {sexes, ages, (const char *const *)g->hospital},
                             .n_names = {RZ_COUNT(sexes), RZ_AGE_BANDS, g->n_hospitals}};
    uint32_t *hospital = malloc((n + 1) * sizeof *hospital);
    if (hospital == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for the hospitals of %zu rows", n);
    for (int by = 0; by < RZ_SUBGROUP_BY_COUNT; by++)
        rows.key[by] = g->key[by];
    for (size_t i = 0; g->key[RZ_SUBGROUP_HOSPITAL] != NULL && i < n; i++) {
        uint32_t key = g->key[RZ_SUBGROUP_HOSPITAL][i];
        hospital[i] = key < g->n_hospitals ? key : (uint32_t)g->n_hospitals;
    }
    if (g->key[RZ_SUBGROUP_HOSPITAL] != NULL)
        rows.key[RZ_SUBGROUP_HOSPITAL] = hospital;
    rz_status status = rz_subgroups_measure(&rows, bootstraps, seed, out, error);
    free(hospital);
    return status;
}
