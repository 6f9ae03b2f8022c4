/* A model on disk: <folder>/{model.safetensors, config.json, vocab.json, … , DONE}.
 *
 * DONE is written last and holds size and SHA-256 of every file in the folder (resume/ and hidden
 * files aside); a folder without a DONE that fits is not a model. config.json:
 *   {"format": "rezept-model", "format_version": 1 (2 with an onset head, 3 with recency), "model":
 * {…family's config…}, "heads": ["ckd", …], "vocabulary_sha256": "…", "training": {"config_sha256",
 * "seed", "data_sha256", "code_version", "parent_sha256", "split", "facilities": null, {"only":
 * […]} or {"all_but": […]}}} */
#ifndef RZ_MODEL_CHECKPOINT_H
#define RZ_MODEL_CHECKPOINT_H

#include "claims/facilities.h"
#include "model/model.h"

typedef struct rz_checkpoint_origin {
    char training_config_sha256[RZ_SHA256_TEXT], data_sha256[RZ_SHA256_TEXT],
        parent_sha256[RZ_SHA256_TEXT]; /* of the model it was fine-tuned from, or "" */
    uint64_t seed;
    char code_version[32];
    char split[32]; /* whom it has learnt from: rz_split_rule_text of train/split.h, or "" where
                       nothing is known */
    rz_facilities facilities; /* of whose patients, those of the model it began with among them */
} rz_checkpoint_origin;

typedef struct rz_checkpoint {
    rz_model *model; /* new; the caller frees it */
    rz_checkpoint_origin origin;
    char sha256[RZ_SHA256_TEXT]; /* of model.safetensors: "the model's hash" */
    char
        tasks_sha256[RZ_SHA256_TEXT]; /* of tasks.json, which others read; "" where there is none */
} rz_checkpoint;

/* Writes model.safetensors, config.json and vocab.json into the folder, which must hold no DONE:
 * rz_checkpoint_begin removes it first. Other files (tasks.json, card.md, …) are written by their
 * owners between; rz_checkpoint_finish then digests all of them into DONE. */
RZ_MUST_CHECK rz_status rz_checkpoint_begin(const char *folder, rz_error *error);
RZ_MUST_CHECK rz_status rz_checkpoint_write(const char *folder, const rz_model *model,
                                            const rz_checkpoint_origin *origin, rz_error *error);
RZ_MUST_CHECK rz_status rz_checkpoint_finish(const char *folder, rz_error *error);

/* Verifies DONE (every file it names, each digest), then loads.
 * Errors  RZ_E_NOT_FOUND; RZ_E_CORRUPT (digest, size, missing or foreign tensor, shape, hash of the
 *         vocabulary); RZ_E_UNSUPPORTED (family, format version); all naming file and reason. */
RZ_MUST_CHECK rz_status rz_checkpoint_verify(const char *folder, rz_error *error);
RZ_MUST_CHECK rz_status rz_checkpoint_load(const char *folder, rz_pool *pool, rz_checkpoint *out,
                                           rz_error *error);

#endif
