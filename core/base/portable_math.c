/* Reproducible elementary functions.
 *
 * exp: x = k ln2 + r with |r| <= ln2 / 2, Taylor series of exp(r) to r^13, scaled by 2^k.
 * log: x = m 2^k with m in [sqrt(1/2), sqrt(2)), log m = 2 atanh(s), s = (m - 1) / (m + 1). */
#include "base/portable_math.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

/* ln 2 in two parts: the first has zeros at its end, so that k * LN2_HIGH is exact. */
static const double LN2_HIGH = 0x1.62e42feep-1, LN2_LOW = 0x1.a39ef35793c76p-33;

static double from_bits(uint64_t bits)
{
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static uint64_t to_bits(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

double rz_exp(double x)
{
    if (isnan(x))
        return x;
    if (x > 709.782712893384)
        return INFINITY;
    if (x < -745.1332191019412)
        return 0.0;
    double scaled = x * 0x1.71547652b82fep+0;
    int k = (int)(scaled < 0.0 ? scaled - 0.5 : scaled + 0.5);
    double r = (x - k * LN2_HIGH) - k * LN2_LOW;
    static const double inverse_factorial[] = {
        1.0 / 6227020800.0, 1.0 / 479001600.0, 1.0 / 39916800.0, 1.0 / 3628800.0,
        1.0 / 362880.0,     1.0 / 40320.0,     1.0 / 5040.0,     1.0 / 720.0,
        1.0 / 120.0,        1.0 / 24.0,        1.0 / 6.0,        0.5};
    double sum = inverse_factorial[0];
    for (unsigned i = 1; i < sizeof inverse_factorial / sizeof *inverse_factorial; i++)
        sum = sum * r + inverse_factorial[i];
    double result = 1.0 + (r + r * r * sum);
    /* Two steps keep the scale a normal number at both ends of the range. */
    int half = k / 2;
    result *= from_bits((uint64_t)(half + 1023) << 52);
    return result * from_bits((uint64_t)(k - half + 1023) << 52);
}

double rz_log(double x)
{
    if (isnan(x) || x < 0.0)
        return NAN;
    if (x == 0.0)
        return -INFINITY;
    if (isinf(x))
        return x;
    int k = 0;
    if (x < 0x1p-1022) {
        x *= 0x1p54;
        k = -54;
    }
    uint64_t bits = to_bits(x);
    k += (int)(bits >> 52) - 1023;
    double m = from_bits((bits & 0xfffffffffffffull) | 0x3ff0000000000000ull);
    if (m > 0x1.6a09e667f3bcdp+0) {
        m *= 0.5;
        k++;
    }
    double f = m - 1.0, s = f / (2.0 + f), z = s * s, sum = 0.0;
    for (int n = 21; n >= 3; n -= 2)
        sum = (sum + 1.0 / n) * z;
    /* log m = 2 s (1 + z/3 + z²/5 + …); written as f - s (f - 2 sum) so that f is kept exactly. */
    return k * LN2_HIGH + (f - (s * (f - 2.0 * sum) - k * LN2_LOW));
}

double rz_sqrt(double x)
{
    return sqrt(x);
}

double rz_sigmoid(double x)
{
    if (x >= 0.0)
        return 1.0 / (1.0 + rz_exp(-x));
    double e = rz_exp(x);
    return e / (1.0 + e);
}

double rz_logit(double p)
{
    return rz_log(p) - rz_log(1.0 - p);
}
