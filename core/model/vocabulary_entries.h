/* What the two files of the vocabulary and the checkpoint share. Private to core/model. */
#ifndef RZ_MODEL_VOCABULARY_ENTRIES_H
#define RZ_MODEL_VOCABULARY_ENTRIES_H

#include "model/vocabulary.h"

/* The one order of entries: diagnoses before medications, then system, then code. */
int vocabulary_compare(const rz_vocabulary_entry *a, const rz_vocabulary_entry *b);

/* Makes a vocabulary of ordered entries, which are taken (also on failure); levels and counts come
 * from `head`, the numbers of codes and the digest are computed. */
RZ_MUST_CHECK rz_status vocabulary_make(const rz_vocabulary *head, rz_vocabulary_entry *entries,
                                        size_t n, rz_vocabulary **out, rz_error *error);

/* vocab.json from memory, which is changed. `name` is for the messages. */
RZ_MUST_CHECK rz_status vocabulary_parse(char *text, size_t n, const char *name,
                                         rz_vocabulary **out, rz_error *error);

#endif
