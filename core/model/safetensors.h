/* safetensors files: u64 little-endian header length N, N bytes of JSON, then the data buffer.
 *
 *     8 bytes   N
 *     N bytes   {"__metadata__": {"key": "value", …},
 *                "name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, …}   spaces
 *     the rest  the tensors, row-major, little-endian, at their offsets
 *
 * Reading believes nothing: N <= 100,000,000 and inside the file, an object without duplicate keys,
 * dtype F32 only, offsets contiguous from 0 without hole or overlap, end - begin = 4 x product of
 * the shape by checked arithmetic, the last end at the end of the file; finite values. A header of
 * more than RZ_SAFETENSORS_HEADER_MAX bytes or RZ_SAFETENSORS_MAX tensors is refused: it is none of
 * ours. Memory stays below the header's size and a small table. Nothing stays mapped. */
#ifndef RZ_MODEL_SAFETENSORS_H
#define RZ_MODEL_SAFETENSORS_H

#include "model/model.h"

enum {
    RZ_SAFETENSORS_FORMAT_MAX = 100000000, /* the format's own limit of N */
    RZ_SAFETENSORS_HEADER_MAX = 1 << 24,
    RZ_SAFETENSORS_MAX = 4096,
    RZ_SAFETENSORS_METADATA_MAX = 256
};

typedef struct rz_safetensor {
    const char *name; /* borrowed from the file object */
    size_t rank, shape[8];
    uint64_t offset; /* of its data in the file, bytes */
    size_t count;    /* of elements */
} rz_safetensor;

typedef struct rz_safetensors rz_safetensors;

/* Errors  RZ_E_CORRUPT naming the file, the tensor and the numbers; RZ_E_UNSUPPORTED (dtype). */
RZ_MUST_CHECK rz_status rz_safetensors_open(const char *path, rz_safetensors **out,
                                            rz_error *error);
/* The same for a name within an open folder; a symbolic link is refused. */
RZ_MUST_CHECK rz_status rz_safetensors_open_at(int folder, const char *name, rz_safetensors **out,
                                               rz_error *error);
void rz_safetensors_close(rz_safetensors *file); /* accepts NULL */
/* In the order of their offsets; borrowed. */
size_t rz_safetensors_tensors(const rz_safetensors *file, const rz_safetensor **out);
const rz_safetensor *rz_safetensors_find(const rz_safetensors *file, const char *name);
const char *rz_safetensors_metadata(const rz_safetensors *file, const char *key); /* or NULL */
/* Reads one tensor into `out` [count]; refuses NaN and infinities (RZ_E_CORRUPT). */
RZ_MUST_CHECK rz_status rz_safetensors_read(rz_safetensors *file, const rz_safetensor *tensor,
                                            float *out, rz_error *error);

/* Reads the whole file once: tensor i (in the order of their offsets) to places[i], and the SHA-256
 * of the very bytes that were read. What was read means nothing before that has been compared.
 * Threads  reads and digests on the pool (NULL = one thread). */
RZ_MUST_CHECK rz_status rz_safetensors_read_all(rz_safetensors *file, float *const *places,
                                                rz_pool *pool, char sha256[RZ_SHA256_TEXT],
                                                rz_error *error);

typedef struct rz_metadata_pair {
    const char *key, *value;
} rz_metadata_pair;

/* Writes named tensors of one float block, whose padding is left out, atomically (temporary name,
 * fsync, rename).
 * Errors  RZ_E_RANGE a value is not finite (names the tensor); RZ_E_DISK_FULL, RZ_E_IO. */
RZ_MUST_CHECK rz_status rz_safetensors_write(const char *path, const rz_tensor_spec *tensors,
                                             size_t n_tensors, const float *block,
                                             const rz_metadata_pair *metadata, size_t n_metadata,
                                             rz_error *error);

#endif
