/* The folder of a run, from the first byte to DONE: one program at a time (.lock), nothing finished
 * is overwritten unasked, what an interrupted run needs lies in resume/ and is gone at the end. */
#ifndef RZ_TRAIN_RUN_H
#define RZ_TRAIN_RUN_H

#include "train/dataset.h"

typedef struct rz_run {
    char *out, *resume; /* the folder and its resume/, owned */
    int lock;           /* file descriptor; -1 when not held */
    bool finished;      /* --resume of a run that had already ended: nothing is left to do */
    bool resuming;      /* a saved state is there and is to be continued */
    bool kept;          /* resume/ is: a saved state, or finished parts of a cross-fitting */
} rz_run;

/* Takes the folder, making it when needed.
 *   resume  go on where an interrupted run stopped, or start when there is nothing
 *   force   throw away what is there: an unfinished run once the store has been opened, a finished
 *           model once training begins, so that a refusal costs neither
 * Errors  RZ_E_CONFLICT a finished model or an interrupted run is there, with the remedy;
 *         RZ_E_BUSY another program trains in it. */
RZ_MUST_CHECK rz_status rz_run_open(rz_run *run, const char *out, bool resume, bool force,
                                    rz_error *error);
void rz_run_close(rz_run *run); /* accepts a zeroed one; what is unfinished stays for --resume */

/* The packed cache in resume/: the one the run began with when it is resumed, else a fresh copy of
 * the store's `facilities` (NULL for all); the store is closed again before this returns.
 * Errors  those of rz_dataset_copy; RZ_E_CONFLICT when the cache is gone and the store has
 *         changed. That a run is resumed with other facilities its settings' digest finds. */
RZ_MUST_CHECK rz_status rz_run_dataset(const rz_run *run, const char *database,
                                       const rz_store_options *options,
                                       const rz_facilities *facilities, const rz_progress *progress,
                                       rz_dataset **out, rz_error *error);

/* Digests the folder into DONE and removes resume/: from now on it is a model. */
RZ_MUST_CHECK rz_status rz_run_finish(rz_run *run, rz_error *error);

#endif
