/* The backtest of one model: scores a sample of stored patients as of a day whose year is over, and
 * counts what was expected beside what was observed.
 *
 * A patient belongs to the sample by hash, of BACKTEST_PATIENTS stored ones in the mean. Those of
 * the model's training split are left out; those of the tuning split are not, so in the record that
 * a model was calibrated on the ratio lies nearer to 1 than elsewhere. A task's index day is that
 * of its cohort (tasks/cohort.h), drawn from the last BACKTEST_DAYS days with a whole horizon
 * before the facility's data end: outcomes are those of the last fully observed year.
 *
 * One thread; it reads the store in short pieces and asks nothing itself: the scorer does, when
 * there is time. */
#ifndef REZEPTD_BACKTEST_H
#define REZEPTD_BACKTEST_H

#include "drift.h"
#include "server.h"
#include "worker.h"

enum { BACKTEST_PATIENTS = 8000, BACKTEST_DAYS = 365 };

typedef struct backtest backtest;

/* Keeps one reference of the replica.
 * Errors  RZ_E_NO_MEMORY; as readers_take. */
RZ_MUST_CHECK rz_status backtest_new(server *s, replica *r, backtest **out, rz_error *error);
void backtest_free(backtest *t); /* accepts NULL */

replica *backtest_replica(const backtest *t); /* borrowed */

/* The next question, of about `patients` rows, ready for replica_add; *out is new, or NULL when
 * *done or when none of the patients looked at belongs to it.
 * Errors  as the store's. */
RZ_MUST_CHECK rz_status backtest_ask(backtest *t, size_t patients, predict_job **out, bool *done,
                                     rz_error *error);
/* Counts the answer to the last question. */
void backtest_count(backtest *t, const predict_job *answered);
/* Tells the replica what came out. */
void backtest_finish(const backtest *t);

#endif
