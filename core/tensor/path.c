#include "tensor/path.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

rz_status rz_tensor_choose(rz_tensor_path *out, rz_error *error)
{
    const char *wanted = getenv("REZEPT_TENSOR");
    bool automatic = wanted == NULL || wanted[0] == '\0' || strcmp(wanted, "auto") == 0;
    bool blas = !automatic && strcmp(wanted, "openblas") == 0;
    rz_tensor_path path = {.kernels = rz_kernels_find(automatic || blas ? NULL : wanted),
                           .packed = !blas};
    if (path.kernels == NULL)
        return rz_fail(error, RZ_E_INVALID,
                       "REZEPT_TENSOR=%.32s is unknown or not for this CPU; openblas, generic and "
                       "%s are possible here",
                       wanted, rz_kernels_find(NULL)->name);
    path.name = blas ? "openblas" : path.kernels->name;
    if (automatic)
        (void)snprintf(path.why, sizeof path.why, "the widest instruction set of this CPU");
    else
        (void)snprintf(path.why, sizeof path.why, "REZEPT_TENSOR=%s", path.name);
    *out = path;
    return RZ_OK;
}
