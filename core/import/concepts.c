/* Concepts by id. Codes are normalised once, here; one that its system cannot hold (the headings
 * that some vocabularies list as codes) is kept as a local code under its vocabulary's name. */
#include "import/concepts.h"

#include "base/size.h"
#include "import/reader.h"

#include <stdio.h>
#include <string.h>

enum { CODES_BYTES_MAX = 1 << 30, KIND_OPEN = -1 };

static const struct {
    const char *vocabulary;
    rz_code_system system;
    int kind; /* where the vocabulary decides it: OMOP files V codes among procedures */
} vocabularies[] = {
    {"SNOMED", RZ_SYSTEM_SNOMED, KIND_OPEN},
    {"RxNorm", RZ_SYSTEM_RXNORM, KIND_OPEN},
    {"NDC", RZ_SYSTEM_NDC, KIND_OPEN},
    {"LOINC", RZ_SYSTEM_LOINC, KIND_OPEN},
    {"ICD10CM", RZ_SYSTEM_ICD10CM, RZ_KIND_DIAGNOSIS},
    {"ICD9CM", RZ_SYSTEM_ICD9CM, RZ_KIND_DIAGNOSIS},
    {"ICD10", RZ_SYSTEM_ICD10, RZ_KIND_DIAGNOSIS},
    {"ICD9Proc", RZ_SYSTEM_ICD9CM, RZ_KIND_PROCEDURE},
    {"CPT4", RZ_SYSTEM_CPT, KIND_OPEN},
    {"HCPCS", RZ_SYSTEM_HCPCS, KIND_OPEN},
    {"ATC", RZ_SYSTEM_ATC, KIND_OPEN},
};

void rz_concepts_init(rz_concepts *concepts)
{
    *concepts = (rz_concepts){0};
    rz_buffer_init(&concepts->codes, CODES_BYTES_MAX);
}

void rz_concepts_done(rz_concepts *concepts)
{
    rz_map_done(&concepts->map);
    rz_buffer_done(&concepts->codes);
}

static rz_status add_concept(rz_concepts *concepts, int64_t id, rz_field vocabulary, rz_field code,
                             rz_error *error)
{
    char text[RZ_CODE_TEXT], local[160];
    rz_code_system system = RZ_SYSTEM_LOCAL;
    int kind = KIND_OPEN;
    const char *stored = text;
    for (size_t i = 0; i < RZ_COUNT(vocabularies); i++) {
        if (strcmp(vocabularies[i].vocabulary, vocabulary.text) == 0 &&
            rz_code_normalise(vocabularies[i].system, code.text, code.n, text, NULL) == RZ_OK) {
            system = vocabularies[i].system;
            kind = vocabularies[i].kind;
        }
    }
    if (system == RZ_SYSTEM_LOCAL) {
        (void)snprintf(local, sizeof local, "%.40s/%.*s", vocabulary.text,
                       (int)(code.n < 100 ? code.n : 100), code.text);
        stored = local;
    }
    rz_map_entry *entry;
    bool is_new;
    rz_status status = rz_map_add(&concepts->map, id, &entry, &is_new, error);
    if (status != RZ_OK || !is_new)
        return status;
    entry->other = (int64_t)concepts->codes.length;
    entry->tag = (uint32_t)system;
    entry->first = kind;
    status = rz_buffer_add(&concepts->codes, stored, strlen(stored) + 1);
    return status == RZ_OK
               ? RZ_OK
               : rz_fail(error, status, "no memory for the codes of %zu concepts", concepts->map.n);
}

rz_status rz_concepts_read(rz_concepts *concepts, rz_csv *csv, rz_error *error)
{
    int id_column, vocabulary, code;
    rz_status status = rz_csv_require(csv, "concept_id", &id_column, error);
    if (status == RZ_OK)
        status = rz_csv_require(csv, "vocabulary_id", &vocabulary, error);
    if (status == RZ_OK)
        status = rz_csv_require(csv, "concept_code", &code, error);
    bool more = status == RZ_OK;
    while (more) {
        int64_t id;
        status = rz_csv_next(csv, &more, error);
        if (status != RZ_OK)
            return status;
        if (more && rz_reader_integer(rz_csv_field(csv, id_column), &id) && id != 0)
            status = add_concept(concepts, id, rz_csv_field(csv, vocabulary),
                                 rz_csv_field(csv, code), error);
        if (status != RZ_OK)
            return status;
    }
    return status;
}

bool rz_concepts_find(const rz_concepts *concepts, rz_field id, rz_concept *out)
{
    int64_t key;
    if (!rz_reader_integer(id, &key) || key == 0)
        return false;
    const rz_map_entry *entry = rz_map_find(&concepts->map, key);
    if (entry == NULL)
        return false;
    *out =
        (rz_concept){(rz_code_system)entry->tag, concepts->codes.data + entry->other, entry->first};
    return true;
}
