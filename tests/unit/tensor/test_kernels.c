/* Row kernels and attention, on every instruction set that this machine runs: forward against
 * double-precision references, backward against central differences of those references. */
#include "check.h"

#include "base/rng.h"
#include "base/size.h"
#include "tensor/kernels.h"

enum { N = 48 };

extern const rz_kernels rz_kernels_wide; /* of this test: vectors of 16 on any CPU */

static const rz_kernels *const *all_kernels(size_t *n)
{
    static const char *const names[] = {"generic", "avx2", "avx512", "avx512_bf16", "amx"};
    static const rz_kernels *found[6] = {&rz_kernels_wide};
    *n = 1;
    for (size_t i = 0; i < RZ_COUNT(names); i++)
        if ((found[*n] = rz_kernels_find(names[i])) != NULL)
            (*n)++;
    return found;
}

static void fill(float *x, size_t n, uint64_t stream, double scale)
{
    rz_rng rng;
    rz_rng_init(&rng, 5, stream);
    for (size_t i = 0; i < n; i++)
        x[i] = (float)(scale * rz_rng_normal(&rng));
}

/* Normwise relative difference. */
static double distance(const float *actual, const double *wanted, size_t n)
{
    double difference = 0.0, size = 0.0;
    for (size_t i = 0; i < n; i++) {
        difference += ((double)actual[i] - wanted[i]) * ((double)actual[i] - wanted[i]);
        size += wanted[i] * wanted[i];
    }
    return sqrt(difference / (size > 0.0 ? size : 1.0));
}

/* d loss / d x by central differences of a double-precision loss; x is restored. */
typedef double loss_fn(void *context);
static void differences(loss_fn *loss, void *context, double *x, size_t n, double *out)
{
    const double step = 1e-5;
    for (size_t i = 0; i < n; i++) {
        double old = x[i];
        x[i] = old + step;
        double up = loss(context);
        x[i] = old - step;
        out[i] = (up - loss(context)) / (2.0 * step);
        x[i] = old;
    }
}

static void widen(double *out, const float *in, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = (double)in[i];
}

static void names_are_known(void **state)
{
    (void)state;
    assert_non_null(rz_kernels_find(NULL));
    assert_string_equal(rz_kernels_find("generic")->name, "generic");
    assert_null(rz_kernels_find("mmx"));
}

static void exponential(void **state)
{
    (void)state;
    size_t n_sets;
    const rz_kernels *const *sets = all_kernels(&n_sets);
    for (size_t s = 0; s < n_sets; s++) {
        double worst = 0.0;
        float x[1003], y[1003];
        for (size_t i = 0; i < 1003; i++)
            x[i] = -86.0f + (float)i * 0.1734f;
        sets[s]->exp_rows(y, x, 1003);
        for (size_t i = 0; i < 1003; i++) {
            double wanted = exp((double)x[i]);
            if (x[i] <= 88.0f)
                worst = fmax(worst, fabs((double)y[i] - wanted) / wanted);
        }
        check_near(worst, 0.0, 2e-7);
        const float edge[] = {-INFINITY, -87.0f, 0.0f, INFINITY, NAN};
        sets[s]->exp_rows(y, edge, 5);
        assert_true(y[0] == 0.0f && y[1] == 0.0f && y[2] == 1.0f && isnan(y[4]));
        check_near((double)y[3] / exp(88.0), 1.0, 1e-6);
    }
}

static double gelu(double x)
{
    return x * 0.5 * erfc(-x / sqrt(2.0));
}

static void gelu_and_its_slope(void **state)
{
    (void)state;
    enum { POINTS = 16 * 512 };
    size_t n_sets;
    const rz_kernels *const *sets = all_kernels(&n_sets);
    static float x[POINTS], y[POINTS], dy[POINTS], dx[POINTS], again[POINTS];
    for (size_t s = 0; s < n_sets; s++) {
        for (size_t i = 0; i < POINTS; i++) {
            x[i] = -10.0f + (float)i * (20.0f / POINTS);
            dy[i] = 1.0f;
        }
        sets[s]->gelu_row(y, x, POINTS);
        sets[s]->gelu_row_backward(dx, again, dy, x, POINTS);
        assert_memory_equal(y, again, sizeof y);
        double worst_phi = 0.0, worst_slope = 0.0;
        for (size_t i = 0; i < POINTS; i++) {
            double u = (double)x[i], scale = fmax(fabs(u), 1e-3);
            worst_phi = fmax(worst_phi, fabs((double)y[i] - gelu(u)) / scale);
            double slope = (gelu(u + 1e-5) - gelu(u - 1e-5)) / 2e-5;
            worst_slope = fmax(worst_slope, fabs((double)dx[i] - slope));
        }
        check_near(worst_phi, 0.0, 2e-7);
        check_near(worst_slope, 0.0, 6e-7);
    }
}

typedef struct norm_case {
    double x[N], gain[N], bias[N], weight[N];
} norm_case;

static double norm_loss(void *context)
{
    const norm_case *c = context;
    double mean = 0.0, variance = 0.0, loss = 0.0;
    for (size_t i = 0; i < N; i++)
        mean += c->x[i] / N;
    for (size_t i = 0; i < N; i++)
        variance += (c->x[i] - mean) * (c->x[i] - mean) / N;
    for (size_t i = 0; i < N; i++)
        loss += c->weight[i] * (c->gain[i] * (c->x[i] - mean) / sqrt(variance + 1e-5) + c->bias[i]);
    return loss;
}

static void layer_norm(void **state)
{
    (void)state;
    size_t n_sets;
    const rz_kernels *const *sets = all_kernels(&n_sets);
    float x[N], gain[N], bias[N], weight[N], y[N], normal[N], dx[N];
    fill(x, N, 1, 2.0);
    fill(gain, N, 2, 1.0);
    fill(bias, N, 3, 1.0);
    fill(weight, N, 4, 1.0);
    norm_case c;
    double wanted[N];
    widen(c.x, x, N);
    widen(c.gain, gain, N);
    widen(c.bias, bias, N);
    widen(c.weight, weight, N);
    for (size_t s = 0; s < n_sets; s++) {
        float dgain[N] = {0}, dbias[N] = {0};
        double loss = 0.0;
        float inverse = sets[s]->norm_row(y, normal, x, gain, bias, 1e-5f, N);
        for (size_t i = 0; i < N; i++)
            loss += (double)weight[i] * (double)y[i];
        check_near(loss, norm_loss(&c), 1e-5);
        sets[s]->norm_row_backward(dx, dgain, dbias, weight, normal, gain, inverse, N);
        differences(norm_loss, &c, c.x, N, wanted);
        check_near(distance(dx, wanted, N), 0.0, 1e-5);
        differences(norm_loss, &c, c.gain, N, wanted);
        check_near(distance(dgain, wanted, N), 0.0, 1e-5);
        differences(norm_loss, &c, c.bias, N, wanted);
        check_near(distance(dbias, wanted, N), 0.0, 1e-5);
        float in_place[N];
        memcpy(in_place, x, sizeof x);
        sets[s]->norm_row(in_place, NULL, in_place, gain, bias, 1e-5f, N);
        assert_memory_equal(in_place, y, sizeof y);
    }
}

typedef struct entropy_case {
    double x[37];
    size_t n;
} entropy_case;

static double entropy_loss(void *context)
{
    const entropy_case *c = context;
    double sum = 0.0;
    for (size_t i = 0; i < c->n; i++)
        sum += exp(c->x[i]);
    return log(sum) - c->x[3];
}

static void cross_entropy(void **state)
{
    (void)state;
    size_t n_sets;
    const rz_kernels *const *sets = all_kernels(&n_sets);
    static const size_t lengths[] = {4, 16, 37};
    for (size_t s = 0; s < n_sets; s++)
        for (size_t l = 0; l < RZ_COUNT(lengths); l++) {
            entropy_case c = {.n = lengths[l]};
            float x[37];
            double wanted[37];
            fill(x, c.n, 9, 3.0);
            widen(c.x, x, c.n);
            differences(entropy_loss, &c, c.x, c.n, wanted);
            double loss = sets[s]->cross_entropy_row(x, 3, 0.5f, c.n);
            check_near(loss, entropy_loss(&c), 2e-6);
            for (size_t i = 0; i < c.n; i++)
                wanted[i] *= 0.5;
            check_near(distance(x, wanted, c.n), 0.0, 1e-5);
        }
}

static void elementwise_rows(void **state)
{
    (void)state;
    size_t n_sets;
    const rz_kernels *const *sets = all_kernels(&n_sets);
    float a[N + 3], b[N + 3], c[N], keep[N], y[N + 3];
    fill(a, N + 3, 1, 1.0);
    fill(b, N + 3, 2, 1.0);
    fill(c, N, 3, 1.0);
    fill(keep, N, 4, 1.0);
    for (size_t s = 0; s < n_sets; s++) {
        double sum = 0.0;
        memcpy(y, a, sizeof y);
        sets[s]->axpy(y, 0.5f, b, N + 3);
        sets[s]->add(y, b, N + 3);
        for (size_t i = 0; i < N + 3; i++) {
            check_near(y[i], (double)a[i] + 1.5 * (double)b[i], 1e-6);
            sum += (double)a[i] * (double)b[i];
        }
        check_near(sets[s]->dot(a, b, N + 3), sum, 1e-5);
        sets[s]->residual_row(y, a, keep, c, N);
        for (size_t i = 0; i < N; i++)
            check_near(y[i], (double)c[i] + (double)keep[i] * (double)a[i], 2e-6);
        sets[s]->residual_row(y, a, NULL, c, N);
        for (size_t i = 0; i < N; i++)
            check_near(y[i], (double)c[i] + (double)a[i], 2e-6);
        sets[s]->multiply_row(y, a, b, N);
        for (size_t i = 0; i < N; i++)
            check_near(y[i], (double)a[i] * (double)b[i], 1e-6);
    }
}

/* The kernel against the rule in the header, from scalar Philox; and the share that is dropped. */
static void dropout(void **state)
{
    (void)state;
    enum { WIDE = 208, ROWS = 400 };
    size_t n_sets, dropped = 0;
    const rz_kernels *const *sets = all_kernels(&n_sets);
    rz_dropout d = rz_dropout_make(0.1f, 11, 12);
    assert_int_equal(d.threshold, 6554);
    check_near(d.scale, 1.0 / 0.9, 1e-4);
    assert_int_equal(rz_dropout_make(0.0f, 1, 1).threshold, 0);
    float keep[256];
    for (size_t s = 0; s < n_sets; s++)
        for (uint64_t row = 0; row < ROWS; row++) {
            sets[s]->dropout_row(&d, 3, row, keep, WIDE);
            for (size_t e = 0; e < WIDE; e++) {
                uint32_t words[4];
                rz_rng_at(11, 12, (uint64_t)3 << 48 | ((row * 2 + e / 128) * 16 + e % 16), words);
                uint32_t half = words[e % 128 / 32] >> (e / 16 % 2 * 16) & 0xFFFF;
                float wanted = half < d.threshold ? 0.0f : d.scale;
                if (keep[e] != wanted)
                    fail_msg("row %d element %zu: %g, wanted %g", (int)row, e, (double)keep[e],
                             (double)wanted);
                dropped += s == 0 && wanted == 0.0f;
            }
        }
    check_near((double)dropped / (WIDE * ROWS), 0.1, 0.004);
}

enum { KEYS_MAX = 150, HEAD_MAX = 48 };

typedef struct attention_case {
    size_t queries, keys, hd;
    double q[KEYS_MAX * HEAD_MAX], k[KEYS_MAX * HEAD_MAX], v[KEYS_MAX * HEAD_MAX];
    double weight[KEYS_MAX * HEAD_MAX], out[KEYS_MAX * HEAD_MAX];
    double shares[KEYS_MAX]; /* weights of the keys; 1 in the function that is computed */
} attention_case;

static double attention_loss(void *context)
{
    attention_case *c = context;
    double loss = 0.0, p[KEYS_MAX];
    for (size_t i = 0; i < c->queries; i++) {
        double sum = 0.0;
        for (size_t j = 0; j < c->keys; j++) {
            double score = 0.0;
            for (size_t d = 0; d < c->hd; d++)
                score += c->q[i * c->hd + d] * c->k[j * c->hd + d];
            p[j] = c->shares[j] * exp(score / sqrt((double)c->hd));
            sum += p[j];
        }
        for (size_t d = 0; d < c->hd; d++) {
            double out = 0.0;
            for (size_t j = 0; j < c->keys; j++)
                out += p[j] / sum * c->v[j * c->hd + d];
            c->out[i * c->hd + d] = out;
            loss += c->weight[i * c->hd + d] * out;
        }
    }
    return loss;
}

/* Largest relative errors of attention: of the result and of gradients. */
typedef struct tolerance {
    double result, gradient;
} tolerance;

static void check_attention(const rz_kernels *k, bool bf16, double size, size_t queries,
                            size_t keys, size_t hd, bool slopes)
{
    const tolerance most = bf16 ? (tolerance){8e-3 * size, 1.5e-2 * size} : (tolerance){2e-6, 1e-4};
    static attention_case c;
    static float q[KEYS_MAX * HEAD_MAX], key[KEYS_MAX * HEAD_MAX], v[KEYS_MAX * HEAD_MAX],
        weight[KEYS_MAX * HEAD_MAX], out[KEYS_MAX * HEAD_MAX], dq[KEYS_MAX * HEAD_MAX],
        dk[KEYS_MAX * HEAD_MAX], dv[KEYS_MAX * HEAD_MAX], lse[KEYS_MAX], presence[KEYS_MAX];
    static double wanted[KEYS_MAX * HEAD_MAX];
    fill(q, queries * hd, 1, size);
    fill(key, keys * hd, 2, size);
    fill(v, keys * hd, 3, 1.0);
    fill(weight, queries * hd, 4, 1.0);
    c.queries = queries;
    c.keys = keys;
    c.hd = hd;
    widen(c.q, q, queries * hd);
    widen(c.k, key, keys * hd);
    widen(c.v, v, keys * hd);
    widen(c.weight, weight, queries * hd);
    for (size_t j = 0; j < keys; j++)
        c.shares[j] = 1.0;
    float *scratch = calloc(rz_attention_scratch(keys, hd), sizeof *scratch);
    assert_non_null(scratch);
    rz_attention a = {.n_queries = queries,
                      .n_keys = keys,
                      .head_size = hd,
                      .q = q,
                      .k = key,
                      .v = v,
                      .ldq = hd,
                      .ldkv = hd,
                      .scale = 1.0f / sqrtf((float)hd)};
    (bf16 ? k->attention_bf16 : k->attention)(&a, out, hd, lse, scratch);
    (void)attention_loss(&c);
    check_near(distance(out, c.out, queries * hd), 0.0, most.result);
    rz_attention_gradient g = {.out_gradient = weight,
                               .out = out,
                               .log_sum_exp = lse,
                               .ldo = hd,
                               .dq = dq,
                               .dk = dk,
                               .dv = dv,
                               .lddq = hd,
                               .lddkv = hd,
                               .presence = bf16 ? NULL : presence};
    (bf16 ? k->attention_backward_bf16 : k->attention_backward)(&a, &g, scratch);
    free(scratch);
    if (!slopes)
        return;
    differences(attention_loss, &c, c.q, queries * hd, wanted);
    check_near(distance(dq, wanted, queries * hd), 0.0, most.gradient);
    differences(attention_loss, &c, c.k, keys * hd, wanted);
    check_near(distance(dk, wanted, keys * hd), 0.0, most.gradient);
    differences(attention_loss, &c, c.v, keys * hd, wanted);
    check_near(distance(dv, wanted, keys * hd), 0.0, most.gradient);
    if (bf16)
        return;
    differences(attention_loss, &c, c.shares, keys, wanted);
    check_near(distance(presence, wanted, keys), 0.0, most.gradient);
}

static void attention(void **state)
{
    (void)state;
    size_t n_sets;
    const rz_kernels *const *sets = all_kernels(&n_sets);
    /* Small scores, whose weights need no maximum, and large ones. */
    static const double sizes[] = {1.0, 4.0};
    for (size_t s = 0; s < n_sets; s++)
        for (size_t i = 0; i < 2 * RZ_COUNT(sizes); i++) {
            bool bf16 = i >= RZ_COUNT(sizes);
            double size = sizes[i % RZ_COUNT(sizes)];
            check_attention(sets[s], bf16, size, 1, 1, 8, true);
            check_attention(sets[s], bf16, size, 5, 5, 3, true);
            check_attention(sets[s], bf16, size, 1, 21, 8, true);
            check_attention(sets[s], bf16, size, 19, 19, 20, true);
            check_attention(sets[s], bf16, size, 70, 70, 4, s == 0 || bf16);
            check_attention(sets[s], bf16, size, 150, 150, 48, false);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(names_are_known),
                                       cmocka_unit_test(exponential),
                                       cmocka_unit_test(gelu_and_its_slope),
                                       cmocka_unit_test(layer_norm),
                                       cmocka_unit_test(cross_entropy),
                                       cmocka_unit_test(elementwise_rows),
                                       cmocka_unit_test(dropout),
                                       cmocka_unit_test(attention)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
