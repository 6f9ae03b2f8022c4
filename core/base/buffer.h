/* A growing byte buffer with a maximum that is fixed when it is made. The content is always
 * followed by a NUL byte that is not counted, so that text in it can be used as a C string. */
#ifndef RZ_BASE_BUFFER_H
#define RZ_BASE_BUFFER_H

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct rz_buffer {
    char *data; /* owned unless `fixed`; "" while empty */
    size_t length, capacity, limit;
    bool fixed;
} rz_buffer;

/* Prepares an empty buffer of at most `limit` bytes of content. Allocates nothing yet. */
void rz_buffer_init(rz_buffer *buffer, size_t limit);
/* Prepares an empty buffer in the caller's memory, which never grows: n > 0 bytes, one of them for
 * the NUL. */
void rz_buffer_init_in(rz_buffer *buffer, char *memory, size_t n);
/* Frees what the buffer owns. */
void rz_buffer_done(rz_buffer *buffer);

/* Empties the buffer and keeps its memory. */
void rz_buffer_clear(rz_buffer *buffer);

/* Append bytes, a string, or formatted text.
 * Errors  RZ_E_TOO_LARGE past the limit, RZ_E_NO_MEMORY; the content is then unchanged. */
RZ_MUST_CHECK rz_status rz_buffer_add(rz_buffer *buffer, const void *bytes, size_t n);
RZ_MUST_CHECK rz_status rz_buffer_add_text(rz_buffer *buffer, const char *text);
RZ_MUST_CHECK rz_status rz_buffer_addf(rz_buffer *buffer, const char *format, ...) RZ_PRINTF(2, 3);

/* Takes the content out; the caller frees it with free(). NULL when memory is exhausted,
 * and of memory that is the caller's. */
char *rz_buffer_take(rz_buffer *buffer, size_t *length);

#endif
