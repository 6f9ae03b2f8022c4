/* Pretraining: a model that knows histories, before it knows any task. */
#ifndef RZ_TRAIN_PRETRAIN_H
#define RZ_TRAIN_PRETRAIN_H

#include "train/split.h"
#include "train/trainer.h"

typedef struct rz_pretrain_options {
    rz_config config; /* family, size, norm, pooling, masking, dropout */
    rz_split_rule split;
    rz_facilities facilities; /* whose patients the dataset holds: recorded, and a setting */
    uint32_t min_patients;    /* of the vocabulary, when it is made here; 0 = its default */
    size_t tuning_tokens;     /* the tuning loss is taken on about so many; 0 = all */
    rz_train_options train;
} rz_pretrain_options;

/* Learns from the training split of `dataset` and writes the checkpoint's files into the run's
 * folder; the caller adds its own and calls rz_run_finish. Held-out patients are not looked at.
 *   vocabulary  borrowed; NULL makes one from the training split
 *   model       new; NULL when not wanted
 * Errors  those of rz_train; RZ_E_INVALID when no patient has two tokens. */
RZ_MUST_CHECK rz_status rz_pretrain(rz_dataset *dataset, const rz_run *run,
                                    const rz_vocabulary *vocabulary,
                                    const rz_pretrain_options *options, rz_pool *pool,
                                    rz_model **model, rz_train_result *result, rz_error *error);

/* SHA-256 of settings as canonical JSON; releases `settings`, NULL of which is out of memory. */
RZ_MUST_CHECK rz_status rz_settings_digest(json_t *settings, char out[RZ_SHA256_TEXT],
                                           rz_error *error);
json_t *rz_train_options_json(const rz_train_options *options); /* new; what results depend on */

#endif
