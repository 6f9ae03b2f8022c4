/* The onset codes of a question: "onset:N18.9" or "onset:icd10:N18.9" to a code of the vocabulary,
 * and back to the one name that answers use. */
#ifndef REZEPTD_ONSETS_H
#define REZEPTD_ONSETS_H

#include "request.h"

#include "model/vocabulary.h"

#define ONSET_PREFIX "onset:"
/* In place of a code, where no code of a patient can be answered. */
#define ONSET_ANY ONSET_PREFIX "*"

enum { ONSET_NAME_TEXT = RZ_CODE_TEXT + 32 };

typedef struct onset_asked {
    uint32_t code;  /* in the vocabulary */
    bool truncated; /* the code that was asked for is longer than those of the vocabulary */
    char asked[RZ_CODE_TEXT]; /* as it was written, without system */
} onset_asked;

/* True when this part of task= names an onset. */
bool onset_named(const char *task, size_t n);
/* False when the answer is a problem: no code, one that the vocabulary lacks, or of several
 * systems. `model` is named in it. */
bool onset_read(request *r, const rz_vocabulary *vocabulary, const char *model, const char *task,
                size_t n, onset_asked *out);
/* {"icd10": codes, …} of a vocabulary; new. */
json_t *onset_systems(const rz_vocabulary *vocabulary);
/* "onset:icd10:N189" */
void onset_name(const rz_vocabulary_entry *entry, char out[ONSET_NAME_TEXT]);

#endif
