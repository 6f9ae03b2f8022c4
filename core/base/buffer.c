/* Bounded growing buffer. Growth doubles; the limit is checked before any allocation. */
#include "base/buffer.h"

#include "base/size.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char nothing[1];

void rz_buffer_init(rz_buffer *buffer, size_t limit)
{
    *buffer = (rz_buffer){.data = nothing, .limit = limit};
}

void rz_buffer_init_in(rz_buffer *buffer, char *memory, size_t n)
{
    memory[0] = '\0';
    *buffer = (rz_buffer){.data = memory, .capacity = n, .limit = n - 1, .fixed = true};
}

void rz_buffer_done(rz_buffer *buffer)
{
    if (buffer->capacity > 0 && !buffer->fixed)
        free(buffer->data);
    rz_buffer_init(buffer, buffer->limit);
}

void rz_buffer_clear(rz_buffer *buffer)
{
    buffer->length = 0;
    if (buffer->capacity > 0)
        buffer->data[0] = '\0';
}

/* Makes room for `more` bytes and the closing NUL. */
static rz_status reserve(rz_buffer *buffer, size_t more)
{
    size_t need;
    if (more > buffer->limit || buffer->length > buffer->limit - more ||
        !rz_size_add(buffer->length + more, 1, &need))
        return RZ_E_TOO_LARGE;
    if (need <= buffer->capacity)
        return RZ_OK;
    size_t capacity = buffer->capacity < 256 ? 256 : buffer->capacity;
    while (capacity < need) {
        if (capacity > buffer->limit / 2) {
            capacity = need;
            break;
        }
        capacity *= 2;
    }
    char *data = realloc(buffer->capacity > 0 ? buffer->data : NULL, capacity);
    if (data == NULL)
        return RZ_E_NO_MEMORY;
    data[buffer->length] = '\0';
    buffer->data = data;
    buffer->capacity = capacity;
    return RZ_OK;
}

rz_status rz_buffer_add(rz_buffer *buffer, const void *bytes, size_t n)
{
    rz_status status = reserve(buffer, n);
    if (status != RZ_OK)
        return status;
    if (n > 0)
        memcpy(buffer->data + buffer->length, bytes, n);
    buffer->length += n;
    buffer->data[buffer->length] = '\0';
    return RZ_OK;
}

rz_status rz_buffer_add_text(rz_buffer *buffer, const char *text)
{
    return rz_buffer_add(buffer, text, strlen(text));
}

rz_status rz_buffer_addf(rz_buffer *buffer, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    rz_status status = length < 0 ? RZ_E_INTERNAL : reserve(buffer, (size_t)length);
    if (status == RZ_OK) {
        (void)vsnprintf(buffer->data + buffer->length, (size_t)length + 1, format, again);
        buffer->length += (size_t)length;
    }
    va_end(again);
    return status;
}

char *rz_buffer_take(rz_buffer *buffer, size_t *length)
{
    if (buffer->fixed || reserve(buffer, 0) != RZ_OK)
        return NULL;
    char *data = buffer->data;
    if (length != NULL)
        *length = buffer->length;
    rz_buffer_init(buffer, buffer->limit);
    return data;
}
