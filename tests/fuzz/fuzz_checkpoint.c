/* Fuzzes the safetensors reader: whatever the bytes are, a file is refused or all of its tensors
 * can be read, and none of them reaches outside it. */
#define _GNU_SOURCE
#include "model/safetensors.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Reads every tensor; a file that opened may only fail for a value that is not finite. */
static void read_all(rz_safetensors *file, size_t size)
{
    const rz_safetensor *tensors;
    size_t n = rz_safetensors_tensors(file, &tensors);
    uint64_t end = 0;
    for (size_t i = 0; i < n; i++) {
        rz_error error = {0};
        size_t bytes = tensors[i].count * sizeof(float);
        if (tensors[i].offset > size || bytes > size - tensors[i].offset ||
            (i > 0 && tensors[i].offset != end) ||
            rz_safetensors_find(file, tensors[i].name) != &tensors[i])
            abort();
        end = tensors[i].offset + bytes;
        float *values = malloc(bytes > 0 ? bytes : 1);
        if (values == NULL)
            abort();
        if (rz_safetensors_read(file, &tensors[i], values, &error) != RZ_OK &&
            strstr(error.text, "not a finite number") == NULL)
            abort();
        free(values);
    }
    if (n > 0 && end != size)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int fd = -1;
    static char path[64];
    rz_error error = {0};
    rz_safetensors *file = NULL;
    if (fd < 0) {
        fd = memfd_create("fuzz", MFD_CLOEXEC);
        if (fd < 0)
            abort();
        (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    }
    if (ftruncate(fd, (off_t)size) != 0 || pwrite(fd, data, size, 0) != (ssize_t)size)
        abort();
    if (rz_safetensors_open(path, &file, &error) == RZ_OK)
        read_all(file, size);
    else if (error.text[0] == '\0')
        abort();
    rz_safetensors_close(file);
    return 0;
}
