/* Reads the truth once, looks patients up in the store, sorts, and answers by bisection. */
#include "truth_table.h"

#include "base/size.h"
#include "import/csv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FACILITY, PATIENT, TASK, INDEX_DAY, RISK, COLUMNS };

static const char *const column_names[COLUMNS] = {"facility", "patient", "task", "index_day",
                                                  "risk"};

static int compare_rows(const void *left, const void *right)
{
    const truth_row *a = left, *b = right;
    if (a->task != b->task)
        return a->task < b->task ? -1 : 1;
    if (a->patient != b->patient)
        return a->patient < b->patient ? -1 : 1;
    return a->index_day < b->index_day ? -1 : a->index_day > b->index_day;
}

static rz_status reserve(truth_table *table, rz_error *error)
{
    if (table->n < table->capacity)
        return RZ_OK;
    size_t capacity = table->capacity < 1024 ? 1024 : table->capacity, bytes;
    bool fits = table->capacity == 0 || rz_size_mul(table->capacity, 2, &capacity);
    truth_row *rows = NULL;
    if (fits && rz_size_mul(capacity, sizeof *rows, &bytes))
        rows = realloc(table->rows, bytes);
    if (rows == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for %zu true risks", capacity);
    table->rows = rows;
    table->capacity = capacity;
    return RZ_OK;
}

/* The patient that the row names, looked up once for all of its neighbouring rows. */
typedef struct last_patient {
    char facility[256], id[256];
    rz_patient_key key; /* 0: not in the store */
} last_patient;

static rz_status find_patient(rz_store *store, const char *facility, const char *id,
                              last_patient *last, rz_error *error)
{
    rz_patient patient;
    rz_error missing = {0};
    if (last->id[0] != '\0' && strcmp(last->id, id) == 0 && strcmp(last->facility, facility) == 0)
        return RZ_OK;
    if (strlen(facility) >= sizeof last->facility || strlen(id) >= sizeof last->id)
        return rz_fail(error, RZ_E_INVALID, "a facility or patient has more than %zu characters",
                       sizeof last->id - 1);
    (void)snprintf(last->facility, sizeof last->facility, "%s", facility);
    (void)snprintf(last->id, sizeof last->id, "%s", id);
    last->key = 0;
    rz_status status = rz_store_patient(store, facility, id, &patient, &missing);
    if (status == RZ_OK)
        last->key = patient.key;
    else if (status != RZ_E_NOT_FOUND)
        return rz_fail(error, status, "%s", missing.text);
    return RZ_OK;
}

static rz_status parse_row(const rz_csv *csv, const int column[COLUMNS], truth_row *row,
                           rz_error *error)
{
    rz_field day = rz_csv_field(csv, column[INDEX_DAY]), risk = rz_csv_field(csv, column[RISK]);
    char *end = NULL;
    if (!rz_day_parse(day.text, &row->index_day))
        return rz_fail(error, RZ_E_INVALID, "index_day \"%.20s\" is no date; YYYY-MM-DD is needed",
                       day.text);
    row->risk = strtod(risk.text, &end);
    if (risk.n == 0 || *end != '\0' || !(row->risk >= 0.0 && row->risk <= 1.0))
        return rz_fail(error, RZ_E_INVALID, "risk \"%.20s\" is no probability", risk.text);
    return RZ_OK;
}

static rz_status read_rows(rz_csv *csv, const int column[COLUMNS], rz_store *store,
                           const rz_task *tasks, size_t n_tasks, truth_table *out, rz_error *error)
{
    last_patient last = {.key = 0};
    for (;;) {
        bool more = false;
        truth_row row = {0};
        rz_status status = rz_csv_next(csv, &more, error);
        if (status != RZ_OK || !more)
            return status;
        const char *name = rz_csv_field(csv, column[TASK]).text;
        while (row.task < n_tasks && strcmp(tasks[row.task].name, name) != 0)
            row.task++;
        if (row.task == n_tasks) {
            out->foreign++;
            continue;
        }
        status = parse_row(csv, column, &row, error);
        if (status == RZ_OK)
            status = find_patient(store, rz_csv_field(csv, column[FACILITY]).text,
                                  rz_csv_field(csv, column[PATIENT]).text, &last, error);
        if (status == RZ_OK && last.key == 0) {
            out->foreign++;
            continue;
        }
        row.patient = last.key;
        if (status == RZ_OK)
            status = reserve(out, error);
        if (status != RZ_OK) {
            rz_error_prefix(error, "line %llu: ", (unsigned long long)csv->line);
            return status;
        }
        out->rows[out->n++] = row;
    }
}

rz_status truth_table_read(const char *path, rz_store *store, const rz_task *tasks, size_t n_tasks,
                           truth_table *out, rz_error *error)
{
    rz_csv csv = {0};
    int column[COLUMNS];
    truth_table table = {0};
    rz_status status = rz_csv_open(&csv, path, error);
    for (int c = 0; status == RZ_OK && c < COLUMNS; c++)
        status = rz_csv_require(&csv, column_names[c], &column[c], error);
    if (status == RZ_OK) {
        status = read_rows(&csv, column, store, tasks, n_tasks, &table, error);
        if (status != RZ_OK)
            rz_error_prefix(error, "%s: ", path);
    }
    rz_csv_close(&csv);
    if (status != RZ_OK) {
        truth_table_done(&table);
        return status;
    }
    if (table.n > 0)
        qsort(table.rows, table.n, sizeof *table.rows, compare_rows);
    *out = table;
    return RZ_OK;
}

void truth_table_done(truth_table *table)
{
    free(table->rows);
    *table = (truth_table){0};
}

bool truth_table_find(const truth_table *table, size_t task, rz_patient_key patient,
                      int32_t index_day, double *risk, bool *other_day)
{
    truth_row wanted = {.patient = patient, .task = (uint32_t)task, .index_day = INT32_MIN};
    size_t low = 0, high = table->n;
    while (low < high) { /* the first row of this task and patient */
        size_t middle = low + (high - low) / 2;
        if (compare_rows(&table->rows[middle], &wanted) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *other_day = false;
    for (; low < table->n; low++) {
        const truth_row *row = &table->rows[low];
        if (row->task != task || row->patient != patient)
            break;
        if (row->index_day == index_day) {
            *risk = row->risk;
            return true;
        }
        *other_day = true;
    }
    return false;
}
