/* Claims travel in batches through a ring of slots. A slot belongs to the reading thread until it
 * is full, then to the caller until the next one is taken: nobody waits for a lock while working.
 */
#include "import/ahead.h"

#include "base/arena.h"
#include "import/reader.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { SLOTS = 4, CLAIMS_PER_SLOT = 256, SLOT_BYTES = 1 << 20, ARENA_BYTES_MAX = 256 << 20 };

typedef struct place { /* where a claim stands in the files */
    const char *path;
    uint64_t line;
} place;

typedef struct slot {
    rz_arena arena; /* of the claims' texts and events */
    rz_claim claims[CLAIMS_PER_SLOT];
    place places[CLAIMS_PER_SLOT];
    size_t n;
    bool last;        /* nothing comes after its claims, but the status */
    rz_status status; /* of reading what followed them */
    rz_error error;
    rz_import_summary summary; /* after its claims */
} slot;

struct rz_ahead {
    rz_import *import;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t filled, freed;
    size_t n_filled, n_taken; /* slots filled and given back so far; under lock */
    bool stop;                /* under lock */
    slot slots[SLOTS];
    /* Of the caller: */
    slot *current;
    size_t next;             /* claim of the current slot */
    rz_import_summary shown; /* the slot's, with what the caller refused */
    rz_import_summary late;  /* what the caller refused, as positive counts */
};

static bool copy_claim(rz_arena *arena, const rz_claim *claim, rz_claim *out)
{
    rz_event *events = rz_arena_alloc(arena, claim->n_events + 1, sizeof *events);
    *out = *claim;
    out->claim_id = rz_arena_strdup(arena, claim->claim_id);
    out->facility = rz_arena_strdup(arena, claim->facility);
    out->patient_id = rz_arena_strdup(arena, claim->patient_id);
    bool whole =
        events != NULL && out->claim_id != NULL && out->facility != NULL && out->patient_id != NULL;
    for (size_t i = 0; whole && i < claim->n_events; i++) {
        const rz_event *event = &claim->events[i];
        events[i] = *event;
        events[i].code = rz_arena_strdup(arena, event->code);
        events[i].unit = event->unit == NULL ? NULL : rz_arena_strdup(arena, event->unit);
        whole = events[i].code != NULL && (event->unit == NULL || events[i].unit != NULL);
    }
    out->events = events;
    return whole;
}

/* Reads claims until the slot is full, the files end, or one cannot be read. */
static void fill(rz_import *import, slot *s)
{
    rz_arena_reset(&s->arena);
    s->n = 0;
    s->status = RZ_OK;
    s->error = (rz_error){0};
    while (s->status == RZ_OK && !s->last && s->n < CLAIMS_PER_SLOT &&
           s->arena.used_bytes < SLOT_BYTES) {
        rz_claim claim;
        bool more = false;
        s->status = import->format->next(import, &claim, &more, &s->error);
        if (s->status != RZ_OK || !more) {
            s->last = true;
        } else if (!copy_claim(&s->arena, &claim, &s->claims[s->n])) {
            s->status = rz_fail(&s->error, RZ_E_NO_MEMORY, "no memory for a claim of %zu events",
                                claim.n_events);
            s->last = true;
        } else {
            s->places[s->n++] = (place){import->paths[import->current], rz_reader_place(import)};
        }
    }
    s->summary = import->summary;
}

static void *read_ahead(void *argument)
{
    rz_ahead *a = argument;
    bool last = false;
    (void)pthread_mutex_lock(&a->lock);
    while (!last) {
        while (!a->stop && a->n_filled - a->n_taken >= SLOTS)
            (void)pthread_cond_wait(&a->freed, &a->lock);
        if (a->stop)
            break;
        slot *s = &a->slots[a->n_filled % SLOTS];
        (void)pthread_mutex_unlock(&a->lock);
        fill(a->import, s);
        last = s->last;
        (void)pthread_mutex_lock(&a->lock);
        a->n_filled++;
        (void)pthread_cond_signal(&a->filled);
    }
    (void)pthread_mutex_unlock(&a->lock);
    return NULL;
}

static void release(rz_ahead *a)
{
    for (size_t i = 0; i < SLOTS; i++)
        rz_arena_done(&a->slots[i].arena);
    (void)pthread_cond_destroy(&a->filled);
    (void)pthread_cond_destroy(&a->freed);
    (void)pthread_mutex_destroy(&a->lock);
    free(a);
}

rz_status rz_ahead_open(rz_import *import, rz_ahead **out, rz_error *error)
{
    rz_ahead *a = calloc(1, sizeof *a);
    if (a == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory to read ahead");
    a->import = import;
    a->shown = import->summary;
    (void)pthread_mutex_init(&a->lock, NULL);
    (void)pthread_cond_init(&a->filled, NULL);
    (void)pthread_cond_init(&a->freed, NULL);
    for (size_t i = 0; i < SLOTS; i++)
        rz_arena_init(&a->slots[i].arena, ARENA_BYTES_MAX);
    if (pthread_create(&a->thread, NULL, read_ahead, a) != 0) {
        release(a);
        return rz_fail(error, RZ_E_BUSY, "the thread that reads ahead could not be started");
    }
    *out = a;
    return RZ_OK;
}

void rz_ahead_close(rz_ahead *a)
{
    if (a == NULL)
        return;
    (void)pthread_mutex_lock(&a->lock);
    a->stop = true;
    (void)pthread_cond_signal(&a->freed);
    (void)pthread_mutex_unlock(&a->lock);
    (void)pthread_join(a->thread, NULL);
    release(a);
}

/* The slot's summary less what the caller would not have. */
static void show(rz_ahead *a)
{
    const rz_import_summary *late = &a->late;
    rz_import_summary *s = &a->shown;
    *s = a->current->summary;
    s->claims -= late->claims;
    s->events -= late->events;
    for (int i = 0; i < RZ_KIND_COUNT; i++)
        s->events_by_kind[i] -= late->events_by_kind[i];
    for (int i = 0; i < RZ_SYSTEM_COUNT; i++)
        s->events_by_system[i] -= late->events_by_system[i];
    for (size_t i = 0; i < late->n_refusals; i++)
        rz_summary_add(s, &late->refusals[i]);
}

/* Gives the current slot back and waits for the next one. */
static void take_slot(rz_ahead *a)
{
    (void)pthread_mutex_lock(&a->lock);
    if (a->current != NULL) {
        a->n_taken++;
        (void)pthread_cond_signal(&a->freed);
    }
    while (a->n_filled == a->n_taken)
        (void)pthread_cond_wait(&a->filled, &a->lock);
    a->current = &a->slots[a->n_taken % SLOTS];
    (void)pthread_mutex_unlock(&a->lock);
    a->next = 0;
    show(a);
}

rz_status rz_ahead_next(rz_ahead *a, rz_claim *out, bool *more, rz_error *error)
{
    while (a->current == NULL || (a->next == a->current->n && !a->current->last))
        take_slot(a);
    slot *s = a->current;
    if (a->next < s->n) {
        *out = s->claims[a->next++];
        *more = true;
        return RZ_OK;
    }
    if (s->status != RZ_OK)
        return rz_fail(error, s->status, "%s", s->error.text);
    *more = false;
    return RZ_OK;
}

void rz_ahead_refuse(rz_ahead *a, const rz_claim *claim, const char *reason)
{
    rz_import_summary *late = &a->late;
    const place *at = &a->current->places[a->next - 1];
    late->claims++;
    late->events += claim->n_events;
    for (size_t i = 0; i < claim->n_events; i++) {
        late->events_by_kind[claim->events[i].kind]++;
        late->events_by_system[claim->events[i].system]++;
    }
    rz_summary_refuse(late, reason, at->path, at->line);
    show(a);
}

const rz_import_summary *rz_ahead_summary(const rz_ahead *a)
{
    return &a->shown;
}
