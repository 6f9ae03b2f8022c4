#include "check.h"

#include "base/rng.h"

/* Known answers of Philox4x32-10 from the authors' test vectors (Random123, kat_vectors). */
static void known_answers(void **state)
{
    (void)state;
    uint32_t out[4];
    rz_rng_at(0, 0, 0, out);
    assert_int_equal(out[0], 0x6627e8d5u);
    assert_int_equal(out[1], 0xe169c58du);
    assert_int_equal(out[2], 0xbc57ac4cu);
    assert_int_equal(out[3], 0x9b00dbd8u);
    rz_rng_at(UINT64_MAX, UINT64_MAX, UINT64_MAX, out);
    assert_int_equal(out[0], 0x408f276du);
    assert_int_equal(out[1], 0x41c83b0eu);
    assert_int_equal(out[2], 0xa20bc7c6u);
    assert_int_equal(out[3], 0x6d5451fdu);
}

static void moments(void **state)
{
    (void)state;
    rz_rng rng;
    rz_rng_init(&rng, 1, 1);
    enum { N = 200000 };
    double uniform = 0, normal = 0, squares = 0, exponential = 0;
    unsigned counts[7] = {0};
    for (int i = 0; i < N; i++) {
        double x = rz_rng_normal(&rng);
        uniform += rz_rng_uniform(&rng);
        normal += x;
        squares += x * x;
        exponential += rz_rng_exponential(&rng);
        counts[rz_rng_below(&rng, 7)]++;
    }
    check_near(uniform / N, 0.5, 0.004);
    check_near(normal / N, 0.0, 0.012);
    check_near(squares / N, 1.0, 0.02);
    check_near(exponential / N, 1.0, 0.012);
    for (int i = 0; i < 7; i++)
        check_near(counts[i], N / 7.0, 5 * sqrt(N / 7.0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(known_answers), cmocka_unit_test(moments)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
