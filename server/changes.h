/* What has changed since an answer was made: histories, by patient id, and the models.
 *
 * One clock ticks with every change. An answer is marked with the clock before anything that it
 * depends on is read; a change ticks after it can be read and before anyone is told of it. So an
 * answer whose mark is not behind any change that concerns it is what would be computed now. Only
 * one process writes to a store, so nothing changes that is not told here. */
#ifndef REZEPTD_CHANGES_H
#define REZEPTD_CHANGES_H

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct changes changes;

RZ_MUST_CHECK rz_status changes_new(changes **out, rz_error *error);
void changes_free(changes *c); /* accepts NULL */

/* The mark of an answer whose reading begins now. Threads: any. */
uint64_t changes_now(const changes *c);
/* Whether no model and no history under this id has changed since the mark. The id is the stored
 * one, without the facility: a patient of another facility may make it ambiguous. Ids share places,
 * so that now and then an answer is taken for changed that is not. Threads: any. */
size_t changes_place(const char *id);
bool changes_none_since(const changes *c, uint64_t mark, size_t place);

/* Notes that the history under this id is being changed; counts from the next publish. Threads: the
 * writer. */
void changes_note(changes *c, const char *id);
/* The notes can be read in the store, or never will. Threads: the writer. */
void changes_publish(changes *c);
/* A model, or which one answers what, has changed. Threads: any. */
void changes_all(changes *c);

#endif
