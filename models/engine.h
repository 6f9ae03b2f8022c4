/* Engines: what learns from sparse rows, all driven in one way. A fit grows round by round (a
 * regression has one round), and after each the caller may look at its logits elsewhere and stop.
 *
 *     table_new(rows, label) -> fit_new(train, watched) -> grow, logits, grow, logits … -> save
 *
 * The same rows, setting, seed and number of threads give the same bytes.
 * Errors  RZ_E_UNSUPPORTED with the remedy where the engine's library is not there; RZ_E_INTERNAL
 *         with the library's own words where it fails; RZ_E_NO_MEMORY.
 * Threads a table and its fits belong to one thread at a time; inside they use `threads`. */
#ifndef RZ_MODELS_ENGINE_H
#define RZ_MODELS_ENGINE_H

#include "base/buffer.h"
#include "base/pool.h"
#include "sparse.h"

#include <stdbool.h>

typedef struct engine_setting {
    double rate;       /* trees: learning rate */
    int depth, leaves; /* trees: largest depth, 0 = any, and number of leaves */
    double penalty;    /* regression: of the squared coefficients of scaled columns */
} engine_setting;

typedef struct engine_options {
    double prior;     /* share of positives, where a fit begins */
    uint64_t seed;    /* of what an engine draws */
    unsigned threads; /* > 0 */
    rz_pool *pool;    /* the same threads, borrowed; for engines of our own */
} engine_options;

enum { ENGINE_NAME = 16, ENGINE_VERSION = 32 };

typedef struct engine {
    const char *name;
    const char *model_file; /* what `save` writes is called so */
    bool trees;
    unsigned rounds_max, patience; /* rounds without a gain, after which a fit ends */
    const engine_setting *full, *small;
    size_t n_full, n_small;

    /* Whether the engine can run here, and which version it is. */
    rz_status (*probe)(char version[ENGINE_VERSION], rz_error *error);

    /* Rows in the engine's own form. `rows` and `label` (0 or 1) are borrowed for the table's life.
     */
    rz_status (*table_new)(const sparse_rows *rows, const uint8_t *label,
                           const engine_options *options, void **out, rz_error *error);
    void (*table_free)(void *table); /* accepts NULL */

    /* A fit without rounds. Tables are borrowed; `watched` (may be NULL) is the one whose logits
     * will be asked for after every round. */
    rz_status (*fit_new)(void *train, void *watched, const engine_setting *setting,
                         const engine_options *options, void **out, rz_error *error);
    void (*fit_free)(void *fit); /* accepts NULL */
    rz_status (*grow)(void *fit, rz_error *error);
    /* Logits of all rounds so far, one for each row of the table. */
    rz_status (*logits)(void *fit, void *table, double *out, rz_error *error);
    rz_status (*save)(void *fit, rz_buffer *out, rz_error *error);
} engine;

extern const engine engine_xgboost, engine_lightgbm, engine_logistic;

/* NULL when there is none of this name. */
const engine *engine_find(const char *name);

#endif
