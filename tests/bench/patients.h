/* The patients of the benchmarks: random ones, or those of a database.
 *
 * A random patient has 20 to 512 tokens, uniform, [CLS] and sex included, and codes drawn from all
 * of the vocabulary; both depend on the patient's number alone. Peers get the same lengths
 * (bench-encoder --write-lengths). A share of the population keeps its mean length and its
 * spread: for sizes whose whole pass would take minutes. */
#ifndef RZ_TESTS_BENCH_PATIENTS_H
#define RZ_TESTS_BENCH_PATIENTS_H

#include "model/model.h"

enum { BENCH_POPULATION = 256, BENCH_CODES = 1930, BENCH_SHORTEST = 20, BENCH_LONGEST = 512 };

typedef struct bench_patients {
    size_t n;
    const rz_timeline **list; /* [n] */
    int32_t *as_of;           /* [n] */
    rz_vocabulary *vocabulary;
    rz_arena arena;
} bench_patients;

/* Tokens of random patient number i. */
size_t bench_length(size_t patient);

/* n random patients; length: of all of them in tokens, or 0 = mixed. */
void bench_patients_random(bench_patients *patients, size_t n, size_t length);

/* Of BENCH_POPULATION random patients: all (share 1), or the half (2) or quarter (4) whose lengths
 * lie in eighths of the population that are symmetric about the median. */
void bench_patients_share(bench_patients *patients, unsigned share);

/* The first n patients of a database that have at least BENCH_SHORTEST tokens, as known at their
 * end, with the vocabulary of their codes. Ends the program when there are fewer than `least`. */
void bench_patients_stored(bench_patients *patients, const char *db, size_t n, size_t least);

void bench_patients_done(bench_patients *patients);

/* One packed batch of patients first … first + n - 1. */
void bench_batch(const rz_model *model, const bench_patients *patients, size_t first, size_t n,
                 rz_batch *out);

/* A model of a size ("2.2m") for these patients, with four heads; parameters drawn from seed 1. */
rz_model *bench_model(const char *size, const bench_patients *patients, rz_pool *pool);

#endif
