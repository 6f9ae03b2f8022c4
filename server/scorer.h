/* The background scorer: keeps a score of every stored patient for the worklists. Patients whose
 * history changed are scored again at once, everybody once a night (the day of the scores moves on)
 * and when a model changes. Then it explains the highest risks of each worklist (explained.h).
 * Then, once a night and for a model that was loaded, it compares what the model foretells with
 * what came (backtest.h). It asks a model only while nobody else waits for it. */
#ifndef REZEPTD_SCORER_H
#define REZEPTD_SCORER_H

#include "server.h"

typedef struct scorer scorer;

/* Starts the thread; with rescore = false there is none, which is fine. */
RZ_MUST_CHECK rz_status scorer_new(server *s, scorer **out, rz_error *error);
void scorer_free(scorer *sc); /* accepts NULL; waits for the window under way */

int32_t scorer_day(const config *c); /* that scores are made for: changes at rescore-hour-utc */
uint64_t scorer_scored(const scorer *sc); /* patients since the start; 0 for NULL */

#endif
