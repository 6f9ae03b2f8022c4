/* Attention of one head over one timeline, forward and backward, in tiles that stay in the nearest
 * caches. Compiled once per instruction set.
 *
 * Head sizes are small (8 … 128) and timelines short, so everything is a product of narrow
 * matrices. Forward, vectors run over queries: keys and values are read one number at a time, and
 * softmax needs no sum across a vector. Backward they run over keys for the same reason. Scores are
 * in units of log 2, which saves a multiplication in every exponential. */
#include "tensor/kernels_isa.h"
#include "tensor/kernels_product.h"
#include "tensor/vector.h"

enum {
    QUERIES = BLOCK_VECTORS * W,
    KEYS = W == 16 ? RZ_ATTENTION_KEYS : 2 * RZ_ATTENTION_KEYS, /* with fewer QUERIES more */
    BACK_QUERIES = RZ_ATTENTION_BACK_QUERIES,
    BACK_KEYS = RZ_ATTENTION_BACK_KEYS,
    GATHER_FROM = 8, /* queries that make up for it */
    LINE = 16        /* floats of a line of the cache */
};

#define LOG2_E 1.44269504f

INLINE size_t whole(size_t n)
{
    return (n + W - 1) / W * W;
}

/* out [columns, width] = inᵀ · factor, in [rows, ld]; columns rows … width of out are 0. By some
 * rows at a time: all of them, as far apart as they lie, would not stay in the cache. */
static void transpose(float *out, size_t width, const float *in, size_t ld, size_t rows,
                      size_t columns, float factor)
{
    for (size_t first = 0; first < width; first += LINE) {
        size_t end = first + LINE < width ? first + LINE : width;
        size_t last = rows < end ? rows : end;
        for (size_t d = 0; d < columns; d++) {
            float *line = out + d * width;
            for (size_t j = first; j < last; j++)
                line[j] = in[j * ld + d] * factor;
            for (size_t j = last > first ? last : first; j < end; j++)
                line[j] = 0.0f;
        }
    }
}

/* out [rows, ldo] = inᵀ, in [columns, width]. */
static void transpose_back(float *out, size_t ldo, const float *in, size_t width, size_t rows,
                           size_t columns)
{
    for (size_t first = 0; first < rows; first += LINE) {
        size_t end = first + LINE < rows ? first + LINE : rows;
        for (size_t d = 0; d < columns; d++)
            for (size_t j = first; j < end; j++)
                out[j * ldo + d] = in[d * width + j];
    }
}

/* Rows of a head one behind the other, columns … ldo of out are 0. In a model they lie a power of
 * two apart, or half as much again, and push each other out of the nearest cache. */
static void gather(float *out, size_t ldo, const float *in, size_t ld, size_t rows, size_t columns)
{
    for (size_t i = 0; i < rows; i++)
        for (size_t d = 0; d < ldo; d++)
            out[i * ldo + d] = d < columns ? in[i * ld + d] : 0.0f;
}

/* Scores s [n, vectors · W] of the next n keys become weights; the running maximum and sum of each
 * query, and its result so far, follow. */
INLINE void softmax_step(float *s, size_t n, size_t vectors, float *maximum, float *sum, float *acc,
                         size_t head_size)
{
    size_t width = vectors * W;
    for (size_t v = 0; v < vectors; v++) {
        float *column = s + v * W;
        vf old = v_load(maximum + v * W), top = old;
        for (size_t j = 0; j < n; j++)
            top = v_max(v_load(column + j * width), top);
        vf fade = v_exp2_negative(old - top), total = v_load(sum + v * W) * fade;
        for (size_t j = 0; j < n; j++) {
            vf e = v_exp2_negative(v_load(column + j * width) - top);
            v_store(column + j * width, e);
            total += e;
        }
        v_store(maximum + v * W, top);
        v_store(sum + v * W, total);
        for (size_t d = 0; d < head_size; d++)
            v_store(acc + d * width + v * W, v_load(acc + d * width + v * W) * fade);
    }
}

/* Weights 2^score of some keys, straight from the registers in which the scores were made. */
INLINE void weights_block(size_t rows, size_t vectors, size_t head_size, const float *k,
                          size_t ldkv, const float *qt, float *s, vf *sum)
{
    vf score[BLOCK_ROWS][BLOCK_VECTORS];
    UNROLL
    for (size_t j = 0; j < rows; j++)
        UNROLL
    for (size_t v = 0; v < vectors; v++)
        score[j][v] = (vf){0};
    for (size_t d = 0; d < head_size; d++) {
        UNROLL
        for (size_t j = 0; j < rows; j++)
            UNROLL
        for (size_t v = 0; v < vectors; v++)
            score[j][v] += k[j * ldkv + d] * v_load(qt + (d * vectors + v) * W);
    }
    UNROLL
    for (size_t j = 0; j < rows; j++)
        UNROLL
    for (size_t v = 0; v < vectors; v++) {
        vf e = v_exp2_bounded(score[j][v]);
        v_store(s + (j * vectors + v) * W, e);
        sum[v] += e;
    }
}

INLINE void weights(size_t n, size_t vectors, size_t head_size, const float *k, size_t ldkv,
                    const float *qt, float *s, float *sums)
{
    vf sum[BLOCK_VECTORS];
    size_t j = 0;
    UNROLL
    for (size_t v = 0; v < vectors; v++)
        sum[v] = v_load(sums + v * W);
    for (; j + BLOCK_ROWS <= n; j += BLOCK_ROWS)
        weights_block(BLOCK_ROWS, vectors, head_size, k + j * ldkv, ldkv, qt, s + j * vectors * W,
                      sum);
    for (; j < n; j++)
        weights_block(1, vectors, head_size, k + j * ldkv, ldkv, qt, s + j * vectors * W, sum);
    UNROLL
    for (size_t v = 0; v < vectors; v++)
        v_store(sums + v * W, sum[v]);
}

static void weights_column(size_t n, size_t width, size_t head_size, const float *k, size_t ldkv,
                           const float *qt, float *s, float *sums)
{
    if (BLOCK_VECTORS == 3 && width == 3 * W)
        weights(n, BLOCK_VECTORS, head_size, k, ldkv, qt, s, sums);
    else if (width == 2 * W)
        weights(n, 2, head_size, k, ldkv, qt, s, sums);
    else
        weights(n, 1, head_size, k, ldkv, qt, s, sums);
}

/* The largest squared length of rows. */
static float longest(const float *x, size_t ld, size_t rows, size_t n)
{
    float most = 0.0f;
    for (size_t i = 0; i < rows; i++, x += ld) {
        float sum = v_dot(x, x, n);
        most = sum > most || sum != sum ? sum : most;
    }
    return most;
}

/* Whether no score can be so large that its weight needs the maximum taken off: a score is at most
 * the product of the lengths. NaN is not bounded. */
static bool is_bounded(const rz_attention *a)
{
    float most = a->scale * LOG2_E *
                 sqrtf(longest(a->q, a->ldq, a->n_queries, a->head_size) *
                       longest(a->k, a->ldkv, a->n_keys, a->head_size));
    return most < V_EXP2_BOUND;
}

/* A tile of queries against all keys: acc [head_size, width] = Σ weight · value, and of each query
 * the maximum and the sum. */
static void attend(const rz_attention *a, bool bounded, size_t first, size_t n, size_t width,
                   float *qt, float *s, float *acc, float *maximum, float *sum)
{
    size_t hd = a->head_size;
    transpose(qt, width, a->q + first * a->ldq, a->ldq, n, hd, a->scale * LOG2_E);
    memset(acc, 0, hd * width * sizeof *acc);
    for (size_t i = 0; i < width; i++) {
        maximum[i] = bounded ? 0.0f : -3.0e38f;
        sum[i] = 0.0f;
    }
    for (size_t key = 0; key < a->n_keys; key += KEYS) {
        size_t keys = a->n_keys - key < KEYS ? a->n_keys - key : KEYS;
        const float *k = a->k + key * a->ldkv;
        if (bounded) {
            weights_column(keys, width, hd, k, a->ldkv, qt, s, sum);
        } else {
            product_column(keys, width, hd, k, a->ldkv, 1, qt, width, NULL, 0, s, width);
            softmax_step(s, keys, width / W, maximum, sum, acc, hd);
        }
        product_column(hd, width, keys, a->v + key * a->ldkv, 1, a->ldkv, s, width, acc, width, acc,
                       width);
    }
}

void RZ_ISA(attention)(const rz_attention *a, float *out, size_t ldo, float *log_sum_exp,
                       float *scratch)
{
    float *maximum = scratch, *sum = maximum + QUERIES, *s = sum + QUERIES;
    float *qt = s + KEYS * QUERIES, *acc = qt + a->head_size * QUERIES;
    float *k = acc + a->head_size * QUERIES, *v = k + a->n_keys * a->head_size;
    rz_attention near = *a;
    if (a->n_queries >= GATHER_FROM) {
        gather(k, a->head_size, a->k, a->ldkv, a->n_keys, a->head_size);
        gather(v, a->head_size, a->v, a->ldkv, a->n_keys, a->head_size);
        near.k = k;
        near.v = v;
        near.ldkv = a->head_size;
    }
    bool bounded = is_bounded(&near);
    for (size_t first = 0; first < a->n_queries; first += QUERIES) {
        size_t n = a->n_queries - first < QUERIES ? a->n_queries - first : QUERIES;
        size_t width = whole(n);
        attend(&near, bounded, first, n, width, qt, s, acc, maximum, sum);
        for (size_t i = 0; i < n; i++) {
            float inverse = 1.0f / sum[i];
            if (log_sum_exp != NULL)
                log_sum_exp[first + i] = maximum[i] + log2f(sum[i]);
            for (size_t d = 0; d < a->head_size; d++)
                out[(first + i) * ldo + d] = acc[d * width + i] * inverse;
        }
    }
}

/* One row of scores of a tile becomes weights p, and the gradient of weights becomes that of
 * scores: p = 2^(s - log_sum_exp), ds = scale · p ∘ (dp - delta); both 0 from key n on. */
INLINE void softmax_row_backward(float *p, float *dp, size_t n, float log_sum_exp, float delta,
                                 float scale)
{
    for (size_t j = 0; j < n; j += W) {
        vf e = v_exp2_negative(v_load(p + j) - log_sum_exp);
        v_store(p + j, e);
        v_store(dp + j, e * (v_load(dp + j) - delta) * scale);
    }
    for (size_t j = n; j < whole(n); j++)
        p[j] = dp[j] = 0.0f;
}

/* out [n] += Σ over rows of x [rows, BACK_KEYS]. */
INLINE void add_rows(float *out, const float *x, size_t rows, size_t n)
{
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < n; j++)
            out[j] += x[i * BACK_KEYS + j];
}

/* With P = softmax(scale · q kᵀ) and δ_i = Σ_d dout_id out_id:
 *   dv = Pᵀ dout; dS = P ∘ (dout vᵀ - δ); dq = scale · dS k; dk = scale · dSᵀ q;
 *   presence_j = Σ_i dS_ij, because a weight w of key j adds log w to its scores. */
void RZ_ISA(attention_backward)(const rz_attention *a, const rz_attention_gradient *g,
                                float *scratch)
{
    size_t n = a->n_keys, hd = a->head_size, wide = whole(hd);
    size_t keys = (n + BACK_KEYS - 1) / BACK_KEYS * BACK_KEYS;
    /* Transposed ones by tiles of keys, [hd, BACK_KEYS] each. */
    float *kt = scratch, *vt = kt + hd * keys, *dkt = vt + hd * keys, *dvt = dkt + hd * keys;
    float *k = dvt + hd * keys, *dq = k + n * wide, *p = dq + BACK_QUERIES * wide;
    float *ds = p + BACK_QUERIES * BACK_KEYS, *q = ds + BACK_QUERIES * BACK_KEYS;
    float *dout = q + BACK_QUERIES * wide;
    for (size_t key = 0; key < n; key += BACK_KEYS) {
        size_t left = n - key < BACK_KEYS ? n - key : BACK_KEYS;
        const float *from_k = a->k + key * a->ldkv, *from_v = a->v + key * a->ldkv;
        transpose(kt + key * hd, BACK_KEYS, from_k, a->ldkv, left, hd, a->scale * LOG2_E);
        transpose(vt + key * hd, BACK_KEYS, from_v, a->ldkv, left, hd, 1.0f);
    }
    memset(dkt, 0, 2 * hd * keys * sizeof *dkt);
    if (g->presence != NULL)
        memset(g->presence, 0, n * sizeof *g->presence);
    gather(k, wide, a->k, a->ldkv, n, hd);
    for (size_t first = 0; first < a->n_queries; first += BACK_QUERIES) {
        size_t m = a->n_queries - first < BACK_QUERIES ? a->n_queries - first : BACK_QUERIES;
        float delta[BACK_QUERIES];
        gather(q, wide, a->q + first * a->ldq, a->ldq, m, hd);
        gather(dout, wide, g->out_gradient + first * g->ldo, g->ldo, m, hd);
        for (size_t i = 0; i < m; i++)
            delta[i] = v_dot(dout + i * wide, g->out + (first + i) * g->ldo, hd);
        for (size_t key = 0; key < n; key += BACK_KEYS) {
            size_t left = n - key < BACK_KEYS ? n - key : BACK_KEYS, width = whole(left);
            float *dk = dkt + key * hd, *dv = dvt + key * hd;
            product(m, width, hd, q, wide, 1, kt + key * hd, BACK_KEYS, NULL, 0, p, BACK_KEYS);
            product(m, width, hd, dout, wide, 1, vt + key * hd, BACK_KEYS, NULL, 0, ds, BACK_KEYS);
            for (size_t i = 0; i < m; i++)
                softmax_row_backward(p + i * BACK_KEYS, ds + i * BACK_KEYS, left,
                                     g->log_sum_exp[first + i], delta[i], a->scale);
            if (g->presence != NULL)
                add_rows(g->presence + key, ds, m, left);
            product(m, wide, left, ds, BACK_KEYS, 1, k + key * wide, wide, key > 0 ? dq : NULL,
                    wide, dq, wide);
            product(hd, width, m, q, 1, wide, ds, BACK_KEYS, dk, BACK_KEYS, dk, BACK_KEYS);
            product(hd, width, m, dout, 1, wide, p, BACK_KEYS, dv, BACK_KEYS, dv, BACK_KEYS);
        }
        for (size_t i = 0; i < m; i++)
            memcpy(g->dq + (first + i) * g->lddq, dq + i * wide, hd * sizeof *dq);
    }
    for (size_t j = 0; g->presence != NULL && j < n; j++)
        g->presence[j] /= a->scale;
    for (size_t key = 0; key < n; key += BACK_KEYS) {
        size_t left = n - key < BACK_KEYS ? n - key : BACK_KEYS;
        transpose_back(g->dk + key * g->lddkv, g->lddkv, dkt + key * hd, BACK_KEYS, left, hd);
        transpose_back(g->dv + key * g->lddkv, g->lddkv, dvt + key * hd, BACK_KEYS, left, hd);
    }
}
