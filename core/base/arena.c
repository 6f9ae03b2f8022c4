/* Arena over a chain of growing blocks. Requests larger than a block get their own. */
#include "base/arena.h"

#include "base/size.h"

#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_BLOCK_BYTES = 4096, LARGEST_STEP_BYTES = 1 << 20, ALIGNMENT = 16 };

struct rz_arena_block {
    rz_arena_block *next;
    size_t capacity, used;
    alignas(ALIGNMENT) unsigned char bytes[];
};

void rz_arena_init(rz_arena *arena, size_t limit_bytes)
{
    *arena = (rz_arena){.limit_bytes = limit_bytes};
}

void rz_arena_done(rz_arena *arena)
{
    rz_arena_block *block = arena->head;
    while (block != NULL) {
        rz_arena_block *next = block->next;
        free(block);
        block = next;
    }
    arena->head = NULL;
    arena->used_bytes = 0;
}

void rz_arena_reset(rz_arena *arena)
{
    rz_arena_block *largest = NULL;
    rz_arena_block *block = arena->head;
    while (block != NULL) {
        rz_arena_block *next = block->next;
        if (largest == NULL || block->capacity > largest->capacity) {
            free(largest);
            largest = block;
        } else {
            free(block);
        }
        block = next;
    }
    if (largest != NULL) {
        largest->next = NULL;
        largest->used = 0;
    }
    arena->head = largest;
    arena->used_bytes = 0;
}

static rz_arena_block *grow(rz_arena *arena, size_t need)
{
    size_t capacity = arena->head != NULL ? arena->head->capacity * 2 : FIRST_BLOCK_BYTES;
    if (capacity > LARGEST_STEP_BYTES)
        capacity = LARGEST_STEP_BYTES;
    if (capacity < need)
        capacity = need;
    size_t total;
    if (!rz_size_add(capacity, sizeof(rz_arena_block), &total))
        return NULL;
    rz_arena_block *block = malloc(total);
    if (block == NULL)
        return NULL;
    block->next = arena->head;
    block->capacity = capacity;
    block->used = 0;
    arena->head = block;
    return block;
}

void *rz_arena_alloc(rz_arena *arena, size_t count, size_t size)
{
    size_t bytes;
    if (!rz_size_mul(count, size, &bytes) || !rz_size_add(bytes, ALIGNMENT - 1, &bytes))
        return NULL;
    bytes &= ~(size_t)(ALIGNMENT - 1);
    if (bytes == 0)
        bytes = ALIGNMENT;
    if (bytes > arena->limit_bytes || arena->used_bytes > arena->limit_bytes - bytes)
        return NULL;
    rz_arena_block *block = arena->head;
    if (block == NULL || block->capacity - block->used < bytes)
        block = grow(arena, bytes);
    if (block == NULL)
        return NULL;
    void *memory = block->bytes + block->used;
    block->used += bytes;
    arena->used_bytes += bytes;
    return memset(memory, 0, bytes);
}

char *rz_arena_strndup(rz_arena *arena, const char *text, size_t n)
{
    size_t bytes;
    if (!rz_size_add(n, 1, &bytes))
        return NULL;
    char *copy = rz_arena_alloc(arena, bytes, 1);
    if (copy != NULL)
        memcpy(copy, text, n);
    return copy;
}

char *rz_arena_strdup(rz_arena *arena, const char *text)
{
    return rz_arena_strndup(arena, text, strlen(text));
}
