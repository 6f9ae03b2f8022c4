/* Reading ahead: a thread of its own reads and parses claims while the caller writes the ones
 * before them, so that an import uses two cores. Claims come out in the order of the files,
 * refusals and errors at their place among them, as without it. Private to import. */
#ifndef RZ_IMPORT_AHEAD_H
#define RZ_IMPORT_AHEAD_H

#include "import/import.h"

typedef struct rz_ahead rz_ahead;

/* Starts the thread, which from now on owns the readers of `import`.
 * Errors  RZ_E_NO_MEMORY, RZ_E_BUSY when there is no thread to be had. */
RZ_MUST_CHECK rz_status rz_ahead_open(rz_import *import, rz_ahead **out, rz_error *error);
/* Stops the thread when the batch that it reads is full and joins it; accepts NULL. */
void rz_ahead_close(rz_ahead *ahead);

/* As rz_import_next: borrowed until the next call. */
RZ_MUST_CHECK rz_status rz_ahead_next(rz_ahead *ahead, rz_claim *out, bool *more, rz_error *error);
/* As rz_import_refuse, of the claim that was handed out last. */
void rz_ahead_refuse(rz_ahead *ahead, const rz_claim *claim, const char *reason);
/* The summary up to the batch that the last claim was in; whole after the last one. */
const rz_import_summary *rz_ahead_summary(const rz_ahead *ahead);

#endif
