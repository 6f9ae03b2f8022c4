/* The state of an unfinished run: everything that a step depends on, on disk as <run>/resume/.
 *
 * Parameters, both moments and the best parameters so far go to one of two slots of safetensors
 * files; state.json is then renamed into place and names the slot. A kill or a full disk at any
 * moment leaves the earlier state whole. */
#ifndef RZ_TRAIN_RESUME_H
#define RZ_TRAIN_RESUME_H

#include "train/optimizer.h"

typedef struct rz_resume_state {
    uint64_t step;          /* optimiser updates made */
    uint64_t epoch, cursor; /* the next item: place `cursor` of the epoch's order */
    uint64_t steps_planned; /* fixed from the measured speed (--minutes); 0 = not yet */
    uint64_t tokens;        /* learnt from so far */
    uint64_t log_bytes;     /* of log.csv at this step */
    uint64_t best_step;
    unsigned evaluations, without_gain;
    bool has_best;
    double best_loss, seconds; /* seconds of training so far */
    char config_sha256[RZ_SHA256_TEXT], data_sha256[RZ_SHA256_TEXT];
} rz_resume_state;

/* Durability: on disk when it has returned. Errors RZ_E_DISK_FULL, RZ_E_IO; the earlier state is
 * then still the one that loads. */
RZ_MUST_CHECK rz_status rz_resume_save(const char *folder, const rz_model *model,
                                       const rz_optimizer *optimizer, const float *best,
                                       const rz_resume_state *state, rz_error *error);

/* The numbers alone. Errors RZ_E_NOT_FOUND when there is no state, RZ_E_CORRUPT. */
RZ_MUST_CHECK rz_status rz_resume_read(const char *folder, rz_resume_state *out, rz_error *error);

/* The tensors of that state into the model, the optimiser and `best` [n_parameters].
 * Errors  RZ_E_CORRUPT naming file and tensor. */
RZ_MUST_CHECK rz_status rz_resume_load(const char *folder, rz_model *model, rz_optimizer *optimizer,
                                       float *best, const rz_resume_state *state, rz_error *error);

#endif
