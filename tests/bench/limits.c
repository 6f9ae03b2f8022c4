/* The limits of the machine as loops that do nothing but one thing. */
#include "limits.h"

#include "bench.h"

#include "tensor/kernels.h"

#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

/* Twelve chains: more than latency (4 or 5) times units (2) of the CPUs known, and few enough for
 * the sixteen registers of AVX2. */
enum { CHAINS = 12 };

/* GCC leaves small constant loops rolled below -O3; clang unrolls them by itself. */
#if defined(__GNUC__) && !defined(__clang__)
#define UNROLL _Pragma("GCC unroll 16")
#else
#define UNROLL
#endif
#define EACH_CHAIN UNROLL for (int k = 0; k < CHAINS; k++)

enum { LOADS = 8 }; /* of a step, when reading */
#define EACH_LOAD UNROLL for (size_t k = 0; k < LOADS; k++)

/* Says that a register may have changed, at no cost: what reads it cannot leave the loop, what it
 * holds cannot be left out, and chains that begin alike are not taken for one. */
#define RENEW(r) __asm__ volatile("" : "+x"(r))
#define WIDE(r)  __asm__ volatile("" : "+v"(r)) /* all 32 registers of AVX-512 */

typedef void pass_fn(size_t rounds); /* a round: every chain once */

typedef struct loop {
    const char *name;
    pass_fn *pass;
    double operations; /* of one chain in a round */
} loop;

/* Vectors of four without any extension: the portable way, where there is nothing better. */
typedef float f32x4 __attribute__((vector_size(16)));

static void f32_portable(size_t rounds)
{
    volatile float start = 1.0f;
    f32x4 sum[CHAINS], a = {0.5f, 0.5f, 0.5f, 0.5f}, b = {1.0f, 1.0f, 1.0f, 1.0f};
    EACH_CHAIN sum[k] = b * start;
    for (size_t i = 0; i < rounds; i++)
        EACH_CHAIN sum[k] = sum[k] * a + b;
    volatile float out = 0.0f;
    EACH_CHAIN out = out + sum[k][0];
}

#if defined(__x86_64__)
__attribute__((target("avx2,fma"))) static void f32_avx2(size_t rounds)
{
    __m256 sum[CHAINS], a = _mm256_set1_ps(0.5f), b = _mm256_set1_ps(1.0f);
    EACH_CHAIN sum[k] = b;
    EACH_CHAIN RENEW(sum[k]);
    for (size_t i = 0; i < rounds; i++)
        EACH_CHAIN sum[k] = _mm256_fmadd_ps(sum[k], a, b);
    EACH_CHAIN RENEW(sum[k]);
}

__attribute__((target("avx512f"))) static void f32_avx512(size_t rounds)
{
    __m512 sum[CHAINS], a = _mm512_set1_ps(0.5f), b = _mm512_set1_ps(1.0f);
    EACH_CHAIN sum[k] = b;
    EACH_CHAIN WIDE(sum[k]);
    for (size_t i = 0; i < rounds; i++)
        EACH_CHAIN sum[k] = _mm512_fmadd_ps(sum[k], a, b);
    EACH_CHAIN WIDE(sum[k]);
}

__attribute__((target("avx512f,avx512bf16"))) static void bf16_avx512(size_t rounds)
{
    __m512 sum[CHAINS];
    __m512bh a = _mm512_cvtne2ps_pbh(_mm512_set1_ps(0.5f), _mm512_set1_ps(0.5f));
    EACH_CHAIN sum[k] = _mm512_setzero_ps();
    EACH_CHAIN WIDE(sum[k]);
    for (size_t i = 0; i < rounds; i++) {
        WIDE(a);
        EACH_CHAIN sum[k] = _mm512_dpbf16_ps(sum[k], a, a);
    }
    EACH_CHAIN WIDE(sum[k]);
}

__attribute__((target("avx512f,avx512vnni"))) static void int8_avx512(size_t rounds)
{
    __m512i sum[CHAINS], a = _mm512_set1_epi8(3);
    EACH_CHAIN sum[k] = _mm512_setzero_si512();
    EACH_CHAIN WIDE(sum[k]);
    for (size_t i = 0; i < rounds; i++) {
        WIDE(a);
        EACH_CHAIN sum[k] = _mm512_dpbusd_epi32(sum[k], a, a);
    }
    EACH_CHAIN WIDE(sum[k]);
}

/* VPDPBUSD in its form without AVX-512. */
__attribute__((target("avx2,avxvnni"))) static void int8_avx_vnni(size_t rounds)
{
    __m256i sum[CHAINS], a = _mm256_set1_epi8(3);
    EACH_CHAIN sum[k] = _mm256_setzero_si256();
    EACH_CHAIN RENEW(sum[k]);
    for (size_t i = 0; i < rounds; i++) {
        RENEW(a);
        EACH_CHAIN sum[k] = _mm256_dpbusd_avx_epi32(sum[k], a, a);
    }
    EACH_CHAIN RENEW(sum[k]);
}

/* Three instructions in place of VPDPBUSD. Products are renewed one by one: equal ones would be
 * made once. */
__attribute__((target("avx2"))) static void int8_avx2(size_t rounds)
{
    __m256i sum[CHAINS], a = _mm256_set1_epi8(3), ones = _mm256_set1_epi16(1);
    EACH_CHAIN sum[k] = _mm256_setzero_si256();
    EACH_CHAIN RENEW(sum[k]);
    for (size_t i = 0; i < rounds; i++)
        EACH_CHAIN
        {
            RENEW(a);
            __m256i pairs = _mm256_maddubs_epi16(a, a);
            sum[k] = _mm256_add_epi32(sum[k], _mm256_madd_epi16(pairs, ones));
        }
    EACH_CHAIN RENEW(sum[k]);
}

/* Six tiles of sums, as the products have them; the other two hold zeros, which cost the same. A
 * round is a chain of each. */
enum { TILES = 6 };

__attribute__((target("amx-tile"))) static void shape_tiles(void)
{
    struct {
        uint8_t palette, start, reserved[14];
        uint16_t row_bytes[16];
        uint8_t rows[16];
    } shapes = {.palette = 1};
    for (int t = 0; t < TILES + 2; t++) {
        shapes.row_bytes[t] = 64;
        shapes.rows[t] = 16;
    }
    _tile_loadconfig(&shapes);
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    _tile_zero(4);
    _tile_zero(5);
    _tile_zero(6);
    _tile_zero(7);
}

__attribute__((target("amx-tile,amx-bf16"))) static void bf16_tiles(size_t rounds)
{
    shape_tiles();
    for (size_t i = 0; i < rounds; i++) {
        _tile_dpbf16ps(0, 7, 6);
        _tile_dpbf16ps(1, 7, 6);
        _tile_dpbf16ps(2, 7, 6);
        _tile_dpbf16ps(3, 7, 6);
        _tile_dpbf16ps(4, 7, 6);
        _tile_dpbf16ps(5, 7, 6);
    }
    _tile_release();
}

__attribute__((target("amx-tile,amx-int8"))) static void int8_tiles(size_t rounds)
{
    shape_tiles();
    for (size_t i = 0; i < rounds; i++) {
        _tile_dpbusd(0, 7, 6);
        _tile_dpbusd(1, 7, 6);
        _tile_dpbusd(2, 7, 6);
        _tile_dpbusd(3, 7, 6);
        _tile_dpbusd(4, 7, 6);
        _tile_dpbusd(5, 7, 6);
    }
    _tile_release();
}

/* __builtin_cpu_supports of clang 14 does not know it. */
static bool has_avx_vnni(void)
{
    unsigned a = 0, b = 0, c = 0, d = 0;
    return __builtin_cpu_supports("avx2") && __get_cpuid_count(7, 1, &a, &b, &c, &d) != 0 &&
           (a >> 4 & 1) != 0;
}

static loop loop_of(bench_arithmetic kind, const char **reason)
{
    const loop none = {0};
    bool avx512 = __builtin_cpu_supports("avx512f"), avx2 = __builtin_cpu_supports("avx2");
    *reason = NULL;
    switch (kind) {
    case BENCH_BF16_TILES:
    case BENCH_INT8_TILES:
        /* Whoever finds the kernels has asked Linux for tiles, too. Per chain of a round as all
         * others, though there are fewer: 16 x 16 sums of 32 or 64 products. */
        if (rz_kernels_find("amx") != NULL)
            return kind == BENCH_BF16_TILES
                       ? (loop){"amx-bf16", bf16_tiles, 16.0 * 16 * 32 * 2 * TILES / CHAINS}
                       : (loop){"amx-int8", int8_tiles, 16.0 * 16 * 64 * 2 * TILES / CHAINS};
        *reason = "this CPU lacks AMX, or Linux does not allow it";
        return none;
    case BENCH_BF16:
        if (avx512 && __builtin_cpu_supports("avx512bf16"))
            return (loop){"avx512-bf16", bf16_avx512, 64.0};
        *reason = "this CPU lacks AVX512_BF16";
        return none;
    case BENCH_INT8:
        if (avx512 && __builtin_cpu_supports("avx512vnni"))
            return (loop){"avx512-vnni", int8_avx512, 128.0};
        if (has_avx_vnni())
            return (loop){"avx-vnni", int8_avx_vnni, 64.0};
        if (avx2)
            return (loop){"avx2", int8_avx2, 64.0};
        *reason = "this CPU lacks AVX2";
        return none;
    default:
        if (avx512)
            return (loop){"avx512", f32_avx512, 32.0};
        if (avx2 && __builtin_cpu_supports("fma"))
            return (loop){"avx2", f32_avx2, 16.0};
        return (loop){"portable", f32_portable, 8.0};
    }
}
#else
static loop loop_of(bench_arithmetic kind, const char **reason)
{
    *reason = kind == BENCH_FLOAT32 ? NULL : "measured on x86-64 only";
    return kind == BENCH_FLOAT32 ? (loop){"portable", f32_portable, 8.0} : (loop){0};
}
#endif

const char *bench_arithmetic_name(bench_arithmetic kind)
{
    static const char *const names[] = {"float32", "bf16", "int8", "bf16 tiles", "int8 tiles"};
    return names[kind];
}

const char *bench_arithmetic_unit(bench_arithmetic kind)
{
    return kind == BENCH_INT8 || kind == BENCH_INT8_TILES ? "GOP/s" : "GFLOP/s";
}

const char *bench_arithmetic_path(bench_arithmetic kind, const char **reason)
{
    return loop_of(kind, reason).name;
}

enum { ROUNDS = 25000, TASKS_EACH = 4 }; /* a task: a tenth of a millisecond */

static void run_arithmetic(void *context, size_t task, unsigned worker)
{
    (void)task;
    (void)worker;
    ((const loop *)context)->pass(ROUNDS);
}

bench_rate bench_limit(rz_pool *pool, bench_arithmetic kind, double seconds)
{
    const char *reason;
    loop l = loop_of(kind, &reason);
    unsigned threads = rz_pool_size(pool);
    size_t tasks = (size_t)threads * TASKS_EACH, passes = 0;
    double work = 1e-9 * (double)tasks * ROUNDS * CHAINS * l.operations;
    double start = seconds_now(), cpu = cpu_now(), now = start;
    bench_rate rate = {0.0, (double)NAN, (double)NAN};
    if (l.pass == NULL)
        return (bench_rate){(double)NAN, (double)NAN, (double)NAN};
    for (; now - start < seconds || passes == 0; passes++) {
        double before = now;
        rz_pool_run(pool, tasks, run_arithmetic, &l);
        now = seconds_now();
        double pass = work / (now - before);
        rate.best = pass > rate.best ? pass : rate.best;
    }
    rate.average = work * (double)passes / (now - start);
    rate.by_cpu = work * (double)passes / (cpu_now() - cpu) * threads;
    return rate;
}

/* ---- reading --------------------------------------------------------------------------------- */

const char *bench_level_name(bench_level level)
{
    static const char *const names[] = {"L1", "L2", "L3", "memory"};
    return names[level];
}

/* A line of a file under /sys without its end; false when it is not there. */
static bool read_line(const char *folder, int index, const char *name, char *out, int cap)
{
    char path[96];
    (void)snprintf(path, sizeof path, "%s/index%d/%s", folder, index, name);
    FILE *file = fopen(path, "rb");
    bool good = file != NULL && fgets(out, cap, file) != NULL;
    if (file != NULL)
        (void)fclose(file);
    return good;
}

/* What the kernel says of a cache, or a common size where it says nothing. (sysconf would be
 * shorter, but glibc 2.36 multiplies the L3 of some virtual machines.) */
static size_t cache_bytes(int level, size_t otherwise)
{
    for (int index = 0; index < 8; index++) {
        char text[32], type[32], size[32];
        const char *folder = "/sys/devices/system/cpu/cpu0/cache";
        if (!read_line(folder, index, "level", text, sizeof text) ||
            !read_line(folder, index, "type", type, sizeof type) ||
            !read_line(folder, index, "size", size, sizeof size))
            break;
        if (strtol(text, NULL, 10) == level && type[0] != 'I') {
            char *unit;
            size_t bytes = strtoul(size, &unit, 10);
            return *unit == 'K' ? bytes << 10 : *unit == 'M' ? bytes << 20 : bytes;
        }
    }
    return otherwise;
}

size_t bench_level_bytes(bench_level level, unsigned n_threads)
{
    const size_t chunk = 4096, most = (size_t)256 << 20;
    size_t l1 = cache_bytes(1, 32 << 10), l2 = cache_bytes(2, 512 << 10),
           l3 = cache_bytes(3, 16 << 20), bytes;
    if (level == BENCH_L1)
        bytes = l1 / 2;
    else if (level == BENCH_L2)
        bytes = l2 / 2;
    else if (level == BENCH_L3)
        bytes = l3 / 2 / n_threads;
    else
        bytes = 4 * l3 < most ? most / n_threads : 4 * l3 / n_threads;
    /* An L3 share that fits L2 would measure L2. */
    if (level == BENCH_L3 && bytes < 2 * l2)
        bytes = 2 * l2;
    return bytes / chunk * chunk;
}

typedef void read_fn(const char *data, size_t bytes);

/* Eight loads a step, each or-ed into a chain of its own. bytes: a multiple of 4,096. */
typedef long long i64x2 __attribute__((vector_size(16)));

static void read_portable(const char *data, size_t bytes)
{
    const i64x2 *p = (const i64x2 *)(const void *)data;
    i64x2 any[LOADS] = {{0}};
    for (size_t i = 0; i < bytes / sizeof *p; i += LOADS)
        EACH_LOAD
    any[k] |= p[i + k];
    volatile long long out = 0;
    for (size_t k = 0; k < LOADS; k++)
        out = out | any[k][0];
}

#if defined(__x86_64__)
__attribute__((target("avx2"))) static void read_avx2(const char *data, size_t bytes)
{
    const __m256i *p = (const __m256i *)(const void *)data;
    __m256i any[LOADS];
    EACH_LOAD any[k] = _mm256_setzero_si256();
    for (size_t i = 0; i < bytes / sizeof *p; i += LOADS)
        EACH_LOAD
    any[k] = _mm256_or_si256(any[k], _mm256_load_si256(p + i + k));
    EACH_LOAD RENEW(any[k]);
}

__attribute__((target("avx512f"))) static void read_avx512(const char *data, size_t bytes)
{
    const char *p = data;
    __m512i any[LOADS];
    EACH_LOAD any[k] = _mm512_setzero_si512();
    for (size_t i = 0; i < bytes; i += LOADS * sizeof(__m512i))
        EACH_LOAD
    any[k] = _mm512_or_si512(any[k], _mm512_load_si512(p + i + k * sizeof(__m512i)));
    EACH_LOAD WIDE(any[k]);
}
#endif

static read_fn *reader(void)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f"))
        return read_avx512;
    if (__builtin_cpu_supports("avx2"))
        return read_avx2;
#endif
    return read_portable;
}

typedef struct reading {
    read_fn *read;
    char **data; /* one piece a task */
    size_t bytes, repeats;
} reading;

static void run_reading(void *context, size_t task, unsigned worker)
{
    (void)worker;
    const reading *r = context;
    for (size_t i = 0; i < r->repeats; i++) {
        r->read(r->data[task], r->bytes);
        __asm__ volatile("" ::: "memory"); /* the next walk is not the same walk */
    }
}

double bench_bandwidth(rz_pool *pool, bench_level level, double seconds)
{
    unsigned n = rz_pool_size(pool);
    reading r = {.read = reader(), .bytes = bench_level_bytes(level, n)};
    r.repeats = ((size_t)16 << 20) / r.bytes + 1;
    r.data = bench_memory(n, sizeof *r.data);
    for (unsigned i = 0; i < n; i++) {
        r.data[i] = bench_memory(r.bytes, 1);
        memset(r.data[i], 1, r.bytes); /* pages of its own: zeroed ones may be shared */
    }
    double best = 0.0, start = seconds_now();
    rz_pool_run(pool, n, run_reading, &r); /* into the cache */
    do {
        double before = seconds_now();
        rz_pool_run(pool, n, run_reading, &r);
        double rate = (double)n * (double)r.bytes * (double)r.repeats / (seconds_now() - before);
        best = rate > best ? rate : best;
    } while (seconds_now() - start < seconds);
    for (unsigned i = 0; i < n; i++)
        free(r.data[i]);
    free(r.data);
    return best * 1e-9;
}
