/* Files that tests of import make for themselves. */
#ifndef RZ_TESTS_IMPORT_FILES_H
#define RZ_TESTS_IMPORT_FILES_H

#include "check.h"

#include "claims/event.h"
#include "import/import.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

typedef struct packed {
    unsigned char bytes[1 << 16];
    size_t n;
} packed;

static inline void pack_gzip(packed *out, const char *text, size_t n)
{
    z_stream z = {0};
    assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_in = (unsigned char *)(uintptr_t)text;
    z.avail_in = (unsigned)n;
    z.next_out = out->bytes + out->n;
    z.avail_out = (unsigned)(sizeof out->bytes - out->n);
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    out->n = sizeof out->bytes - z.avail_out;
    (void)deflateEnd(&z);
}

static inline void pack_zstd(packed *out, const char *text, size_t n)
{
    ZSTD_CCtx *context = ZSTD_createCCtx();
    assert_non_null(context);
    (void)ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1);
    size_t got = ZSTD_compress2(context, out->bytes + out->n, sizeof out->bytes - out->n, text, n);
    assert_false(ZSTD_isError(got));
    out->n += got;
    (void)ZSTD_freeCCtx(context);
}

/* Writes a file of this name into a new folder under /tmp, whose path is kept in `path`. */
static inline void make_file(char *path, size_t cap, const char *name, const void *bytes, size_t n)
{
    char folder[] = "/tmp/rezept-import-XXXXXX";
    assert_non_null(mkdtemp(folder));
    (void)snprintf(path, cap, "%s/%s", folder, name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, n, file), n);
    assert_int_equal(fclose(file), 0);
}

static inline void rewrite_file(const char *path, const void *bytes, size_t n)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, n, file), n);
    assert_int_equal(fclose(file), 0);
}

static inline void remove_file(char *path)
{
    (void)unlink(path);
    *strrchr(path, '/') = '\0';
    (void)rmdir(path);
}

#endif
