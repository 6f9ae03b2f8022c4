/* Unpacking by the first bytes of a file. A packed stream that is damaged, or that ends inside a
 * member or frame, is an error: half a table must never pass for a whole one. */
#include "import/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

enum { INPUT_BYTES = 1 << 17 };

struct rz_stream {
    int fd;
    enum { PLAIN, GZIP, ZSTD } codec;
    bool input_ended; /* the file has no more bytes */
    bool frame_open;  /* inside a gzip member or zstd frame */
    bool zlib_ready;
    z_stream zlib;
    ZSTD_DStream *zstd;
    uint64_t bytes;
    size_t at, end; /* what is left of `input` */
    unsigned char input[INPUT_BYTES];
};

static const struct {
    const char *magic;
    size_t n;
    const char *name, *remedy;
} foreign[] = {
    {"PAR1", 4, "Parquet", "export it to CSV"},
    {"PK\x03\x04", 4, "a zip archive", "unpack it"},
    {"BZh", 3, "packed with bzip2", "unpack it, or pack it with gzip or zstd"},
    {"\xFD"
     "7zXZ",
     5, "packed with xz", "unpack it, or pack it with gzip or zstd"},
    {"\xFF\xFE", 2, "UTF-16", "convert it to UTF-8"},
    {"\xFE\xFF", 2, "UTF-16", "convert it to UTF-8"},
};

/* Fills the empty input buffer. */
static rz_status fill(rz_stream *s, rz_error *error)
{
    ssize_t got;
    do
        got = read(s->fd, s->input, INPUT_BYTES);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return rz_fail_errno(error, errno, "cannot read after byte %llu",
                             (unsigned long long)s->bytes);
    s->at = 0;
    s->end = (size_t)got;
    s->bytes += (uint64_t)got;
    s->input_ended = got == 0;
    return RZ_OK;
}

static bool starts_with(const rz_stream *s, const char *magic, size_t n)
{
    return s->end - s->at >= n && memcmp(s->input + s->at, magic, n) == 0;
}

static rz_status choose_codec(rz_stream *s, rz_error *error)
{
    rz_status status = fill(s, error);
    if (status != RZ_OK)
        return status;
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++)
        if (starts_with(s, foreign[i].magic, foreign[i].n))
            return rz_fail(error, RZ_E_UNSUPPORTED, "the file is %s, which is not read; %s",
                           foreign[i].name, foreign[i].remedy);
    if (starts_with(s, "\x1F\x8B", 2)) {
        s->codec = GZIP;
        if (inflateInit2(&s->zlib, 16 + MAX_WBITS) != Z_OK)
            return rz_fail(error, RZ_E_NO_MEMORY, "no memory to unpack gzip");
        s->zlib_ready = s->frame_open = true;
    } else if (starts_with(s, "\x28\xB5\x2F\xFD", 4)) {
        s->codec = ZSTD;
        s->zstd = ZSTD_createDStream();
        if (s->zstd == NULL || ZSTD_isError(ZSTD_initDStream(s->zstd)))
            return rz_fail(error, RZ_E_NO_MEMORY, "no memory to unpack zstd");
        s->frame_open = true;
    }
    return RZ_OK;
}

rz_status rz_stream_open(const char *path, rz_stream **out, rz_error *error)
{
    struct stat info;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return rz_fail(error, RZ_E_NOT_FOUND, "there is no file %s", path);
    if (fd < 0 || fstat(fd, &info) != 0) {
        rz_status status = rz_fail_errno(error, errno, "cannot open %s", path);
        if (fd >= 0)
            (void)close(fd);
        return status;
    }
    rz_stream *s = S_ISDIR(info.st_mode) ? NULL : malloc(sizeof *s);
    if (s == NULL) {
        (void)close(fd);
        if (S_ISDIR(info.st_mode))
            return rz_fail(error, RZ_E_INVALID, "%s is a folder, a file is expected", path);
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory to read %s", path);
    }
    memset(s, 0, offsetof(rz_stream, input));
    s->fd = fd;
    rz_status status = choose_codec(s, error);
    if (status != RZ_OK) {
        rz_error_prefix(error, "%s: ", path);
        rz_stream_close(s);
        return status;
    }
    *out = s;
    return RZ_OK;
}

void rz_stream_close(rz_stream *stream)
{
    if (stream == NULL)
        return;
    if (stream->zlib_ready)
        (void)inflateEnd(&stream->zlib);
    ZSTD_freeDStream(stream->zstd);
    (void)close(stream->fd);
    free(stream);
}

uint64_t rz_stream_bytes(const rz_stream *stream)
{
    return stream->bytes - (stream->end - stream->at);
}

static rz_status damaged(const rz_stream *s, const char *what, const char *why, rz_error *error)
{
    return rz_fail(error, RZ_E_FORMAT, "the %s data is damaged near byte %llu of the file: %s",
                   what, (unsigned long long)rz_stream_bytes(s), why);
}

static rz_status read_plain(rz_stream *s, unsigned char *out, size_t cap, size_t *got)
{
    size_t n = s->end - s->at < cap ? s->end - s->at : cap;
    memcpy(out, s->input + s->at, n);
    s->at += n;
    *got = n;
    return RZ_OK;
}

/* One step; *got may be 0 when only a header was eaten. Between members, zero bytes are padding. */
static rz_status read_gzip(rz_stream *s, unsigned char *out, size_t cap, size_t *got,
                           rz_error *error)
{
    *got = 0;
    if (!s->frame_open) {
        while (s->at < s->end && s->input[s->at] == 0)
            s->at++;
        if (s->at == s->end)
            return RZ_OK;
        if (s->input[s->at] != 0x1F || inflateReset(&s->zlib) != Z_OK)
            return damaged(s, "gzip", "bytes after the end that are no gzip member", error);
        s->frame_open = true;
    }
    s->zlib.next_in = s->input + s->at;
    s->zlib.avail_in = (uInt)(s->end - s->at);
    s->zlib.next_out = out;
    s->zlib.avail_out = (uInt)cap;
    int result = inflate(&s->zlib, Z_NO_FLUSH);
    s->at = s->end - s->zlib.avail_in;
    if (result == Z_MEM_ERROR)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory to unpack gzip");
    if (result != Z_OK && result != Z_STREAM_END && result != Z_BUF_ERROR)
        return damaged(s, "gzip", s->zlib.msg != NULL ? s->zlib.msg : "unknown block", error);
    s->frame_open = result != Z_STREAM_END;
    *got = cap - s->zlib.avail_out;
    return RZ_OK;
}

static rz_status read_zstd(rz_stream *s, unsigned char *out, size_t cap, size_t *got,
                           rz_error *error)
{
    ZSTD_inBuffer in = {.src = s->input, .size = s->end, .pos = s->at};
    ZSTD_outBuffer to = {.dst = out, .size = cap};
    size_t result = ZSTD_decompressStream(s->zstd, &to, &in);
    s->at = in.pos;
    if (ZSTD_isError(result))
        return damaged(s, "zstd", ZSTD_getErrorName(result), error);
    s->frame_open = result != 0;
    *got = to.pos;
    return RZ_OK;
}

rz_status rz_stream_read(rz_stream *s, void *out, size_t cap, size_t *got, rz_error *error)
{
    rz_status status = RZ_OK;
    size_t n = 0;
    cap = cap < INPUT_BYTES ? cap : INPUT_BYTES;
    while (status == RZ_OK && n == 0) {
        if (s->at == s->end && !s->input_ended)
            status = fill(s, error);
        if (status != RZ_OK)
            break;
        /* At the end of the file a decoder may still hold bytes; ask it until it gives none. */
        if (s->codec == PLAIN)
            status = read_plain(s, out, cap, &n);
        else if (s->codec == GZIP)
            status = read_gzip(s, out, cap, &n, error);
        else if (s->at < s->end || s->frame_open)
            status = read_zstd(s, out, cap, &n, error);
        if (status == RZ_OK && n == 0 && s->input_ended && s->at == s->end) {
            if (s->frame_open)
                return damaged(s, s->codec == GZIP ? "gzip" : "zstd", "it ends too early", error);
            break;
        }
    }
    if (status == RZ_OK)
        *got = n;
    return status;
}
