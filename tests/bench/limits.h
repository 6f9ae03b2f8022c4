/* The machine's own limits: arithmetic in registers and reading from each level of memory.
 *
 * Loops with intrinsics, chosen at run time by what the CPU has. They keep enough independent
 * accumulators to fill every unit, and nothing in them can be left out by the compiler. */
#ifndef RZ_TESTS_BENCH_LIMITS_H
#define RZ_TESTS_BENCH_LIMITS_H

#include "base/pool.h"

typedef enum bench_arithmetic {
    BENCH_FLOAT32,    /* fused multiply-add */
    BENCH_BF16,       /* VDPBF16PS */
    BENCH_INT8,       /* VPDPBUSD, else VPMADDUBSW + VPMADDWD + VPADDD */
    BENCH_BF16_TILES, /* TDPBF16PS */
    BENCH_INT8_TILES, /* TDPBUSD */
    BENCH_ARITHMETIC_COUNT
} bench_arithmetic;

typedef enum bench_level {
    BENCH_L1,
    BENCH_L2,
    BENCH_L3,
    BENCH_MEMORY,
    BENCH_LEVEL_COUNT
} bench_level;

const char *bench_arithmetic_name(bench_arithmetic kind); /* "float32", "bf16", "int8 tiles" … */
const char *bench_arithmetic_unit(bench_arithmetic kind); /* "GFLOP/s", "GOP/s" */
const char *bench_level_name(bench_level level);          /* "L1" … "memory" */

/* The instructions that a measurement uses ("avx512-vnni", "avx2"), or NULL where the CPU has none;
 * *reason then says what is missing. */
const char *bench_arithmetic_path(bench_arithmetic kind, const char **reason);

/* Operations a second, in 1e9, on all threads of a pool: multiplications and additions count one
 * each. NaN where the CPU lacks the instructions. */
typedef struct bench_rate {
    double best;    /* of several passes: the limit of an idle machine */
    double average; /* what work of that length can be held against on a machine that is shared */
    double by_cpu;  /* operations per CPU second, times threads: others do not show in it */
} bench_rate;

/* Runs for about `seconds`, at least one pass. pool: NULL = one thread. */
bench_rate bench_limit(rz_pool *pool, bench_arithmetic kind, double seconds);

/* Bytes that each of the pool's threads walks through at a level: half of its share. */
size_t bench_level_bytes(bench_level level, unsigned n_threads);

/* 1e9 bytes a second, all threads together, each in its own memory. The best of several passes. */
double bench_bandwidth(rz_pool *pool, bench_level level, double seconds);

#endif
