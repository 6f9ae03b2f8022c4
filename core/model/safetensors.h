/* safetensors files: u64 little-endian header length N, N bytes of JSON, then the data buffer.
 *
 * Reading believes nothing: N <= 100,000,000 and inside the file, an object without duplicate keys,
 * dtype F32 only, offsets contiguous from 0 without hole or overlap, end - begin = 4 x product of
 * the shape by checked arithmetic, the last end at the end of the file; finite values. All of it
 * before any allocation that the file could enlarge. Nothing stays mapped. */
#ifndef RZ_MODEL_SAFETENSORS_H
#define RZ_MODEL_SAFETENSORS_H

#include "model/model.h"

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
void rz_safetensors_close(rz_safetensors *file); /* accepts NULL */
size_t rz_safetensors_tensors(const rz_safetensors *file, const rz_safetensor **out); /* borrowed */
const rz_safetensor *rz_safetensors_find(const rz_safetensors *file, const char *name);
const char *rz_safetensors_metadata(const rz_safetensors *file, const char *key); /* or NULL */
/* Reads one tensor into `out` [count]; refuses NaN and infinities (RZ_E_CORRUPT). */
RZ_MUST_CHECK rz_status rz_safetensors_read(rz_safetensors *file, const rz_safetensor *tensor,
                                            float *out, rz_error *error);

typedef struct rz_metadata_pair {
    const char *key, *value;
} rz_metadata_pair;

/* Writes named tensors of one float block atomically (temporary name, fsync, rename). */
RZ_MUST_CHECK rz_status rz_safetensors_write(const char *path, const rz_tensor_spec *tensors,
                                             size_t n_tensors, const float *block,
                                             const rz_metadata_pair *metadata, size_t n_metadata,
                                             rz_error *error);

#endif
