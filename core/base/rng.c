/* Philox4x32 with ten rounds. key = seed, counter = (position / 4, stream). */
#include "base/rng.h"

#include "base/portable_math.h"

void rz_rng_at(uint64_t seed, uint64_t stream, uint64_t counter, uint32_t out[4])
{
    uint32_t c0 = (uint32_t)counter, c1 = (uint32_t)(counter >> 32);
    uint32_t c2 = (uint32_t)stream, c3 = (uint32_t)(stream >> 32);
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
        uint32_t n0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0, n2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1;
        c3 = (uint32_t)p0;
        c0 = n0;
        c2 = n2;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

void rz_rng_init(rz_rng *rng, uint64_t seed, uint64_t stream)
{
    *rng = (rz_rng){.seed = seed, .stream = stream};
}

uint32_t rz_rng_u32(rz_rng *rng)
{
    if (rng->position % 4 == 0)
        rz_rng_at(rng->seed, rng->stream, rng->position / 4, rng->block);
    return rng->block[rng->position++ % 4];
}

uint64_t rz_rng_u64(rz_rng *rng)
{
    uint64_t high = rz_rng_u32(rng);
    return high << 32 | rz_rng_u32(rng);
}

double rz_rng_uniform(rz_rng *rng)
{
    return (double)(rz_rng_u64(rng) >> 11) * 0x1p-53;
}

uint32_t rz_rng_below(rz_rng *rng, uint32_t bound)
{
    /* Lemire 2019: multiply, and draw again in the few cases that would favour small values. */
    uint64_t product = (uint64_t)rz_rng_u32(rng) * bound;
    if ((uint32_t)product < bound) {
        uint32_t threshold = (uint32_t)-bound % bound;
        while ((uint32_t)product < threshold)
            product = (uint64_t)rz_rng_u32(rng) * bound;
    }
    return (uint32_t)(product >> 32);
}

double rz_rng_normal(rz_rng *rng)
{
    for (;;) {
        double u = 2.0 * rz_rng_uniform(rng) - 1.0, v = 2.0 * rz_rng_uniform(rng) - 1.0;
        double s = u * u + v * v;
        if (s > 0.0 && s < 1.0)
            return u * rz_sqrt(-2.0 * rz_log(s) / s);
    }
}

double rz_rng_exponential(rz_rng *rng)
{
    return -rz_log(1.0 - rz_rng_uniform(rng));
}
