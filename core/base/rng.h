/* Counter-based random numbers (Philox4x32-10, Salmon et al., SC 2011): a draw depends only on
 * (seed, stream, position), never on threads or machines. The whole state is plain data and can be
 * written into a checkpoint. */
#ifndef RZ_BASE_RNG_H
#define RZ_BASE_RNG_H

#include <stdint.h>

typedef struct rz_rng {
    uint64_t seed, stream;
    uint64_t position; /* number of 32-bit words drawn so far */
    uint32_t block[4]; /* the words of the current counter value */
} rz_rng;

/* `stream` keeps users of one seed apart: a patient, a step, a purpose. */
void rz_rng_init(rz_rng *rng, uint64_t seed, uint64_t stream);

uint32_t rz_rng_u32(rz_rng *rng);
uint64_t rz_rng_u64(rz_rng *rng);
double rz_rng_uniform(rz_rng *rng);                 /* [0, 1), 53 bits */
uint32_t rz_rng_below(rz_rng *rng, uint32_t bound); /* [0, bound), unbiased; bound > 0 */
double rz_rng_normal(rz_rng *rng);                  /* mean 0, deviation 1; polar method */
double rz_rng_exponential(rz_rng *rng);             /* mean 1 */

/* Four words at an absolute place, without state: what kernels (dropout, masking) use. */
void rz_rng_at(uint64_t seed, uint64_t stream, uint64_t counter, uint32_t out[4]);

#endif
