/* True risks of simulated patients, on the index days that cohorts choose. */
#ifndef RZ_SIMULATE_TRUTH_H
#define RZ_SIMULATE_TRUTH_H

#include "simulate/world.h"
#include "tasks/task.h"

#include <stdbool.h>

/* The item whose first code is the task's outcome: all its codes match and no other item's does.
 * Errors  RZ_E_INVALID naming the task when there is no such item. */
RZ_MUST_CHECK rz_status rz_sim_task_item(const rz_sim_world *world, const rz_task *task,
                                         rz_sim_item *out, rz_error *error);

typedef struct rz_sim_truth {
    size_t task;
    int32_t index_day;
    double risk, standard_error;
} rz_sim_truth;

/* By task, in their order, a row for each different index day that the draws give (tasks/cohort.h).
 * There is none when no claim day is eligible, or when the outcome was coded on a day up to the
 * index that the hospital could not know of yet.
 *
 *   items         from rz_sim_task_item
 *   data_end_day  last event day of the patient's hospital over all its patients
 *   out           [n_tasks * draws], of which *n_out are filled */
RZ_MUST_CHECK rz_status rz_sim_truths(const rz_sim_world *world, const rz_sim_patient *patient,
                                      const rz_task *tasks, const rz_sim_item *items,
                                      size_t n_tasks, int32_t data_end_day, unsigned draws,
                                      unsigned continuations, rz_arena *arena, rz_sim_truth *out,
                                      size_t *n_out, rz_error *error);

#endif
