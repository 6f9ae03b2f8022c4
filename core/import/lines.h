/* Lines of text from a stream: numbered, without their line ends, checked to be UTF-8. Private. */
#ifndef RZ_IMPORT_LINES_H
#define RZ_IMPORT_LINES_H

#include "import/stream.h"

#include <stdbool.h>

enum { RZ_LINE_BYTES_MAX = 16 << 20 };

typedef struct rz_lines {
    const char *path; /* borrowed, for messages */
    rz_stream *stream;
    char *buffer;
    size_t capacity, at, end;
    bool stream_ended;
    uint64_t number; /* of the line that was handed out last, from 1 */
} rz_lines;

/* `path` must outlive the lines. Errors as rz_stream_open. */
RZ_MUST_CHECK rz_status rz_lines_open(rz_lines *lines, const char *path, rz_error *error);
void rz_lines_close(rz_lines *lines); /* accepts a zeroed one */

/* The next line, NUL-terminated and writable, valid until the next call. LF and CRLF end a line, a
 * byte order mark before the first is dropped. *more becomes false after the last line.
 * Errors  RZ_E_FORMAT naming file, line and column for bytes that are not UTF-8, NUL bytes, and
 *         damaged packing; RZ_E_TOO_LARGE; RZ_E_IO; RZ_E_NO_MEMORY. */
RZ_MUST_CHECK rz_status rz_lines_next(rz_lines *lines, char **line, size_t *n, bool *more,
                                      rz_error *error);

#endif
