/* The true risks that the simulator writes, found again by patient, task and index day. */
#ifndef RZ_MODELS_TRUTH_TABLE_H
#define RZ_MODELS_TRUTH_TABLE_H

#include "store/store.h"
#include "tasks/task.h"

typedef struct truth_row {
    rz_patient_key patient;
    uint32_t task; /* index into the tasks given at reading */
    int32_t index_day;
    double risk;
} truth_row;

typedef struct truth_table {
    truth_row *rows; /* owned; sorted by task, patient, day */
    size_t n, capacity;
    size_t foreign; /* rows of patients that the store does not have, or of other tasks */
} truth_table;

/* Reads "facility,patient,task,index_day,risk,standard_error" (plain, .gz, .zst). The store tells
 * which patient a name belongs to, so that shared and pseudonymous ids work.
 * Errors  RZ_E_FORMAT and RZ_E_INVALID with file and line; those of reading. */
RZ_MUST_CHECK rz_status truth_table_read(const char *path, rz_store *store, const rz_task *tasks,
                                         size_t n_tasks, truth_table *out, rz_error *error);
void truth_table_done(truth_table *table);

/* True when the patient has a risk for the task on this day. Otherwise *other_day says whether
 * there is one on another day. */
bool truth_table_find(const truth_table *table, size_t task, rz_patient_key patient,
                      int32_t index_day, double *risk, bool *other_day);

#endif
