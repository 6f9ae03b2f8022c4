/* Four places for each key; the one that was put longest ago gives way. Where the bytes are used
 * up, a hand goes round the sets and clears them until there is room. */
#include "cache.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { WAYS = 4, SETS = 16384 };

typedef struct entry {
    cache_key key;
    char *text;
    size_t length;
    uint64_t put;
} entry;

struct cache {
    pthread_mutex_t lock;
    size_t limit, bytes, hand;
    uint64_t clock, hits, misses;
    entry sets[SETS][WAYS];
};

rz_status cache_new(size_t limit_bytes, cache **out, rz_error *error)
{
    cache *c = calloc(1, sizeof *c);
    if (c == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for the score cache");
    c->limit = limit_bytes;
    (void)pthread_mutex_init(&c->lock, NULL);
    *out = c;
    return RZ_OK;
}

void cache_free(cache *c)
{
    if (c == NULL)
        return;
    for (size_t s = 0; s < SETS; s++)
        for (size_t w = 0; w < WAYS; w++)
            free(c->sets[s][w].text);
    (void)pthread_mutex_destroy(&c->lock);
    free(c);
}

static entry *set_of(cache *c, const cache_key *key)
{
    return c->sets[(key->bytes[0] | (size_t)key->bytes[1] << 8) % SETS];
}

char *cache_get(cache *c, const cache_key *key, size_t *length)
{
    char *text = NULL;
    (void)pthread_mutex_lock(&c->lock);
    entry *set = set_of(c, key);
    for (size_t w = 0; w < WAYS && text == NULL; w++) {
        if (set[w].text == NULL || memcmp(&set[w].key, key, sizeof *key) != 0)
            continue;
        text = malloc(set[w].length + 1);
        if (text != NULL)
            memcpy(text, set[w].text, set[w].length + 1);
        *length = set[w].length;
    }
    *(text != NULL ? &c->hits : &c->misses) += 1;
    (void)pthread_mutex_unlock(&c->lock);
    return text;
}

static void clear(cache *c, entry *e)
{
    c->bytes -= e->length;
    free(e->text);
    *e = (entry){0};
}

void cache_put(cache *c, const cache_key *key, const char *text, size_t length)
{
    char *copy = length < c->limit ? malloc(length + 1) : NULL;
    if (copy == NULL)
        return;
    memcpy(copy, text, length);
    copy[length] = '\0';
    (void)pthread_mutex_lock(&c->lock);
    entry *set = set_of(c, key), *place = &set[0];
    for (size_t w = 0; w < WAYS; w++) {
        if (set[w].text != NULL && memcmp(&set[w].key, key, sizeof *key) == 0) {
            place = &set[w];
            break;
        }
        if (place->text != NULL && (set[w].text == NULL || set[w].put < place->put))
            place = &set[w];
    }
    clear(c, place);
    for (; c->bytes + length > c->limit; c->hand = (c->hand + 1) % SETS)
        for (size_t w = 0; w < WAYS; w++)
            clear(c, &c->sets[c->hand][w]);
    *place = (entry){.key = *key, .text = copy, .length = length, .put = ++c->clock};
    c->bytes += length;
    (void)pthread_mutex_unlock(&c->lock);
}

void cache_figures(cache *c, uint64_t *hits, uint64_t *misses, size_t *bytes)
{
    (void)pthread_mutex_lock(&c->lock);
    *hits = c->hits;
    *misses = c->misses;
    *bytes = c->bytes;
    (void)pthread_mutex_unlock(&c->lock);
}
