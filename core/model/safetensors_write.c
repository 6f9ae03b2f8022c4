/* Writes safetensors files: tensors in the order of their place in the block, the header padded
 * with spaces so that the data begins at a multiple of 8. */
#include "model/safetensors.h"

#include "base/file.h"
#include "model/json_scan.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static rz_status add_metadata(rz_buffer *out, const rz_metadata_pair *metadata, size_t n)
{
    rz_status status = rz_buffer_add_text(out, "\"__metadata__\":{");
    for (size_t i = 0; i < n && status == RZ_OK; i++) {
        if (i > 0)
            status = rz_buffer_add_text(out, ",");
        if (status == RZ_OK)
            status = rz_scan_quote(out, metadata[i].key);
        if (status == RZ_OK)
            status = rz_buffer_add_text(out, ":");
        if (status == RZ_OK)
            status = rz_scan_quote(out, metadata[i].value);
    }
    return status == RZ_OK ? rz_buffer_add_text(out, "}") : status;
}

static rz_status add_tensor(rz_buffer *out, const rz_tensor_spec *tensor, uint64_t begin)
{
    rz_status status = rz_scan_quote(out, tensor->name);
    if (status == RZ_OK)
        status = rz_buffer_add_text(out, ":{\"dtype\":\"F32\",\"shape\":[");
    for (size_t i = 0; i < tensor->rank && status == RZ_OK; i++)
        status = rz_buffer_addf(out, "%s%zu", i > 0 ? "," : "", tensor->shape[i]);
    if (status == RZ_OK)
        status = rz_buffer_addf(out, "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}", begin,
                                begin + tensor->count * sizeof(float));
    return status;
}

static rz_status make_header(rz_buffer *out, const rz_tensor_spec *const *tensors, size_t n,
                             const rz_metadata_pair *metadata, size_t n_metadata)
{
    uint64_t at = 0;
    rz_status status = rz_buffer_add_text(out, "{");
    if (status == RZ_OK && n_metadata > 0)
        status = add_metadata(out, metadata, n_metadata);
    for (size_t i = 0; i < n && status == RZ_OK; i++) {
        if (i > 0 || n_metadata > 0)
            status = rz_buffer_add_text(out, ",");
        if (status == RZ_OK)
            status = add_tensor(out, tensors[i], at);
        at += tensors[i]->count * sizeof(float);
    }
    if (status == RZ_OK)
        status = rz_buffer_add_text(out, "}");
    while (status == RZ_OK && out->length % 8 != 0)
        status = rz_buffer_add_text(out, " ");
    return status;
}

static rz_status check_finite(const char *path, const rz_tensor_spec *tensor, const float *values,
                              rz_error *error)
{
    for (size_t i = 0; i < tensor->count; i++) {
        uint32_t bits;
        memcpy(&bits, &values[i], sizeof bits);
        if ((bits & 0x7f800000u) == 0x7f800000u)
            return rz_fail(error, RZ_E_RANGE,
                           "%s is not written: tensor '%s', element %zu is not a finite number",
                           path, tensor->name, i);
    }
    return RZ_OK;
}

static int by_offset(const void *a, const void *b)
{
    const rz_tensor_spec *x = *(const rz_tensor_spec *const *)a,
                         *y = *(const rz_tensor_spec *const *)b;
    return (x->offset > y->offset) - (x->offset < y->offset);
}

static bool put(FILE *stream, const void *bytes, size_t n)
{
    return n == 0 || fwrite(bytes, 1, n, stream) == n;
}

rz_status rz_safetensors_write(const char *path, const rz_tensor_spec *tensors, size_t n_tensors,
                               const float *block, const rz_metadata_pair *metadata,
                               size_t n_metadata, rz_error *error)
{
    rz_atomic_file file = {0};
    rz_buffer header;
    rz_status status = RZ_OK;
    rz_buffer_init(&header, RZ_SAFETENSORS_HEADER_MAX);
    const rz_tensor_spec **order = malloc((n_tensors > 0 ? n_tensors : 1) * sizeof *order);
    if (order == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory to write %s", path);
    for (size_t i = 0; i < n_tensors && status == RZ_OK; i++) {
        order[i] = &tensors[i];
        status = check_finite(path, order[i], block + order[i]->offset, error);
    }
    if (status != RZ_OK)
        goto out;
    qsort(order, n_tensors, sizeof *order, by_offset);
    status = make_header(&header, order, n_tensors, metadata, n_metadata);
    if (status != RZ_OK) {
        (void)rz_fail(error, status, "the header of %s cannot be made: %s", path,
                      rz_status_text(status));
        goto out;
    }
    status = rz_atomic_file_open(&file, path, error);
    if (status != RZ_OK)
        goto out;
    unsigned char length[8];
    for (int i = 0; i < 8; i++)
        length[i] = (unsigned char)((uint64_t)header.length >> (8 * i));
    bool ok =
        put(file.stream, length, sizeof length) && put(file.stream, header.data, header.length);
    for (size_t i = 0; i < n_tensors && ok; i++)
        ok = put(file.stream, block + order[i]->offset, order[i]->count * sizeof *block);
    if (!ok) {
        status = rz_fail_errno(error, errno, "cannot write %s", path);
        goto out;
    }
    status = rz_atomic_file_commit(&file, error);
out:
    rz_atomic_file_abort(&file);
    rz_buffer_done(&header);
    free(order);
    return status;
}
