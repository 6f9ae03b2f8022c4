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

/* Philox4x32-10 at 16 consecutive counters; base/rng.c has the scalar form and its source. Words
 * are the lower halves of 64-bit elements, what is above them does not matter. Two vectors at once
 * hide the multiplication's latency. */
static void philox16(uint64_t seed, uint64_t stream, uint64_t counter, uint32_t words[4][16])
{
    enum { LANES = W / 2, VECTORS = 2 };
    typedef uint32_t half __attribute__((vector_size(4 * LANES)));
    uint64_t counters[16];
    for (size_t i = 0; i < 16; i++)
        counters[i] = counter + i;
    for (size_t first = 0; first < 16; first += VECTORS * LANES) {
        vl c[VECTORS][4];
        UNROLL
        for (size_t v = 0; v < VECTORS; v++) {
            memcpy(&c[v][0], counters + first + v * LANES, sizeof c[v][0]);
            c[v][1] = c[v][0] >> 32;
            c[v][2] = stream + (vl){0};
            c[v][3] = (stream >> 32) + (vl){0};
        }
        uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
        for (int round = 0; round < 10; round++) {
            UNROLL
            for (size_t v = 0; v < VECTORS; v++) {
                vl p0 = v_multiply_halves(c[v][0], 0xD2511F53u);
                vl p1 = v_multiply_halves(c[v][2], 0xCD9E8D57u);
                c[v][0] = p1 >> 32 ^ c[v][1] ^ (uint64_t)k0;
                c[v][2] = p0 >> 32 ^ c[v][3] ^ (uint64_t)k1;
                c[v][1] = p1;
                c[v][3] = p0;
            }
            k0 += 0x9E3779B9u;
            k1 += 0xBB67AE85u;
        }
        UNROLL
        for (size_t v = 0; v < VECTORS; v++)
            UNROLL
        for (size_t q = 0; q < 4; q++) {
            half word = __builtin_convertvector(c[v][q] & 0xFFFFFFFFu, half);
            memcpy(&words[q][first + v * LANES], &word, sizeof word);
        }
    }
}

static void dropout_row(const rz_dropout *dropout, uint64_t site, uint64_t row, float *keep,
                        size_t n)
{
    size_t blocks = (n + 127) / 128;
    const vi threshold = (int32_t)dropout->threshold + (vi){0};
    const vf scale = v_set(dropout->scale);
    for (size_t block = 0; block < blocks; block++) {
        uint32_t words[4][16];
        philox16(dropout->seed, dropout->stream,
                 site << RZ_DROPOUT_SITE_SHIFT | (row * blocks + block) * 16, words);
        float *out = keep + block * 128;
        for (size_t word = 0; word < 4; word++, out += 32)
            for (size_t i = 0; i < 16; i += W) {
                vi drawn;
                memcpy(&drawn, &words[word][i], sizeof drawn);
                v_store(out + i, v_select((drawn & 0xFFFF) < threshold, (vf){0}, scale));
                v_store(out + 16 + i, v_select((drawn >> 16 & 0xFFFF) < threshold, (vf){0}, scale));
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
    .attention_bf16 = RZ_ISA(attention_bf16),
    .attention_backward_bf16 = RZ_ISA(attention_backward_bf16),
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
