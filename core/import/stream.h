/* A file as a stream of bytes, unpacked on the way. Plain, gzip (also several members in a row) and
 * zstd (several frames) are told apart by their first bytes, never by the name. Private to import;
 * its source is the only file that meets zlib and zstd. */
#ifndef RZ_IMPORT_STREAM_H
#define RZ_IMPORT_STREAM_H

#include "base/status.h"

#include <stddef.h>
#include <stdint.h>

typedef struct rz_stream rz_stream;

/* Errors  RZ_E_NOT_FOUND, RZ_E_IO, RZ_E_NO_MEMORY; RZ_E_UNSUPPORTED for Parquet, zip, bzip2, xz and
 *         UTF-16, each with the remedy. All name the path. */
RZ_MUST_CHECK rz_status rz_stream_open(const char *path, rz_stream **out, rz_error *error);
void rz_stream_close(rz_stream *stream); /* accepts NULL */

/* Reads up to `cap` unpacked bytes; *got is 0 only at the end.
 * Errors  RZ_E_FORMAT when packed data is damaged or ends too early, naming the byte; RZ_E_IO. */
RZ_MUST_CHECK rz_status rz_stream_read(rz_stream *stream, void *out, size_t cap, size_t *got,
                                       rz_error *error);

/* Bytes of the file that were read so far, as stored. */
uint64_t rz_stream_bytes(const rz_stream *stream);

#endif
