/* Row kernels: dropout, residual, layer norm, GELU, cross-entropy. Compiled once per instruction
 * set; the table at the end is what the program sees. */
#include "tensor/kernels_isa.h"
#include "tensor/kernels_product.h"
#include "tensor/vector.h"

static void add(float *y, const float *x, size_t n)
{
    size_t i = 0;
    for (; i + W <= n; i += W)
        v_store(y + i, v_load(y + i) + v_load(x + i));
    for (; i < n; i++)
        y[i] += x[i];
}

static void axpy(float *y, float a, const float *x, size_t n)
{
    size_t i = 0;
    for (; i + W <= n; i += W)
        v_store(y + i, v_load(y + i) + a * v_load(x + i));
    for (; i < n; i++)
        y[i] += a * x[i];
}

static float dot(const float *x, const float *y, size_t n)
{
    return v_dot(x, y, n);
}

/* Philox4x32-10 at 16 consecutive counters; base/rng.c has the scalar form and its source. */
static void philox16(uint64_t seed, uint64_t stream, uint64_t counter, uint32_t words[4][16])
{
    uint32_t c0[16], c1[16], c2[16], c3[16];
    for (uint32_t i = 0; i < 16; i++) {
        c0[i] = (uint32_t)(counter + i);
        c1[i] = (uint32_t)((counter + i) >> 32);
        c2[i] = (uint32_t)stream;
        c3[i] = (uint32_t)(stream >> 32);
    }
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < 16; i++) {
            uint64_t p0 = (uint64_t)0xD2511F53u * c0[i], p1 = (uint64_t)0xCD9E8D57u * c2[i];
            uint32_t n0 = (uint32_t)(p1 >> 32) ^ c1[i] ^ k0;
            uint32_t n2 = (uint32_t)(p0 >> 32) ^ c3[i] ^ k1;
            c1[i] = (uint32_t)p1;
            c3[i] = (uint32_t)p0;
            c0[i] = n0;
            c2[i] = n2;
        }
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    memcpy(words[0], c0, sizeof c0);
    memcpy(words[1], c1, sizeof c1);
    memcpy(words[2], c2, sizeof c2);
    memcpy(words[3], c3, sizeof c3);
}

static void dropout_row(const rz_dropout *dropout, uint64_t site, uint64_t row, float *keep,
                        size_t n)
{
    size_t blocks = (n + 127) / 128;
    for (size_t block = 0; block < blocks; block++) {
        uint32_t words[4][16];
        philox16(dropout->seed, dropout->stream,
                 site << RZ_DROPOUT_SITE_SHIFT | (row * blocks + block) * 16, words);
        float *out = keep + block * 128;
        for (int word = 0; word < 4; word++)
            for (int i = 0; i < 16; i++) {
                uint32_t low = words[word][i] & 0xFFFFu, high = words[word][i] >> 16;
                out[word * 32 + i] = low < dropout->threshold ? 0.0f : dropout->scale;
                out[word * 32 + 16 + i] = high < dropout->threshold ? 0.0f : dropout->scale;
            }
    }
}

static void residual_row(float *y, const float *x, const float *keep, const float *residual,
                         size_t n)
{
    if (keep == NULL) {
        for (size_t i = 0; i < n; i += W)
            v_store(y + i, v_load(residual + i) + v_load(x + i));
        return;
    }
    for (size_t i = 0; i < n; i += W)
        v_store(y + i, v_load(residual + i) + v_load(keep + i) * v_load(x + i));
}

static void multiply_row(float *y, const float *a, const float *b, size_t n)
{
    for (size_t i = 0; i < n; i += W)
        v_store(y + i, v_load(a + i) * v_load(b + i));
}

static float norm_row(float *y, float *normal, const float *x, const float *gain, const float *bias,
                      float epsilon, size_t n)
{
    vf sum = {0}, squares = {0};
    for (size_t i = 0; i < n; i += W)
        sum += v_load(x + i);
    float mean = v_sum(sum) / (float)n;
    for (size_t i = 0; i < n; i += W) {
        vf centred = v_load(x + i) - mean;
        squares += centred * centred;
    }
    float inverse = 1.0f / sqrtf(v_sum(squares) / (float)n + epsilon);
    for (size_t i = 0; i < n; i += W) {
        vf z = (v_load(x + i) - mean) * inverse;
        if (normal != NULL)
            v_store(normal + i, z);
        v_store(y + i, v_load(gain + i) * z + v_load(bias + i));
    }
    return inverse;
}

/* With g = gain ∘ dy: dx = inverse · (g - mean(g) - normal · mean(g ∘ normal)). */
static void norm_row_backward(float *dx, float *dgain, float *dbias, const float *dy,
                              const float *normal, const float *gain, float inverse_deviation,
                              size_t n)
{
    vf sum = {0}, product = {0};
    for (size_t i = 0; i < n; i += W) {
        vf d = v_load(dy + i), z = v_load(normal + i), g = d * v_load(gain + i);
        v_store(dgain + i, v_load(dgain + i) + d * z);
        v_store(dbias + i, v_load(dbias + i) + d);
        sum += g;
        product += g * z;
    }
    float mean = v_sum(sum) / (float)n, slope = v_sum(product) / (float)n;
    for (size_t i = 0; i < n; i += W) {
        vf g = v_load(dy + i) * v_load(gain + i);
        v_store(dx + i, inverse_deviation * (g - mean - v_load(normal + i) * slope));
    }
}

static void gelu_row(float *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i += W) {
        vf u = v_load(x + i);
        v_store(y + i, u * v_normal(u));
    }
}

static void gelu_row_backward(float *dx, float *y, const float *dy, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i += W) {
        vf u = v_load(x + i), phi = v_normal(u);
        v_store(dx + i, v_load(dy + i) * (phi + u * v_normal_density(u)));
        if (y != NULL)
            v_store(y + i, u * phi);
    }
}

static double cross_entropy_row(float *x, size_t label, float weight, size_t n)
{
    const size_t whole = n / W * W;
    const float lowest = -3.0e38f;
    vf top = v_set(lowest);
    for (size_t i = 0; i < whole; i += W)
        top = v_max(v_load(x + i), top);
    top = v_max(v_load_part(x + whole, n - whole, lowest), top);
    float maximum = v_maximum(top), chosen = x[label];
    vf sum = {0};
    for (size_t i = 0; i < whole; i += W) {
        vf e = v_exp(v_load(x + i) - maximum);
        v_store(x + i, e);
        sum += e;
    }
    vf tail = v_exp(v_load_part(x + whole, n - whole, lowest) - maximum);
    v_store_part(x + whole, tail, n - whole);
    sum += tail;
    float total = v_sum(sum), factor = weight / total;
    for (size_t i = 0; i < n; i++)
        x[i] *= factor;
    x[label] -= weight;
    return (double)maximum - (double)chosen + log((double)total);
}

static void exp_rows(float *y, const float *x, size_t n)
{
    size_t i = 0;
    for (; i + W <= n; i += W)
        v_store(y + i, v_exp(v_load(x + i)));
    v_store_part(y + i, v_exp(v_load_part(x + i, n - i, 0.0f)), n - i);
}

#define RZ_TEXT_(x) #x
#define RZ_TEXT(x)  RZ_TEXT_(x)

const rz_kernels RZ_ISA(kernels) = {
    .name = RZ_TEXT(RZ_ISA_NAME),
    .add = add,
    .axpy = axpy,
    .dot = dot,
    .dropout_row = dropout_row,
    .residual_row = residual_row,
    .multiply_row = multiply_row,
    .norm_row = norm_row,
    .norm_row_backward = norm_row_backward,
    .gelu_row = gelu_row,
    .gelu_row_backward = gelu_row_backward,
    .cross_entropy_row = cross_entropy_row,
    .attention = RZ_ISA(attention),
    .attention_backward = RZ_ISA(attention_backward),
    .panel_columns = BLOCK_VECTORS * W,
    .block_rows = BLOCK_ROWS,
    .pack_panel = RZ_ISA(pack_panel),
    .product_packed = RZ_ISA(product_packed),
    .product_transposed = RZ_ISA(product_transposed),
#if defined(__AVX512BF16__) && defined(__AVX512VNNI__)
    .low_native = true,
#endif
    .rows_bf16 = RZ_ISA(rows_bf16),
    .pack_bf16 = RZ_ISA(pack_bf16),
    .product_bf16 = RZ_ISA(product_bf16),
    .transposed_bf16 = RZ_ISA(transposed_bf16),
    .rows_int8 = RZ_ISA(rows_int8),
    .pack_int8 = RZ_ISA(pack_int8),
    .product_int8 = RZ_ISA(product_int8),
    .exp_rows = exp_rows,
};
