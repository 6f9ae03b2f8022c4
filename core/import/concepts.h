/* The OMOP vocabulary file: which code of which system a concept id stands for. Private. */
#ifndef RZ_IMPORT_CONCEPTS_H
#define RZ_IMPORT_CONCEPTS_H

#include "base/buffer.h"
#include "import/csv.h"
#include "import/import.h"
#include "import/map.h"

typedef struct rz_concepts {
    rz_map map;
    rz_buffer codes; /* NUL-terminated texts, one after the other */
} rz_concepts;

typedef struct rz_concept {
    rz_code_system system; /* local for vocabularies that are no system of ours: "CVX/133" */
    const char *code;      /* normalised; borrowed */
    int kind;              /* the kind its vocabulary says, or -1 */
} rz_concept;

void rz_concepts_init(rz_concepts *concepts);
void rz_concepts_done(rz_concepts *concepts);

/* Adds the rows of an open concept.csv.
 * Errors  RZ_E_FORMAT (columns, damaged file), RZ_E_TOO_LARGE, RZ_E_NO_MEMORY. */
RZ_MUST_CHECK rz_status rz_concepts_read(rz_concepts *concepts, rz_csv *csv, rz_error *error);

/* False when the field is no id, is 0 or is not in the vocabulary. */
bool rz_concepts_find(const rz_concepts *concepts, rz_field id, rz_concept *out);

#endif
