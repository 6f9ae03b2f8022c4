/* Score files of cells, put into panels: the first cell of a task brings its patients, every later
 * one must have the same. Rows may stand in any order; within a panel they are sorted. */
#include "study_results.h"

#include "base/hash.h"
#include "base/size.h"
#include "import/csv.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TASK, PATIENT, INDEX_DAY, SPLIT, LABEL, PROBABILITY, AGE_SEX, TRUTH, COLUMNS };

static const char *const column_names[COLUMNS] = {"task",  "patient_key", "index_day", "split",
                                                  "label", "probability", "age_sex",   "truth"};

typedef struct row {
    int64_t patient;
    int32_t index_day;
    uint32_t task;
    uint8_t label;
    double probability, age_sex, truth;
    uint32_t group[RZ_SUBGROUP_BY_COUNT];
} row;

typedef struct rows {
    row *row; /* owned */
    size_t n, capacity;
    bool grouped;       /* the file tells sex, age and hospital */
    study_groups names; /* of its hospitals */
} rows;

static int by_patient(const void *left, const void *right)
{
    const row *a = left, *b = right;
    if (a->task != b->task)
        return a->task < b->task ? -1 : 1;
    if (a->patient != b->patient)
        return a->patient < b->patient ? -1 : 1;
    return a->index_day < b->index_day ? -1 : a->index_day > b->index_day;
}

/* ---- one file ---- */

static bool read_share(rz_field field, double *out)
{
    char *end = NULL;
    *out = strtod(field.text, &end);
    return field.n > 0 && *end == '\0' && *out >= 0.0 && *out <= 1.0;
}

static rz_status parse(const rz_csv *csv, const int column[COLUMNS], const char *split,
                       const study_results *r, size_t cell, row *out, rz_error *error)
{
    const study_cell *c = &r->cells[cell];
    const char *task = rz_csv_field(csv, column[TASK]).text;
    rz_field key = rz_csv_field(csv, column[PATIENT]), label = rz_csv_field(csv, column[LABEL]);
    rz_field truth = rz_csv_field(csv, column[TRUTH]);
    char *end = NULL;
    size_t t = 0;
    while (t < r->design.n_tasks && strcmp(task, r->design.tasks[t].name) != 0)
        t++;
    if (t == r->design.n_tasks || (c->tasks >> t & 1) == 0)
        return rz_fail(error, RZ_E_INVALID, "task \"%.47s\" is none of the cell's", task);
    if (strcmp(rz_csv_field(csv, column[SPLIT]).text, split) != 0)
        return rz_fail(error, RZ_E_INVALID, "a row of split \"%.20s\" in a file of %s",
                       rz_csv_field(csv, column[SPLIT]).text, split);
    *out = (row){.task = (uint32_t)t, .truth = NAN};
    errno = 0;
    out->patient = strtoll(key.text, &end, 10);
    if (key.n == 0 || *end != '\0' || errno != 0)
        return rz_fail(error, RZ_E_FORMAT, "patient_key is no number");
    if (!rz_day_parse(rz_csv_field(csv, column[INDEX_DAY]).text, &out->index_day))
        return rz_fail(error, RZ_E_FORMAT, "index_day is no date; YYYY-MM-DD is needed");
    if (label.n != 1 || (label.text[0] != '0' && label.text[0] != '1'))
        return rz_fail(error, RZ_E_FORMAT, "label \"%.10s\" is neither 0 nor 1", label.text);
    out->label = label.text[0] == '1' ? 1 : 0;
    if (!read_share(rz_csv_field(csv, column[PROBABILITY]), &out->probability))
        return rz_fail(error, RZ_E_FORMAT, "probability \"%.20s\" is no number from 0 to 1",
                       rz_csv_field(csv, column[PROBABILITY]).text);
    if (!read_share(rz_csv_field(csv, column[AGE_SEX]), &out->age_sex))
        return rz_fail(error, RZ_E_FORMAT, "age_sex \"%.20s\" is no number from 0 to 1",
                       rz_csv_field(csv, column[AGE_SEX]).text);
    if (truth.n > 0 && !read_share(truth, &out->truth))
        return rz_fail(error, RZ_E_FORMAT, "truth \"%.20s\" is no number from 0 to 1", truth.text);
    return RZ_OK;
}

static rz_status add_row(rows *all, const row *one, rz_error *error)
{
    if (all->n == all->capacity) {
        size_t capacity = all->capacity < 4096 ? 4096 : all->capacity, bytes;
        bool fits = all->capacity == 0 || rz_size_mul(all->capacity, 2, &capacity);
        row *grown = NULL;
        if (fits && rz_size_mul(capacity, sizeof *grown, &bytes))
            grown = realloc(all->row, bytes);
        if (grown == NULL)
            return rz_fail(error, RZ_E_NO_MEMORY, "no memory for %zu scores", capacity);
        all->row = grown;
        all->capacity = capacity;
    }
    all->row[all->n++] = *one;
    return RZ_OK;
}

static rz_status read_file(const char *path, const char *split, const study_results *r, size_t cell,
                           rows *out, rz_error *error)
{
    rz_csv csv = {0};
    int column[COLUMNS], group[RZ_SUBGROUP_BY_COUNT];
    bool more = true;
    rz_status status = rz_csv_open(&csv, path, error);
    for (int c = 0; status == RZ_OK && c < COLUMNS; c++)
        status = rz_csv_require(&csv, column_names[c], &column[c], error);
    if (status == RZ_OK) {
        study_groups_columns(&csv, group);
        out->grouped = group[0] >= 0;
    }
    while (status == RZ_OK) {
        row one;
        status = rz_csv_next(&csv, &more, error);
        if (status != RZ_OK || !more)
            break;
        status = parse(&csv, column, split, r, cell, &one, error);
        if (status == RZ_OK && out->grouped)
            status = study_groups_read(&csv, group, &out->names, one.group, error);
        if (status != RZ_OK)
            rz_error_prefix(error, "%s: line %llu: ", path, (unsigned long long)csv.line);
        else
            status = add_row(out, &one, error);
    }
    rz_csv_close(&csv);
    if (status != RZ_OK)
        return status;
    if (out->n > 0)
        qsort(out->row, out->n, sizeof *out->row, by_patient);
    for (size_t i = 1; i < out->n; i++)
        if (by_patient(&out->row[i - 1], &out->row[i]) == 0)
            return rz_fail(error, RZ_E_INVALID,
                           "%s: task %s has a patient twice on the same index day", path,
                           r->design.tasks[out->row[i].task].name);
    return RZ_OK;
}

/* ---- panels ---- */

static rz_status found_panel(const row *from, size_t n, size_t cell, study_panel *p,
                             rz_error *error)
{
    size_t room = n > 0 ? n : 1;
    p->patient = calloc(room, sizeof *p->patient);
    p->number = calloc(room, sizeof *p->number);
    p->index_day = calloc(room, sizeof *p->index_day);
    p->label = calloc(room, sizeof *p->label);
    p->truth = calloc(room, sizeof *p->truth);
    if (p->patient == NULL || p->number == NULL || p->index_day == NULL || p->label == NULL ||
        p->truth == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for %zu rows", n);
    for (size_t i = 0; i < n; i++) {
        p->patient[i] = from[i].patient;
        p->index_day[i] = from[i].index_day;
        p->label[i] = from[i].label;
        p->truth[i] = from[i].truth;
    }
    p->n = n;
    p->first_cell = cell;
    return RZ_OK;
}

static rz_status check_same(const row *from, size_t n, const char *other, study_panel *p,
                            rz_error *error)
{
    if (n != p->n)
        return rz_fail(error, RZ_E_CONFLICT,
                       "%zu rows, but cell %.100s has %zu; scores of one task must be of the same "
                       "patients on the same days",
                       n, other, p->n);
    size_t patients = 0, days = 0, labels = 0, truths = 0;
    for (size_t i = 0; i < n; i++) {
        bool same = from[i].patient == p->patient[i];
        patients += !same;
        days += same && from[i].index_day != p->index_day[i];
        labels += same && from[i].label != p->label[i];
        truths +=
            same && !isnan(from[i].truth) && !isnan(p->truth[i]) && from[i].truth != p->truth[i];
    }
    if (patients + days + labels + truths > 0)
        return rz_fail(error, RZ_E_CONFLICT,
                       "of %zu rows %zu are of others than in cell %.100s, %zu have another index "
                       "day, %zu another label, %zu another true risk; scores of one task must be "
                       "of the same patients",
                       n, patients, other, days, labels, truths);
    for (size_t i = 0; i < n; i++) /* what one cell was not told another may know */
        p->truth[i] = isnan(p->truth[i]) ? from[i].truth : p->truth[i];
    return RZ_OK;
}

/* The place of a column of scores, added unless the panel has it: at a given size of the training
 * set every cell has the same age and sex. */
static rz_status add_score(const double *values, study_panel *p, size_t *out, rz_error *error)
{
    for (size_t i = 0; i < p->n_scores; i++)
        if (memcmp(p->score[i], values, p->n * sizeof *values) == 0) {
            *out = i;
            return RZ_OK;
        }
    if (p->n_scores == p->scores_capacity) {
        size_t capacity = p->scores_capacity == 0 ? 16 : 2 * p->scores_capacity;
        double **grown = realloc(p->score, capacity * sizeof *grown);
        if (grown == NULL)
            return rz_fail(error, RZ_E_NO_MEMORY, "no memory for %zu columns of scores", capacity);
        p->score = grown;
        p->scores_capacity = capacity;
    }
    double *copy = malloc((p->n > 0 ? p->n : 1) * sizeof *copy);
    if (copy == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for %zu scores", p->n);
    memcpy(copy, values, p->n * sizeof *copy);
    p->score[p->n_scores] = copy;
    *out = p->n_scores++;
    return RZ_OK;
}

static rz_status reserve_measure(study_panel *p, rz_error *error)
{
    if (p->n_measures < p->measures_capacity)
        return RZ_OK;
    size_t capacity = p->measures_capacity == 0 ? 16 : 2 * p->measures_capacity;
    study_measure *grown = realloc(p->measures, capacity * sizeof *grown);
    if (grown == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for %zu measures", capacity);
    p->measures = grown;
    p->measures_capacity = capacity;
    return RZ_OK;
}

static rz_status add_measure(const row *from, size_t cell, study_panel *p, rz_error *error)
{
    study_measure measure = {.cell = cell};
    double *values = malloc((p->n > 0 ? p->n : 1) * sizeof *values);
    if (values == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for %zu scores", p->n);
    for (size_t i = 0; i < p->n; i++)
        values[i] = from[i].probability;
    rz_status status = add_score(values, p, &measure.score, error);
    for (size_t i = 0; i < p->n; i++)
        values[i] = from[i].age_sex;
    if (status == RZ_OK)
        status = add_score(values, p, &measure.age_sex, error);
    if (status == RZ_OK)
        status = reserve_measure(p, error);
    if (status == RZ_OK)
        p->measures[p->n_measures++] = measure;
    free(values);
    return status;
}

/* Whoever scored them, the patients are the same: the first file that tells their groups will do.
 */
static rz_status add_groups(const rows *all, const row *from, study_panel *p, rz_error *error)
{
    if (!all->grouped || p->groups.key[0] != NULL)
        return RZ_OK;
    rz_status status = study_groups_take(&all->names, p->n, &p->groups, error);
    for (int by = 0; status == RZ_OK && by < RZ_SUBGROUP_BY_COUNT; by++)
        for (size_t i = 0; i < p->n; i++)
            p->groups.key[by][i] = from[i].group[by];
    return status;
}

static rz_status add_task(const row *from, size_t n, size_t cell, const study_results *r,
                          study_panel *p, rz_error *error)
{
    rz_status status = p->n_measures == 0
                           ? found_panel(from, n, cell, p, error)
                           : check_same(from, n, r->cells[p->first_cell].name, p, error);
    return status == RZ_OK ? add_measure(from, cell, p, error) : status;
}

rz_status study_scores_read(const char *folder, const char *split, size_t cell,
                            const study_results *r, study_panel *panels, rz_error *error)
{
    const study_cell *c = &r->cells[cell];
    char path[PATH_MAX];
    rows all = {0};
    (void)snprintf(path, sizeof path, "%s/scores/%s-%s.csv", folder, c->name, split);
    rz_status status = read_file(path, split, r, cell, &all, error);
    size_t at = 0;
    for (size_t t = 0; status == RZ_OK && t < r->design.n_tasks; t++) {
        size_t first = at;
        while (at < all.n && all.row[at].task == t)
            at++;
        if ((c->tasks >> t & 1) == 0)
            continue;
        status = add_task(all.row + first, at - first, cell, r, &panels[t], error);
        if (status == RZ_OK)
            status = add_groups(&all, all.row + first, &panels[t], error);
        if (status != RZ_OK)
            rz_error_prefix(error, "%s, task %s: ", split, r->design.tasks[t].name);
    }
    free(all.row);
    study_groups_done(&all.names);
    if (status != RZ_OK)
        rz_error_prefix(error, "cell %.100s: ", c->name);
    return status;
}
