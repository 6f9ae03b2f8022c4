/* The event record and the claim: what every door of Rezept (import, HTTP, simulator) hands on.
 *
 * A claim belongs to one patient and one facility and holds events. All strings are borrowed: they
 * are valid until the producer's next step, and consumers copy what they keep. */
#ifndef RZ_CLAIMS_EVENT_H
#define RZ_CLAIMS_EVENT_H

#include "claims/code.h"
#include "claims/day.h"

#include <stdint.h>

/* The numbers are stored: only ever append. */
typedef enum rz_sex { RZ_SEX_UNKNOWN, RZ_SEX_FEMALE, RZ_SEX_MALE } rz_sex;
typedef enum rz_setting {
    RZ_SETTING_UNKNOWN,
    RZ_SETTING_OUTPATIENT,
    RZ_SETTING_INPATIENT,
    RZ_SETTING_PHARMACY
} rz_setting;

enum {
    /* Suspected diagnoses (UKE modifier 8002, FHIR provisional or differential) are kept and
     * shown, but are neither token nor label. */
    RZ_EVENT_SUSPECTED = 1u << 0
};

typedef struct rz_event {
    int32_t day;       /* when it happened */
    int32_t known_day; /* when the hospital could know it; >= day */
    rz_kind kind;
    rz_code_system system;
    const char *code; /* normalised, at most RZ_CODE_TEXT - 1 characters */
    double value;     /* NaN when there is none; days of supply for medications */
    const char *unit; /* NULL when there is none */
    uint32_t flags;
} rz_event;

typedef struct rz_claim {
    const char *claim_id, *facility, *patient_id;
    rz_sex sex;
    int32_t birth_day; /* RZ_DAY_NONE when unknown */
    rz_setting setting;
    int32_t start_day, end_day, known_day;
    const rz_event *events;
    size_t n_events;
} rz_claim;

/* "F", "M", "U"; "outpatient" … */
const char *rz_sex_name(rz_sex sex);
bool rz_sex_from_name(const char *name, rz_sex *out);
const char *rz_setting_name(rz_setting setting);
bool rz_setting_from_name(const char *name, rz_setting *out);

/* SHA-256 over the claim's content in a canonical order (events sorted, strings length-prefixed):
 * equal digests mean the same claim, which is what idempotency compares. */
RZ_MUST_CHECK rz_status rz_claim_digest(const rz_claim *claim, unsigned char out[32],
                                        rz_error *error);

#endif
