/* Who is learnt from, who is tuned on, who is held out: by patient hash alone, either 70/15/15 or,
 * for small sets, by cross-validation, where fold k is held out and a quarter of the rest tunes. */
#ifndef RZ_TRAIN_SPLIT_H
#define RZ_TRAIN_SPLIT_H

#include "tasks/cohort.h"

#include <stdio.h>

typedef struct rz_split_rule {
    unsigned n_folds; /* 0 = 70/15/15 */
    unsigned fold;    /* 0 … n_folds-1: the held-out one */
} rz_split_rule;

/* What a model's config.json says of it: the shares, or "fold 2/5". */
enum { RZ_SPLIT_TEXT = 32 };

static inline void rz_split_rule_text(rz_split_rule rule, char out[RZ_SPLIT_TEXT])
{
    if (rule.n_folds == 0)
        (void)snprintf(out, RZ_SPLIT_TEXT, "%s", RZ_SPLIT_SHARES);
    else
        (void)snprintf(out, RZ_SPLIT_TEXT, "fold %u/%u", rule.fold + 1, rule.n_folds);
}

/* The text in an error. */
static inline const char *rz_split_text_shown(const char *text)
{
    return text[0] != '\0' ? text : "(not recorded)";
}

enum { RZ_TUNING_SHARE = 4 /* of cross-validation: one in four, or calibration lacks outcomes */ };

static inline rz_split rz_split_by(rz_split_rule rule, uint64_t patient_hash)
{
    if (rule.n_folds == 0)
        return rz_split_of(patient_hash, RZ_COHORT_SEED);
    if (rz_fold_of(patient_hash, RZ_COHORT_SEED, rule.n_folds) == rule.fold)
        return RZ_SPLIT_HELD_OUT;
    return rz_fold_of(patient_hash, RZ_COHORT_SEED + 1, RZ_TUNING_SHARE) == 0 ? RZ_SPLIT_TUNING
                                                                              : RZ_SPLIT_TRAIN;
}

#endif
