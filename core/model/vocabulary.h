/* The vocabulary: which codes a model knows, how they are truncated, and their token ids.
 *
 * Ids 0 … 7 are special; then come all diagnoses, then all medications, each in the order
 * (system, code). A vocabulary is made from the training split only and identified by its SHA-256;
 * training and serving read codes through it and cannot disagree. vocab.json holds it. */
#ifndef RZ_MODEL_VOCABULARY_H
#define RZ_MODEL_VOCABULARY_H

#include "base/hash.h"
#include "claims/timeline.h"

enum {
    RZ_TOKEN_CLS,
    RZ_TOKEN_MASK,
    RZ_TOKEN_HIDDEN_AGE, /* its embedding row stands in for a hidden age (added, not a code) */
    RZ_TOKEN_UNKNOWN_DIAGNOSIS,
    RZ_TOKEN_UNKNOWN_MEDICATION,
    RZ_TOKEN_SEX_FEMALE,
    RZ_TOKEN_SEX_MALE,
    RZ_TOKEN_SEX_UNKNOWN,
    RZ_TOKEN_SPECIALS
};

enum { RZ_TOKEN_NONE = -1, RZ_VOCABULARY_CODES_MAX = 200000 };

typedef struct rz_vocabulary_entry {
    rz_kind kind;
    rz_code_system system;
    char code[RZ_CODE_TEXT]; /* truncated */
    uint32_t patients;       /* of the training split */
} rz_vocabulary_entry;

typedef struct rz_vocabulary {
    size_t n_diagnoses, n_medications;  /* V = their sum */
    const rz_vocabulary_entry *entries; /* [V]; token id = index + RZ_TOKEN_SPECIALS */
    rz_code_levels levels;
    uint32_t min_patients;
    uint32_t training_patients;
    uint32_t age_bins; /* 1,200 monthly bins */
    char sha256[RZ_SHA256_TEXT];
} rz_vocabulary; /* opaque beyond these fields; made by the functions below only */

typedef struct rz_vocabulary_builder rz_vocabulary_builder;

RZ_MUST_CHECK rz_status rz_vocabulary_builder_new(rz_code_levels levels,
                                                  rz_vocabulary_builder **out, rz_error *error);
void rz_vocabulary_builder_free(rz_vocabulary_builder *builder);
/* Counts each distinct code of one training patient once (suspected ones not). */
RZ_MUST_CHECK rz_status rz_vocabulary_builder_add(rz_vocabulary_builder *builder,
                                                  const rz_timeline *timeline, rz_error *error);
/* min_patients 0 = max(2, 0.1 % of the patients added).
 * Errors  RZ_E_INVALID when no code is left. */
RZ_MUST_CHECK rz_status rz_vocabulary_builder_finish(const rz_vocabulary_builder *builder,
                                                     uint32_t min_patients, rz_vocabulary **out,
                                                     rz_error *error);

/* A vocabulary of made-up codes, half of them diagnoses, for benchmarks and tests; new. */
RZ_MUST_CHECK rz_status rz_vocabulary_synthetic(size_t n_codes, rz_vocabulary **out,
                                                rz_error *error);
/* vocab.json. Errors RZ_E_FORMAT, RZ_E_CORRUPT (hash), RZ_E_UNSUPPORTED (format version). */
RZ_MUST_CHECK rz_status rz_vocabulary_read(const char *path, rz_vocabulary **out, rz_error *error);
RZ_MUST_CHECK rz_status rz_vocabulary_write(const rz_vocabulary *vocabulary, const char *path,
                                            rz_error *error);
RZ_MUST_CHECK rz_status rz_vocabulary_copy(const rz_vocabulary *vocabulary, rz_vocabulary **out,
                                           rz_error *error);
void rz_vocabulary_free(rz_vocabulary *vocabulary); /* accepts NULL */

/* The token of an event: a code's id, the UNKNOWN id of its kind, or RZ_TOKEN_NONE for what is no
 * token (suspected, procedures, labs, encounters, deaths). Threads: safe. Cost: a binary search. */
int32_t rz_vocabulary_token(const rz_vocabulary *vocabulary, const rz_timeline_event *event);

#endif
