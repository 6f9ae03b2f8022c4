/* What worklists count, under the filter that they count for. Counting looks at every score; while
 * no score and no history changes, the next answer with the same filter has the same counts. */
#ifndef REZEPTD_TALLY_H
#define REZEPTD_TALLY_H

#include "server.h"

#include "store/worklist.h"

typedef struct tally tally;

RZ_MUST_CHECK rz_status tally_new(tally **out, rz_error *error);
void tally_free(tally *t); /* accepts NULL */

/* When counting began: what stands in the store then is what these two have counted. */
typedef struct tally_mark {
    uint64_t changes, scored; /* writer_changes, scorer_scored */
} tally_mark;
tally_mark tally_now(const server *s);

/* The counts for this filter if nothing has changed since the mark. Threads: any. */
bool tally_get(tally *t, const rz_worklist_query *query, tally_mark now, rz_worklist_counts *out);
/* Keeps counts that were made after the mark was taken; losing them is no error. Threads: any. */
void tally_put(tally *t, const rz_worklist_query *query, tally_mark mark,
               const rz_worklist_counts *counts);

#endif
