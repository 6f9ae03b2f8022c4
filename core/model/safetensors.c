/* Reads safetensors files that may be damaged, foreign or hostile. The header is checked to the end
 * before a tensor can be read; from then on every offset is known to lie within the file. */
#include "model/safetensors.h"

#include "base/size.h"
#include "model/json_scan.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "safetensors are little-endian and read in place: this machine needs a byte swap here"
#endif

enum { LENGTH_BYTES = 8 };

struct rz_safetensors {
    int fd;
    char *path;          /* for messages */
    char *header;        /* names and metadata point into it */
    rz_sha256 head;      /* of all bytes before the data */
    uint64_t data_bytes; /* behind the header */
    rz_safetensor *tensors;
    size_t n, capacity;
    rz_metadata_pair *metadata;
    size_t n_metadata;
};

void rz_safetensors_close(rz_safetensors *file)
{
    if (file == NULL)
        return;
    if (file->fd >= 0)
        (void)close(file->fd);
    free(file->path);
    free(file->header);
    free(file->tensors);
    free(file->metadata);
    free(file);
}

size_t rz_safetensors_tensors(const rz_safetensors *file, const rz_safetensor **out)
{
    *out = file->tensors;
    return file->n;
}

const rz_safetensor *rz_safetensors_find(const rz_safetensors *file, const char *name)
{
    for (size_t i = 0; i < file->n; i++)
        if (strcmp(file->tensors[i].name, name) == 0)
            return &file->tensors[i];
    return NULL;
}

const char *rz_safetensors_metadata(const rz_safetensors *file, const char *key)
{
    for (size_t i = 0; i < file->n_metadata; i++)
        /* Counted once key and value are there.
         * NOLINTNEXTLINE(clang-analyzer-core.NonNullParamChecker) */
        if (strcmp(file->metadata[i].key, key) == 0)
            return file->metadata[i].value;
    return NULL;
}

/* Reads exactly n bytes at `offset`. */
static rz_status read_at(const rz_safetensors *file, void *out, size_t n, uint64_t offset,
                         rz_error *error)
{
    size_t used = 0;
    while (used < n) {
        ssize_t got = pread(file->fd, (char *)out + used, n - used, (off_t)(offset + used));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return rz_fail_errno(error, errno, "cannot read %s", file->path);
        if (got == 0)
            return rz_fail(error, RZ_E_CORRUPT, "%s ends at byte %" PRIu64 " while it is read",
                           file->path, offset + used);
        used += (size_t)got;
    }
    return RZ_OK;
}

/* ---- the header ------------------------------------------------------------------------------ */

static bool read_shape(rz_scan *scan, rz_safetensor *tensor, bool *too_many)
{
    if (!rz_scan_expect(scan, '['))
        return false;
    if (rz_scan_take(scan, ']'))
        return true;
    do {
        uint64_t extent;
        if (!rz_scan_unsigned(scan, SIZE_MAX, &extent))
            return false;
        if (tensor->rank == RZ_COUNT(tensor->shape)) {
            *too_many = true;
            return false;
        }
        tensor->shape[tensor->rank++] = (size_t)extent;
    } while (rz_scan_take(scan, ','));
    return rz_scan_expect(scan, ']');
}

/* Checks what one tensor says of itself. `end` is relative to the data buffer, like offset here. */
static rz_status check_tensor(const rz_safetensors *file, rz_safetensor *tensor, uint64_t end,
                              rz_error *error)
{
    const char *path = file->path, *name = tensor->name;
    size_t bytes;
    if (end < tensor->offset)
        return rz_fail(error, RZ_E_CORRUPT,
                       "%s: tensor '%.63s' begins at %" PRIu64 " and ends before, at %" PRIu64,
                       path, name, tensor->offset, end);
    if (end > file->data_bytes)
        return rz_fail(error, RZ_E_CORRUPT,
                       "%s: tensor '%.63s' ends at byte %" PRIu64 " of the data, the file has "
                       "%" PRIu64,
                       path, name, end, file->data_bytes);
    tensor->count = 1;
    for (size_t i = 0; i < tensor->rank; i++)
        if (!rz_size_mul(tensor->count, tensor->shape[i], &tensor->count))
            return rz_fail(error, RZ_E_CORRUPT, "%s: tensor '%.63s': its shape overflows", path,
                           name);
    if (!rz_size_mul(tensor->count, sizeof(float), &bytes))
        return rz_fail(error, RZ_E_CORRUPT, "%s: tensor '%.63s': its shape overflows", path, name);
    if (bytes != end - tensor->offset)
        return rz_fail(error, RZ_E_CORRUPT,
                       "%s: tensor '%.63s': its shape needs %zu bytes, its offsets hold %" PRIu64,
                       path, name, bytes, end - tensor->offset);
    return RZ_OK;
}

static rz_status read_tensor(const rz_safetensors *file, rz_scan *scan, rz_safetensor *tensor,
                             rz_error *error)
{
    enum { DTYPE = 1, SHAPE = 2, OFFSETS = 4, ALL = 7 };
    unsigned seen = 0, member;
    uint64_t end = 0;
    if (!rz_scan_expect(scan, '{'))
        return RZ_E_CORRUPT;
    do {
        const char *key, *dtype;
        bool too_many = false;
        if (!rz_scan_key(scan, &key))
            return RZ_E_CORRUPT;
        member = strcmp(key, "dtype") == 0          ? DTYPE
                 : strcmp(key, "shape") == 0        ? SHAPE
                 : strcmp(key, "data_offsets") == 0 ? OFFSETS
                                                    : 0;
        if (member == 0 || (seen & member) != 0)
            return rz_fail(error, RZ_E_CORRUPT,
                           "%s: tensor '%.63s': \"%.40s\" is unknown or twice there", file->path,
                           tensor->name, key);
        seen |= member;
        if (member == DTYPE) {
            if (!rz_scan_string(scan, &dtype, NULL))
                return RZ_E_CORRUPT;
            if (strcmp(dtype, "F32") != 0)
                return rz_fail(error, RZ_E_UNSUPPORTED,
                               "%s: tensor '%.63s' has the type %.16s, only F32 is read",
                               file->path, tensor->name, dtype);
        } else if (member == SHAPE) {
            if (!read_shape(scan, tensor, &too_many))
                return too_many ? rz_fail(error, RZ_E_CORRUPT,
                                          "%s: tensor '%.63s' has more than %zu dimensions",
                                          file->path, tensor->name, RZ_COUNT(tensor->shape))
                                : RZ_E_CORRUPT;
        } else if (!rz_scan_expect(scan, '[') ||
                   !rz_scan_unsigned(scan, UINT64_MAX, &tensor->offset) ||
                   !rz_scan_expect(scan, ',') || !rz_scan_unsigned(scan, UINT64_MAX, &end) ||
                   !rz_scan_expect(scan, ']')) {
            return RZ_E_CORRUPT;
        }
    } while (rz_scan_take(scan, ','));
    if (!rz_scan_expect(scan, '}'))
        return RZ_E_CORRUPT;
    if (seen != ALL)
        return rz_fail(error, RZ_E_CORRUPT, "%s: tensor '%.63s' lacks dtype, shape or data_offsets",
                       file->path, tensor->name);
    return check_tensor(file, tensor, end, error);
}

static rz_status read_metadata(rz_safetensors *file, rz_scan *scan, rz_error *error)
{
    if (file->metadata != NULL)
        return rz_fail(error, RZ_E_CORRUPT, "%s: __metadata__ is there twice", file->path);
    file->metadata = calloc(RZ_SAFETENSORS_METADATA_MAX, sizeof *file->metadata);
    if (file->metadata == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for the metadata of %s", file->path);
    if (!rz_scan_expect(scan, '{'))
        return RZ_E_CORRUPT;
    if (rz_scan_take(scan, '}'))
        return RZ_OK;
    do {
        rz_metadata_pair pair;
        if (!rz_scan_key(scan, &pair.key) || !rz_scan_string(scan, &pair.value, NULL))
            return RZ_E_CORRUPT;
        if (rz_safetensors_metadata(file, pair.key) != NULL)
            return rz_fail(error, RZ_E_CORRUPT, "%s: __metadata__: \"%.40s\" is there twice",
                           file->path, pair.key);
        if (file->n_metadata == RZ_SAFETENSORS_METADATA_MAX)
            return rz_fail(error, RZ_E_CORRUPT, "%s: __metadata__ has more than %d members",
                           file->path, RZ_SAFETENSORS_METADATA_MAX);
        file->metadata[file->n_metadata++] = pair;
    } while (rz_scan_take(scan, ','));
    return rz_scan_expect(scan, '}') ? RZ_OK : RZ_E_CORRUPT;
}

static rz_status add_tensor(rz_safetensors *file, const char *name, rz_scan *scan, rz_error *error)
{
    if (file->n == RZ_SAFETENSORS_MAX)
        return rz_fail(error, RZ_E_CORRUPT,
                       "%s: tensor '%.63s' is one more than the %d that a file may hold",
                       file->path, name, RZ_SAFETENSORS_MAX);
    if (file->n == file->capacity) {
        size_t capacity = file->capacity == 0 ? 16 : 2 * file->capacity;
        rz_safetensor *tensors = realloc(file->tensors, capacity * sizeof *tensors);
        if (tensors == NULL)
            return rz_fail(error, RZ_E_NO_MEMORY, "no memory for the tensors of %s", file->path);
        file->tensors = tensors;
        file->capacity = capacity;
    }
    rz_safetensor *tensor = &file->tensors[file->n];
    *tensor = (rz_safetensor){.name = name};
    rz_status status = read_tensor(file, scan, tensor, error);
    file->n += status == RZ_OK;
    if (status == RZ_E_CORRUPT && scan->problem != NULL)
        (void)rz_fail(error, status, "%s: tensor '%.63s': header byte %zu: %s", file->path, name,
                      scan->at, scan->problem);
    return status;
}

static int by_offset(const void *a, const void *b)
{
    const rz_safetensor *x = a, *y = b;
    if (x->offset != y->offset)
        return x->offset < y->offset ? -1 : 1;
    return (x->count > y->count) - (x->count < y->count);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const rz_safetensor *)a)->name, ((const rz_safetensor *)b)->name);
}

/* No name twice; in the order of their offsets, tensors fill the data without hole or overlap. */
static rz_status check_together(rz_safetensors *file, rz_error *error)
{
    uint64_t end = 0;
    if (file->n > 0)
        qsort(file->tensors, file->n, sizeof *file->tensors, by_name);
    for (size_t i = 1; i < file->n; i++)
        if (by_name(&file->tensors[i - 1], &file->tensors[i]) == 0)
            return rz_fail(error, RZ_E_CORRUPT, "%s: tensor '%.63s' is there twice", file->path,
                           file->tensors[i].name);
    if (file->n > 0)
        qsort(file->tensors, file->n, sizeof *file->tensors, by_offset);
    for (size_t i = 0; i < file->n; i++) {
        const rz_safetensor *tensor = &file->tensors[i];
        if (tensor->offset != end)
            return rz_fail(error, RZ_E_CORRUPT,
                           "%s: tensor '%.63s' begins at %" PRIu64 ", %s the end of the one "
                           "before, %" PRIu64,
                           file->path, tensor->name, tensor->offset,
                           tensor->offset > end ? "leaving a hole after" : "overlapping", end);
        end += tensor->count * sizeof(float);
    }
    if (end != file->data_bytes)
        return rz_fail(error, RZ_E_CORRUPT,
                       "%s: the last tensor%s%.63s%s ends at byte %" PRIu64
                       " of the data, the file has %" PRIu64,
                       file->path, file->n > 0 ? " '" : "",
                       file->n > 0 ? file->tensors[file->n - 1].name : "", file->n > 0 ? "'" : "",
                       end, file->data_bytes);
    return RZ_OK;
}

static rz_status read_header(rz_safetensors *file, size_t n, rz_error *error)
{
    rz_scan scan;
    rz_status status = RZ_OK;
    rz_scan_init(&scan, file->header, n);
    if (n == 0 || file->header[0] != '{')
        return rz_fail(error, RZ_E_CORRUPT, "%s: the header does not begin with '{'", file->path);
    bool ok = rz_scan_expect(&scan, '{');
    if (ok && !rz_scan_take(&scan, '}')) {
        do {
            const char *name;
            ok = rz_scan_key(&scan, &name);
            if (ok && strcmp(name, "__metadata__") == 0)
                status = read_metadata(file, &scan, error);
            else if (ok)
                status = add_tensor(file, name, &scan, error);
        } while (ok && status == RZ_OK && rz_scan_take(&scan, ','));
        ok = ok && status == RZ_OK && rz_scan_expect(&scan, '}');
    }
    if (!ok || !rz_scan_end(&scan))
        return rz_fail(error, status != RZ_OK ? status : RZ_E_CORRUPT,
                       "%s: header byte %zu, after %zu tensors: %s", file->path, scan.at, file->n,
                       scan.problem != NULL ? scan.problem : "cannot be read");
    return check_together(file, error);
}

/* N against the file's size and the limits, then the header into memory. */
static rz_status load_header(rz_safetensors *file, rz_error *error)
{
    struct stat info;
    unsigned char length[LENGTH_BYTES];
    uint64_t n = 0;
    if (fstat(file->fd, &info) != 0)
        return rz_fail_errno(error, errno, "cannot inspect %s", file->path);
    if (!S_ISREG(info.st_mode))
        return rz_fail(error, RZ_E_INVALID, "%s is not a regular file", file->path);
    uint64_t size = (uint64_t)info.st_size;
    if (size < LENGTH_BYTES)
        return rz_fail(error, RZ_E_CORRUPT, "%s has %" PRIu64 " bytes, a header's length has %d",
                       file->path, size, LENGTH_BYTES);
    rz_status status = read_at(file, length, sizeof length, 0, error);
    if (status != RZ_OK)
        return status;
    for (int i = LENGTH_BYTES - 1; i >= 0; i--)
        n = n << 8 | length[i];
    if (n > RZ_SAFETENSORS_FORMAT_MAX)
        return rz_fail(error, RZ_E_CORRUPT,
                       "%s: a header of %" PRIu64 " bytes is announced, %d are allowed", file->path,
                       n, RZ_SAFETENSORS_FORMAT_MAX);
    if (n > size - LENGTH_BYTES)
        return rz_fail(error, RZ_E_CORRUPT,
                       "%s: a header of %" PRIu64 " bytes is announced, the file has %" PRIu64,
                       file->path, n, size);
    if (n > RZ_SAFETENSORS_HEADER_MAX)
        return rz_fail(error, RZ_E_CORRUPT,
                       "%s: a header of %" PRIu64 " bytes is none of ours, which have at most %d",
                       file->path, n, RZ_SAFETENSORS_HEADER_MAX);
    file->data_bytes = size - LENGTH_BYTES - n;
    file->header = malloc((size_t)n + 1);
    if (file->header == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for the header of %s", file->path);
    status = read_at(file, file->header, (size_t)n, LENGTH_BYTES, error);
    rz_sha256_init(&file->head);
    rz_sha256_add(&file->head, length, sizeof length);
    if (status == RZ_OK) {
        rz_sha256_add(&file->head, file->header, (size_t)n); /* before names are cut in place */
        status = read_header(file, (size_t)n, error);
    }
    for (size_t i = 0; i < file->n; i++)
        file->tensors[i].offset += LENGTH_BYTES + n;
    return status;
}

static rz_status open_fd(int fd, int failure, const char *path, rz_safetensors **out,
                         rz_error *error)
{
    if (fd < 0)
        return rz_fail_errno(error, failure, "cannot open %s", path);
    rz_safetensors *file = calloc(1, sizeof *file);
    if (file == NULL) {
        (void)close(fd);
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory to read %s", path);
    }
    file->fd = fd;
    file->path = strdup(path);
    rz_status status = RZ_OK;
    if (file->path == NULL)
        status = rz_fail(error, RZ_E_NO_MEMORY, "no memory to read %s", path);
    else
        status = load_header(file, error);
    if (status == RZ_OK)
        *out = file;
    else
        rz_safetensors_close(file);
    return status;
}

/* O_NONBLOCK, so that a pipe in a model's place cannot make us wait; files do not mind. */
rz_status rz_safetensors_open(const char *path, rz_safetensors **out, rz_error *error)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    return open_fd(fd, errno, path, out, error);
}

rz_status rz_safetensors_open_at(int folder, const char *name, rz_safetensors **out,
                                 rz_error *error)
{
    int fd = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
    return open_fd(fd, errno, name, out, error);
}

/* ---- the data -------------------------------------------------------------------------------- */

static bool is_finite(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return (bits & 0x7f800000u) != 0x7f800000u;
}

/* Elements first … first + n - 1 of a tensor, to `out`. */
static rz_status read_part(const rz_safetensors *file, const rz_safetensor *tensor, size_t first,
                           size_t n, float *out, rz_error *error)
{
    size_t finite = 0, i = 0;
    rz_status status =
        read_at(file, out, n * sizeof *out, tensor->offset + first * sizeof *out, error);
    if (status != RZ_OK)
        return status;
    for (size_t k = 0; k < n; k++)
        finite += is_finite(out[k]);
    if (finite == n)
        return RZ_OK;
    while (is_finite(out[i]))
        i++;
    return rz_fail(error, RZ_E_CORRUPT, "%s: tensor '%.63s': element %zu is not a finite number",
                   file->path, tensor->name, first + i);
}

rz_status rz_safetensors_read(rz_safetensors *file, const rz_safetensor *tensor, float *out,
                              rz_error *error)
{
    return read_part(file, tensor, 0, tensor->count, out, error);
}

/* All tensors go through in rounds of a few megabytes: while the pieces of a round are read, those
 * of the one before, which are still in the cache, are digested in the file's order. */
enum { PIECE_FLOATS = 1 << 18, ROUND_PIECES = 8 };

typedef struct piece {
    const rz_safetensor *tensor;
    size_t first, n; /* elements */
    float *to;
    rz_status status;
    rz_error error;
} piece;

typedef struct round {
    size_t n;
    piece pieces[ROUND_PIECES];
} round;

typedef struct reading {
    const rz_safetensors *file;
    rz_sha256 hash;
    size_t tensor, element; /* of what no round has yet */
    round rounds[2], *now, *before;
} reading;

static void fill_round(reading *r, float *const *places)
{
    r->now->n = 0;
    while (r->now->n < ROUND_PIECES && r->tensor < r->file->n) {
        const rz_safetensor *tensor = &r->file->tensors[r->tensor];
        size_t left = tensor->count - r->element, n = left < PIECE_FLOATS ? left : PIECE_FLOATS;
        r->now->pieces[r->now->n++] = (piece){
            .tensor = tensor, .first = r->element, .n = n, .to = places[r->tensor] + r->element};
        r->element += n;
        if (r->element == tensor->count) {
            r->tensor++;
            r->element = 0;
        }
    }
}

/* Task 0 digests, the others read a piece each. */
static void read_or_digest(void *context, size_t task, unsigned worker)
{
    (void)worker;
    reading *r = context;
    if (task > 0) {
        piece *p = &r->now->pieces[task - 1];
        p->status = read_part(r->file, p->tensor, p->first, p->n, p->to, &p->error);
        return;
    }
    for (size_t i = 0; i < r->before->n; i++)
        rz_sha256_add(&r->hash, r->before->pieces[i].to, r->before->pieces[i].n * sizeof(float));
}

rz_status rz_safetensors_read_all(rz_safetensors *file, float *const *places, rz_pool *pool,
                                  char sha256[RZ_SHA256_TEXT], rz_error *error)
{
    rz_status status = RZ_OK;
    reading *r = calloc(1, sizeof *r);
    if (r == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory to read %s", file->path);
    r->file = file;
    r->hash = file->head;
    r->now = &r->rounds[0];
    r->before = &r->rounds[1];
    do {
        fill_round(r, places);
        rz_pool_run(pool, 1 + r->now->n, read_or_digest, r);
        for (size_t i = 0; i < r->now->n && status == RZ_OK; i++) {
            const piece *p = &r->now->pieces[i];
            status = p->status;
            if (status != RZ_OK && error != NULL && error->status == RZ_OK)
                *error = p->error;
        }
        round *read = r->now;
        r->now = r->before;
        r->before = read;
    } while (status == RZ_OK && r->before->n > 0);
    if (status == RZ_OK)
        rz_sha256_text(&r->hash, sha256);
    free(r);
    return status;
}
