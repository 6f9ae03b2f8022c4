/* The clock and, for each of many places that ids are spread over, when it was changed last. The
 * table is fixed, so that remembering costs the same for ten patients and ten million. */
#include "changes.h"

#include "base/hash.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { PLACES = 1 << 18 };

struct changes {
    atomic_ullong clock;
    atomic_ullong all;    /* when everything changed last */
    pthread_mutex_t lock; /* of ticking */
    /* Of the writer: places that were noted. */
    uint32_t *noted;
    size_t n, capacity;
    bool lost; /* a note found no memory: the next publish changes everything */
    atomic_ullong places[PLACES];
};

rz_status changes_new(changes **out, rz_error *error)
{
    changes *c = calloc(1, sizeof *c);
    if (c == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for what changes");
    (void)pthread_mutex_init(&c->lock, NULL);
    *out = c;
    return RZ_OK;
}

void changes_free(changes *c)
{
    if (c == NULL)
        return;
    (void)pthread_mutex_destroy(&c->lock);
    free(c->noted);
    free(c);
}

uint64_t changes_now(const changes *c)
{
    return atomic_load(&c->clock);
}

size_t changes_place(const char *id)
{
    return (size_t)rz_hash64(id, strlen(id), 0) % PLACES;
}

bool changes_none_since(const changes *c, uint64_t mark, size_t place)
{
    return atomic_load(&c->places[place]) <= mark && atomic_load(&c->all) <= mark;
}

void changes_note(changes *c, const char *id)
{
    uint32_t place = (uint32_t)changes_place(id);
    if (c->n > 0 && c->noted[c->n - 1] == place)
        return; /* claims come sorted by patient */
    if (c->n == c->capacity) {
        size_t capacity = c->capacity == 0 ? 256 : 2 * c->capacity;
        uint32_t *grown = capacity <= PLACES ? realloc(c->noted, capacity * sizeof *grown) : NULL;
        if (grown == NULL) {
            c->lost = true;
            return;
        }
        c->noted = grown;
        c->capacity = capacity;
    }
    c->noted[c->n++] = place;
}

/* The clock last: who sees the new time and reads the store then sees the change. */
void changes_publish(changes *c)
{
    if (c->n == 0 && !c->lost)
        return;
    (void)pthread_mutex_lock(&c->lock);
    unsigned long long now = atomic_load(&c->clock) + 1;
    for (size_t i = 0; i < c->n; i++)
        atomic_store(&c->places[c->noted[i]], now);
    if (c->lost)
        atomic_store(&c->all, now);
    atomic_store(&c->clock, now);
    (void)pthread_mutex_unlock(&c->lock);
    c->n = 0;
    c->lost = false;
}

void changes_all(changes *c)
{
    (void)pthread_mutex_lock(&c->lock);
    unsigned long long now = atomic_load(&c->clock) + 1;
    atomic_store(&c->all, now);
    atomic_store(&c->clock, now);
    (void)pthread_mutex_unlock(&c->lock);
}
