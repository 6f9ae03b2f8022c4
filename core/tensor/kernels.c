/* Chooses the kernels at run time by what the CPU and the kernel of the system can do. */
#define _DEFAULT_SOURCE /* syscall */
#include "tensor/kernels.h"

#include <stdbool.h>
#include <string.h>

extern const rz_kernels rz_kernels_generic;
#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

extern const rz_kernels rz_kernels_amx, rz_kernels_avx512_bf16, rz_kernels_avx512, rz_kernels_avx2;

/* Tiles need the CPU (leaf 7: AMX-BF16, -TILE, -INT8) and Linux' permission, which a process asks
 * for once and keeps. Source  Linux, Documentation/arch/x86/xstate.rst. */
static bool has_tiles(void)
{
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };
    const unsigned all = 1u << 22 | 1u << 24 | 1u << 25;
    unsigned a, b, c, d;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (d & all) == all &&
           syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
}
#endif

const rz_kernels *rz_kernels_find(const char *limit)
{
    const rz_kernels *found[5];
    size_t n = 0;
#if defined(__x86_64__)
    __builtin_cpu_init();
    bool wide = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    bool low = wide && __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512vnni");
    if (low && has_tiles())
        found[n++] = &rz_kernels_amx;
    if (low)
        found[n++] = &rz_kernels_avx512_bf16;
    if (wide)
        found[n++] = &rz_kernels_avx512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        found[n++] = &rz_kernels_avx2;
#endif
    found[n++] = &rz_kernels_generic;
    for (size_t i = 0; i < n; i++)
        if (limit == NULL || strcmp(limit, found[i]->name) == 0)
            return found[i];
    return NULL;
}

static size_t padded(size_t n)
{
    return (n + RZ_LANES - 1) / RZ_LANES * RZ_LANES;
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* Forward: maximum and sum, scores, queries and result transposed, for a tile of queries; keys and
 * values. Backward: keys and values with their gradients transposed, keys; for a tile of queries
 * themselves, their gradients and those of the result, and weights with their gradients. In words
 * queries and what comes with them are kept in two ways, and rows may be half a word's unit wider.
 */
size_t rz_attention_scratch(size_t n_keys, size_t head_size)
{
    size_t back = RZ_ATTENTION_BACK_KEYS, tile = RZ_ATTENTION_BACK_QUERIES;
    size_t wide = padded(head_size), words = padded((head_size + 1) / 2);
    size_t keys = (n_keys + back - 1) / back * back, most = larger(head_size, words);
    size_t forward = (2 + RZ_ATTENTION_KEYS + 3 * most) * RZ_ATTENTION_QUERIES_MAX +
                     n_keys * (most + wide) + wide;
    size_t backward = 4 * head_size * keys + keys * wide + tile * (3 * wide + 2 * back);
    size_t backward_words = (2 * words + 2 * head_size + wide / 2) * keys +
                            tile * (2 * wide + 3 * words + 5 * back / 2);
    return larger(forward, larger(backward, backward_words));
}

rz_dropout rz_dropout_make(float p, uint64_t seed, uint64_t stream)
{
    rz_dropout dropout = {.seed = seed, .stream = stream};
    dropout.threshold = (uint32_t)(p * 65536.0f + 0.5f);
    dropout.scale = 65536.0f / (65536.0f - (float)dropout.threshold);
    return dropout;
}
