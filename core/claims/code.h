/* Code systems and kinds, and how codes are written. Storage keeps a code as its system writes it
 * (trimmed, upper case, ICD without the dot); truncation belongs to a vocabulary, never here. */
#ifndef RZ_CLAIMS_CODE_H
#define RZ_CLAIMS_CODE_H

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>

/* enum name, name in files and URLs. The numbers are stored: only ever append. */
#define RZ_CODE_SYSTEM_MAP(X)                                                                      \
    X(ICD10, "icd10")                                                                              \
    X(ICD10CM, "icd10cm")                                                                          \
    X(ICD9CM, "icd9cm")                                                                            \
    X(ATC, "atc")                                                                                  \
    X(YJ, "yj")                                                                                    \
    X(HOT, "hot")                                                                                  \
    X(NDC, "ndc")                                                                                  \
    X(RXNORM, "rxnorm")                                                                            \
    X(SNOMED, "snomed")                                                                            \
    X(LOINC, "loinc")                                                                              \
    X(CPT, "cpt")                                                                                  \
    X(HCPCS, "hcpcs")                                                                              \
    X(JP_PROCEDURE, "jp-procedure")                                                                \
    X(LOCAL, "local")

typedef enum rz_code_system {
#define RZ_CODE_SYSTEM_ENUM(id, name) RZ_SYSTEM_##id,
    RZ_CODE_SYSTEM_MAP(RZ_CODE_SYSTEM_ENUM)
#undef RZ_CODE_SYSTEM_ENUM
        RZ_SYSTEM_COUNT
} rz_code_system;

#define RZ_KIND_MAP(X)                                                                             \
    X(DIAGNOSIS, "diagnosis")                                                                      \
    X(MEDICATION, "medication")                                                                    \
    X(PROCEDURE, "procedure")                                                                      \
    X(LAB, "lab")                                                                                  \
    X(ENCOUNTER, "encounter")                                                                      \
    X(DEATH, "death")

typedef enum rz_kind {
#define RZ_KIND_ENUM(id, name) RZ_KIND_##id,
    RZ_KIND_MAP(RZ_KIND_ENUM)
#undef RZ_KIND_ENUM
        RZ_KIND_COUNT
} rz_kind;

enum { RZ_CODE_TEXT = 64 }; /* longest stored code with its NUL */

const char *rz_code_system_name(rz_code_system system); /* borrowed, static */
bool rz_code_system_from_name(const char *name, rz_code_system *out);
const char *rz_kind_name(rz_kind kind); /* borrowed, static */
bool rz_kind_from_name(const char *name, rz_kind *out);

/* Normalises a code as its system writes it into `out`.
 * Errors  RZ_E_INVALID when it is empty, too long, or impossible in the system ("not ICD-10: a
 *         letter and two digits first"). */
RZ_MUST_CHECK rz_status rz_code_normalise(rz_code_system system, const char *text, size_t n,
                                          char out[RZ_CODE_TEXT], rz_error *error);

/* Length of the code after truncation to a vocabulary's level: icd10 and icd10cm to `icd10_chars`
 * (4 by default), yj to `yj_chars` (7), atc to `atc_chars` (7); other systems whole. */
typedef struct rz_code_levels {
    int icd10_chars, icd9_chars, yj_chars, atc_chars, ndc_chars; /* 0 = whole code */
} rz_code_levels;

rz_code_levels rz_code_levels_defaults(void); /* 4, 0, 7, 7, 9 */
size_t rz_code_truncated_length(rz_code_system system, const char *code, rz_code_levels levels);

#endif
