/* Four places for each question; the one that was put longest ago gives way. Where the bytes are
 * used up, a hand goes round the sets and clears them until there is room. Answers are counted, so
 * that the lock is held for a look and not for a copy. */
#include "cache.h"

#include "base/hash.h"
#include "base/size.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { WAYS = 4, SETS = 16384 };

typedef struct entry {
    kept *answer; /* one reference; NULL: free */
    uint64_t hash, put;
} entry;

struct cache {
    const changes *history;
    pthread_mutex_t lock;
    size_t limit, bytes, hand;
    uint64_t seed, clock, hits, misses;
    entry sets[SETS][WAYS];
};

rz_status cache_new(size_t limit_bytes, const changes *history, cache **out, rz_error *error)
{
    cache *c = calloc(1, sizeof *c);
    if (c == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for the score cache");
    c->limit = limit_bytes;
    c->history = history;
    rz_random_bytes(&c->seed, sizeof c->seed);
    (void)pthread_mutex_init(&c->lock, NULL);
    *out = c;
    return RZ_OK;
}

void kept_drop(kept *k)
{
    if (k != NULL && atomic_fetch_sub(&k->references, 1) == 1)
        free(k);
}

static size_t bytes_of(const kept *k)
{
    return sizeof *k + k->question_n + k->length + 1;
}

static void clear(cache *c, entry *e)
{
    if (e->answer == NULL)
        return;
    c->bytes -= bytes_of(e->answer);
    kept_drop(e->answer);
    *e = (entry){0};
}

void cache_free(cache *c)
{
    if (c == NULL)
        return;
    for (size_t s = 0; s < SETS; s++)
        for (size_t w = 0; w < WAYS; w++)
            clear(c, &c->sets[s][w]);
    (void)pthread_mutex_destroy(&c->lock);
    free(c);
}

static bool is_entry(const entry *e, uint64_t hash, const char *question, size_t n)
{
    return e->answer != NULL && e->hash == hash && e->answer->question_n == n &&
           memcmp(e->answer->question, question, n) == 0;
}

kept *cache_get(cache *c, const char *question, size_t n)
{
    kept *found = NULL;
    uint64_t hash = rz_hash64(question, n, c->seed);
    (void)pthread_mutex_lock(&c->lock);
    entry *set = c->sets[hash % SETS];
    for (size_t w = 0; w < WAYS && found == NULL; w++) {
        if (!is_entry(&set[w], hash, question, n))
            continue;
        if (!changes_none_since(c->history, set[w].answer->mark, set[w].answer->place)) {
            clear(c, &set[w]);
            break;
        }
        found = set[w].answer;
        (void)atomic_fetch_add(&found->references, 1);
    }
    *(found != NULL ? &c->hits : &c->misses) += 1;
    (void)pthread_mutex_unlock(&c->lock);
    return found;
}

static kept *copy(const char *question, size_t n, uint64_t mark, size_t place,
                  const char patient_hash[33], const char *text, size_t length)
{
    size_t bytes;
    if (!rz_size_add(n, length, &bytes) || !rz_size_add(bytes, sizeof(kept) + 1, &bytes))
        return NULL;
    kept *k = malloc(bytes);
    if (k == NULL)
        return NULL;
    char *own_text = (char *)(k + 1), *own_question = own_text + length + 1;
    *k = (kept){.mark = mark,
                .place = place,
                .length = length,
                .question_n = n,
                .text = own_text,
                .question = own_question};
    atomic_init(&k->references, 1);
    memcpy(k->patient_hash, patient_hash, sizeof k->patient_hash);
    memcpy(own_text, text, length);
    own_text[length] = '\0';
    memcpy(own_question, question, n);
    return k;
}

void cache_put(cache *c, const char *question, size_t n, uint64_t mark, size_t place,
               const char patient_hash[33], const char *text, size_t length)
{
    kept *k = length < c->limit ? copy(question, n, mark, place, patient_hash, text, length) : NULL;
    if (k == NULL || bytes_of(k) > c->limit) {
        kept_drop(k);
        return;
    }
    uint64_t hash = rz_hash64(question, n, c->seed);
    (void)pthread_mutex_lock(&c->lock);
    entry *set = c->sets[hash % SETS], *chosen = &set[0];
    for (size_t w = 0; w < WAYS; w++) {
        if (is_entry(&set[w], hash, question, n)) {
            chosen = &set[w];
            break;
        }
        if (chosen->answer != NULL && (set[w].answer == NULL || set[w].put < chosen->put))
            chosen = &set[w];
    }
    clear(c, chosen);
    for (; c->bytes + bytes_of(k) > c->limit; c->hand = (c->hand + 1) % SETS)
        for (size_t w = 0; w < WAYS; w++)
            clear(c, &c->sets[c->hand][w]);
    *chosen = (entry){.answer = k, .hash = hash, .put = ++c->clock};
    c->bytes += bytes_of(k);
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
