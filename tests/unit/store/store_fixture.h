/* A store in a folder of its own and claims in one line, for the tests of the store. */
#ifndef RZ_TESTS_STORE_FIXTURE_H
#define RZ_TESTS_STORE_FIXTURE_H

#include "../check.h"
#include "../folder.h"

#include "store/store.h"

#include <sys/stat.h>
#include <unistd.h>

static char fixture_folder[] = "/tmp/rezept-store-XXXXXX";

static inline int fixture_make(void **state)
{
    (void)state;
    return temp_folder(fixture_folder) != NULL ? 0 : -1;
}

static inline const char *fixture_path(const char *name)
{
    static char path[128];
    (void)snprintf(path, sizeof path, "%s/%s.db", fixture_folder, name);
    return path;
}

static inline rz_store *fixture_open(const char *name, bool write)
{
    rz_error error = {0};
    rz_store *store = NULL;
    rz_store_options options = rz_store_options_defaults();
    options.write = write;
    check_ok(rz_store_open(fixture_path(name), &options, &store, &error));
    return store;
}

#define DIAGNOSIS(d, c)                                                                            \
    {                                                                                              \
        .day = (d), .known_day = (d), .kind = RZ_KIND_DIAGNOSIS, .system = RZ_SYSTEM_ICD10,        \
        .code = (c), .value = NAN                                                                  \
    }

/* A claim of facility F1 known at the end of day `day`, woman born on day -5000. */
static inline rz_claim fixture_claim(const char *id, const char *patient, int32_t day,
                                     const rz_event *events, size_t n)
{
    return (rz_claim){.claim_id = id,
                      .facility = "F1",
                      .patient_id = patient,
                      .sex = RZ_SEX_FEMALE,
                      .birth_day = -5000,
                      .setting = RZ_SETTING_OUTPATIENT,
                      .start_day = day,
                      .end_day = day,
                      .known_day = day,
                      .events = events,
                      .n_events = n};
}

static inline rz_put_outcome fixture_put(rz_store *store, const rz_claim *claim)
{
    rz_error error = {0};
    rz_put_outcome outcome = RZ_PUT_REFUSED;
    check_ok(rz_store_put(store, claim, &outcome, &error));
    return outcome;
}

/* One claim as its own batch. */
static inline rz_put_outcome fixture_post(rz_store *store, const rz_claim *claim)
{
    rz_error error = {0};
    check_ok(rz_store_begin(store, &error));
    rz_put_outcome outcome = fixture_put(store, claim);
    check_ok(rz_store_commit(store, &error));
    return outcome;
}

static inline rz_patient_key fixture_patient(rz_store *store, const char *id)
{
    rz_error error = {0};
    rz_patient patient = {0};
    check_ok(rz_store_patient(store, NULL, id, &patient, &error));
    return patient.key;
}

/* The codes of a timeline, separated by blanks, in a static buffer. */
static inline const char *fixture_codes(rz_store *store, rz_patient_key key, int32_t as_of,
                                        int64_t recorded)
{
    static char text[512];
    rz_error error = {0};
    rz_arena arena;
    rz_timeline *timeline = NULL;
    rz_arena_init(&arena, 1 << 20);
    check_ok(rz_store_timeline(store, key, as_of, recorded, &arena, &timeline, &error));
    text[0] = '\0';
    for (size_t i = 0; i < timeline->n_events; i++) {
        size_t used = strlen(text);
        (void)snprintf(text + used, sizeof text - used, "%s%s", i > 0 ? " " : "",
                       timeline->events[i].code);
    }
    rz_arena_done(&arena);
    return text;
}

#endif
