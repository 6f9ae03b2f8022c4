/* An arena: many small allocations with one lifetime, freed whole. One per request, batch or
 * import row group. Not safe for use by two threads at once. */
#ifndef RZ_BASE_ARENA_H
#define RZ_BASE_ARENA_H

#include <stddef.h>

typedef struct rz_arena_block rz_arena_block;

typedef struct rz_arena {
    rz_arena_block *head;
    size_t used_bytes; /* over all blocks, for the limit */
    size_t limit_bytes;
} rz_arena;

/* Prepares an empty arena that may hand out at most `limit_bytes`. Allocates nothing yet. */
void rz_arena_init(rz_arena *arena, size_t limit_bytes);

/* Frees everything; the arena may be used again afterwards. Accepts a zeroed arena. */
void rz_arena_done(rz_arena *arena);

/* Forgets everything but keeps the largest block for the next round. */
void rz_arena_reset(rz_arena *arena);

/* Zeroed memory, aligned to 16 bytes, valid until reset or done.
 * Returns NULL when memory or the limit is exhausted or count * size overflows. */
void *rz_arena_alloc(rz_arena *arena, size_t count, size_t size);

/* Copies of text, borrowed until reset or done; NULL as above. The second takes n bytes. */
char *rz_arena_strdup(rz_arena *arena, const char *text);
char *rz_arena_strndup(rz_arena *arena, const char *text, size_t n);

#endif
