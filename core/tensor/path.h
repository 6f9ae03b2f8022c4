/* How this process multiplies: chosen by what the CPU can do, or by REZEPT_TENSOR. */
#ifndef RZ_TENSOR_PATH_H
#define RZ_TENSOR_PATH_H

#include "base/status.h"
#include "tensor/kernels.h"

typedef struct rz_tensor_path {
    const char *name; /* that of the kernels, or "openblas"; static */
    const rz_kernels *kernels;
    bool packed;   /* products with weights are Rezept's own; otherwise the BLAS' */
    char why[120]; /* the reason of the choice, for people */
} rz_tensor_path;

/* REZEPT_TENSOR = openblas | amx | avx512_bf16 | avx512 | avx2 | generic forces one; unset or
 * "auto", the widest instruction set wins. Errors  RZ_E_INVALID, naming the value: unknown, or not
 * for this CPU. Threads: safe. */
RZ_MUST_CHECK rz_status rz_tensor_choose(rz_tensor_path *out, rz_error *error);

#endif
