/* Cuts a stream into lines in one buffer that grows to the longest line, up to a limit. */
#include "import/lines.h"

#include <stdlib.h>
#include <string.h>

enum { FIRST_CAPACITY = 1 << 18 };

rz_status rz_lines_open(rz_lines *lines, const char *path, rz_error *error)
{
    *lines = (rz_lines){.path = path};
    rz_status status = rz_stream_open(path, &lines->stream, error);
    if (status != RZ_OK)
        return status;
    lines->buffer = malloc(FIRST_CAPACITY);
    if (lines->buffer == NULL) {
        rz_lines_close(lines);
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory to read %s", path);
    }
    lines->capacity = FIRST_CAPACITY;
    return RZ_OK;
}

void rz_lines_close(rz_lines *lines)
{
    rz_stream_close(lines->stream);
    free(lines->buffer);
    *lines = (rz_lines){0};
}

/* Length of the UTF-8 character at `s` within n bytes, 0 when it is none. */
static size_t character(const unsigned char *s, size_t n)
{
    size_t length = s[0] < 0x80 ? 1 : s[0] >= 0xC2 && s[0] < 0xE0 ? 2 : 0;
    if (length == 0 && s[0] >= 0xE0 && s[0] < 0xF5)
        length = s[0] < 0xF0 ? 3 : 4;
    if (length == 0 || length > n)
        return 0;
    for (size_t i = 1; i < length; i++)
        if ((s[i] & 0xC0) != 0x80)
            return 0;
    /* Overlong forms, surrogates and what lies past U+10FFFF. */
    if ((s[0] == 0xE0 && s[1] < 0xA0) || (s[0] == 0xED && s[1] > 0x9F) ||
        (s[0] == 0xF0 && s[1] < 0x90) || (s[0] == 0xF4 && s[1] > 0x8F))
        return 0;
    return length;
}

static rz_status check_text(const rz_lines *lines, const char *line, size_t n, rz_error *error)
{
    const unsigned char *s = (const unsigned char *)line;
    size_t i = 0, column = 1;
    while (i < n) {
        uint64_t eight;
        /* Eight plain bytes at once: no high bit, and none of them zero. */
        if (n - i >= 8) {
            memcpy(&eight, s + i, 8);
            if (((eight | (eight - UINT64_C(0x0101010101010101))) & UINT64_C(0x8080808080808080)) ==
                0) {
                i += 8;
                column += 8;
                continue;
            }
        }
        size_t length = s[i] != 0 ? character(s + i, n - i) : 0;
        if (length == 0)
            return rz_fail(error, RZ_E_FORMAT,
                           "%s: line %llu, column %zu: byte 0x%02x is not UTF-8 text; convert the "
                           "file to UTF-8",
                           lines->path, (unsigned long long)lines->number, column, s[i]);
        i += length;
        column++;
    }
    return RZ_OK;
}

/* Makes room behind the unread bytes and reads more of them. */
static rz_status more_bytes(rz_lines *lines, rz_error *error)
{
    if (lines->at > 0) {
        memmove(lines->buffer, lines->buffer + lines->at, lines->end - lines->at);
        lines->end -= lines->at;
        lines->at = 0;
    }
    if (lines->end + 1 >= lines->capacity) {
        if (lines->capacity >= RZ_LINE_BYTES_MAX)
            return rz_fail(error, RZ_E_TOO_LARGE, "%s: line %llu is longer than %d bytes",
                           lines->path, (unsigned long long)lines->number + 1, RZ_LINE_BYTES_MAX);
        char *buffer = realloc(lines->buffer, lines->capacity * 2);
        if (buffer == NULL)
            return rz_fail(error, RZ_E_NO_MEMORY, "no memory for line %llu of %s",
                           (unsigned long long)lines->number + 1, lines->path);
        lines->buffer = buffer;
        lines->capacity *= 2;
    }
    size_t got = 0;
    rz_status status = rz_stream_read(lines->stream, lines->buffer + lines->end,
                                      lines->capacity - lines->end - 1, &got, error);
    if (status != RZ_OK)
        rz_error_prefix(error, "%s: line %llu: ", lines->path,
                        (unsigned long long)lines->number + 1);
    lines->end += got;
    lines->stream_ended = got == 0;
    return status;
}

rz_status rz_lines_next(rz_lines *lines, char **line, size_t *n, bool *more, rz_error *error)
{
    size_t searched = 0;
    char *newline = NULL;
    for (;;) {
        size_t unread = lines->end - lines->at;
        newline = unread > searched
                      ? memchr(lines->buffer + lines->at + searched, '\n', unread - searched)
                      : NULL;
        if (newline != NULL || lines->stream_ended)
            break;
        searched = unread;
        rz_status status = more_bytes(lines, error);
        if (status != RZ_OK)
            return status;
    }
    char *from = lines->buffer + lines->at;
    size_t length = newline != NULL ? (size_t)(newline - from) : lines->end - lines->at;
    if (newline == NULL && length == 0) {
        *more = false;
        return RZ_OK;
    }
    lines->at += length + (newline != NULL);
    lines->number++;
    if (length > 0 && from[length - 1] == '\r')
        length--;
    from[length] = '\0';
    if (lines->number == 1 && length >= 3 && memcmp(from, "\xEF\xBB\xBF", 3) == 0) {
        from += 3;
        length -= 3;
    }
    rz_status status = check_text(lines, from, length, error);
    if (status != RZ_OK)
        return status;
    *line = from;
    *n = length;
    *more = true;
    return RZ_OK;
}
