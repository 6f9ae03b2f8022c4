/* Attention of one head over one timeline, forward and backward, in tiles that stay in the nearest
 * caches; in float32, and with the sides of its products rounded to bfloat16. Compiled once per
 * instruction set.
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
    LINE = 16,       /* floats of a line of the cache */
    PAIR = 2         /* bfloat16 in a word */
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

/* out [words, width] = inᵀ of words, in [rows, words]; columns rows … width of out are 0. */
static void transpose_words(float *out, size_t width, const float *in, size_t rows, size_t words)
{
    for (size_t first = 0; first < width; first += LINE) {
        size_t end = first + LINE < width ? first + LINE : width;
        size_t last = rows < end ? rows : end;
        for (size_t d = 0; d < words; d++) {
            for (size_t j = first; j < last; j++)
                memcpy(out + d * width + j, in + j * words + d, sizeof *out);
            for (size_t j = last > first ? last : first; j < end; j++)
                out[d * width + j] = 0.0f;
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

/* What a head's rows are rounded in: whole words, a word of every two numbers of a row. */
INLINE size_t row_words(size_t head_size)
{
    return (head_size + PAIR * W - 1) / (PAIR * W) * W;
}

/* Rows of a head as words, [rows, row_words], and (NULL = not wanted) in pairs of rows, a word of
 * two rows' numbers: [rows / 2, whole(columns)]. What is beyond is 0. */
static void gather_words(float *words, float *pairs, const float *in, size_t ld, size_t rows,
                         size_t columns, float factor)
{
    enum { WIDEST = 256 }; /* of a head at a time */
    float line[PAIR][WIDEST];
    size_t ldw = row_words(columns), ldp = whole(columns);
    for (size_t i = 0; i < rows; i += PAIR)
        for (size_t from = 0; from < columns; from += WIDEST) {
            size_t n = columns - from < WIDEST ? columns - from : WIDEST;
            size_t end = (n + PAIR * W - 1) / (PAIR * W) * (PAIR * W);
            for (size_t r = 0; r < PAIR; r++) {
                bool there = i + r < rows;
                const float *row = in + (there ? i + r : i) * ld + from;
                size_t d = 0;
                for (; there && d < n; d++)
                    line[r][d] = row[d] * factor;
                for (; d < end; d++)
                    line[r][d] = 0.0f;
            }
            for (size_t r = 0; words != NULL && r < PAIR && i + r < rows; r++)
                for (size_t d = 0; d < end; d += PAIR * W)
                    vi_store(words + (i + r) * ldw + (from + d) / PAIR,
                             bf16_row(v_load(line[r] + d), v_load(line[r] + d + W)));
            for (size_t d = 0; pairs != NULL && d < whole(n); d += W)
                vi_store(pairs + i / PAIR * ldp + from + d,
                         bf16_pair(v_load(line[0] + d), v_load(line[1] + d)));
        }
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

/* Keys and values of a head as the products read them. In words, a key is a row of them and a value
 * shares its words with the next one. */
typedef struct sides {
    size_t depth; /* of a key */
    const float *k, *v;
    size_t ldk, ldv;
} sides;

INLINE size_t numbers_in(number what)
{
    return what == FLOAT32 ? 1 : PAIR;
}

/* Weights 2^score of some keys, straight from the registers in which the scores were made. */
INLINE void weights_block(number what, size_t rows, size_t vectors, size_t depth, const float *k,
                          size_t ldk, const float *qt, float *s, vf *sum)
{
    vf score[BLOCK_ROWS][BLOCK_VECTORS];
    UNROLL
    for (size_t j = 0; j < rows; j++)
        UNROLL
    for (size_t v = 0; v < vectors; v++)
        score[j][v] = (vf){0};
    for (size_t d = 0; d < depth; d++) {
        UNROLL
        for (size_t j = 0; j < rows; j++)
            UNROLL
        for (size_t v = 0; v < vectors; v++)
            score[j][v] = multiply_add(what, score[j][v], spread(what, k + j * ldk + d),
                                       v_load(qt + (d * vectors + v) * W));
    }
    UNROLL
    for (size_t j = 0; j < rows; j++)
        UNROLL
    for (size_t v = 0; v < vectors; v++) {
        score[j][v] = v_exp2_bounded(score[j][v]);
        sum[v] += score[j][v];
    }
    UNROLL
    for (size_t j = 0; j < rows; j += numbers_in(what))
        UNROLL
    for (size_t v = 0; v < vectors; v++) {
        float *to = s + (j / numbers_in(what) * vectors + v) * W;
        if (what == FLOAT32)
            v_store(to, score[j][v]);
        else
            vi_store(to, bf16_pair(score[j][v], j + 1 < rows ? score[j + 1][v] : (vf){0}));
    }
}

INLINE void weights(number what, size_t n, size_t vectors, size_t depth, const float *k, size_t ldk,
                    const float *qt, float *s, float *sums)
{
    const size_t each = numbers_in(what);
    vf sum[BLOCK_VECTORS];
    size_t j = 0;
    UNROLL
    for (size_t v = 0; v < vectors; v++)
        sum[v] = v_load(sums + v * W);
    for (; j + BLOCK_ROWS <= n; j += BLOCK_ROWS)
        weights_block(what, BLOCK_ROWS, vectors, depth, k + j * ldk, ldk, qt,
                      s + j / each * vectors * W, sum);
    for (; each == PAIR && j + PAIR <= n; j += PAIR)
        weights_block(what, PAIR, vectors, depth, k + j * ldk, ldk, qt, s + j / each * vectors * W,
                      sum);
    for (; j < n; j++)
        weights_block(what, 1, vectors, depth, k + j * ldk, ldk, qt, s + j / each * vectors * W,
                      sum);
    UNROLL
    for (size_t v = 0; v < vectors; v++)
        v_store(sums + v * W, sum[v]);
}

INLINE void weights_column(number what, size_t n, size_t width, size_t depth, const float *k,
                           size_t ldk, const float *qt, float *s, float *sums)
{
    if (BLOCK_VECTORS == 3 && width == 3 * W)
        weights(what, n, BLOCK_VECTORS, depth, k, ldk, qt, s, sums);
    else if (width == 2 * W)
        weights(what, n, 2, depth, k, ldk, qt, s, sums);
    else
        weights(what, n, 1, depth, k, ldk, qt, s, sums);
}

/* Rows s [n, width] in place become words of two rows each. */
static void pair_rows(float *s, size_t n, size_t width)
{
    for (size_t j = 0; j < n; j += PAIR)
        for (size_t i = 0; i < width; i += W) {
            vf upper = j + 1 < n ? v_load(s + (j + 1) * width + i) : (vf){0};
            vi_store(s + j / PAIR * width + i, bf16_pair(v_load(s + j * width + i), upper));
        }
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

/* A tile of queries, transposed in qt [depth, width], against all keys: acc [head_size, width] =
 * Σ weight · value, and of each query the maximum and the sum. */
INLINE void attend(number what, const rz_attention *a, const sides *o, bool bounded, size_t width,
                   const float *qt, float *s, float *acc, float *maximum, float *sum)
{
    const size_t hd = a->head_size, each = numbers_in(what);
    memset(acc, 0, hd * width * sizeof *acc);
    for (size_t i = 0; i < width; i++) {
        maximum[i] = bounded ? 0.0f : -3.0e38f;
        sum[i] = 0.0f;
    }
    for (size_t key = 0; key < a->n_keys; key += KEYS) {
        size_t keys = a->n_keys - key < KEYS ? a->n_keys - key : KEYS;
        const float *k = o->k + key * o->ldk, *v = o->v + key / each * o->ldv;
        if (bounded) {
            weights_column(what, keys, width, o->depth, k, o->ldk, qt, s, sum);
        } else {
            product_column(what, keys, width, o->depth, k, o->ldk, 1, qt, width, NULL, 0, s, width);
            softmax_step(s, keys, width / W, maximum, sum, acc, hd);
            if (what == BF16)
                pair_rows(s, keys, width);
        }
        product_column(what, hd, width, (keys + each - 1) / each, v, 1, o->ldv, s, width, acc,
                       width, acc, width);
    }
}

/* The results of n queries from acc [head_size, width]. */
static void finish(const rz_attention *a, const float *acc, size_t width, size_t n,
                   const float *maximum, const float *sum, float *out, size_t ldo,
                   float *log_sum_exp)
{
    for (size_t i = 0; i < n; i++) {
        float inverse = 1.0f / sum[i];
        if (log_sum_exp != NULL)
            log_sum_exp[i] = maximum[i] + log2f(sum[i]);
        for (size_t d = 0; d < a->head_size; d++)
            out[i * ldo + d] = acc[d * width + i] * inverse;
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
    const sides o = {
        .depth = a->head_size, .k = near.k, .v = near.v, .ldk = near.ldkv, .ldv = near.ldkv};
    bool bounded = is_bounded(&near);
    for (size_t first = 0; first < a->n_queries; first += QUERIES) {
        size_t n = a->n_queries - first < QUERIES ? a->n_queries - first : QUERIES;
        size_t width = whole(n);
        transpose(qt, width, a->q + first * a->ldq, a->ldq, n, a->head_size, a->scale * LOG2_E);
        attend(FLOAT32, &near, &o, bounded, width, qt, s, acc, maximum, sum);
        finish(a, acc, width, n, maximum, sum, out + first * ldo, ldo,
               log_sum_exp != NULL ? log_sum_exp + first : NULL);
    }
}

void RZ_ISA(attention_bf16)(const rz_attention *a, float *out, size_t ldo, float *log_sum_exp,
                            float *scratch)
{
    size_t words = row_words(a->head_size), wide = whole(a->head_size);
    float *maximum = scratch, *sum = maximum + QUERIES, *s = sum + QUERIES;
    float *qt = s + KEYS * QUERIES, *q = qt + words * QUERIES, *acc = q + words * QUERIES;
    float *k = acc + a->head_size * QUERIES, *v = k + a->n_keys * words;
    gather_words(k, NULL, a->k, a->ldkv, a->n_keys, a->head_size, 1.0f);
    gather_words(NULL, v, a->v, a->ldkv, a->n_keys, a->head_size, 1.0f);
    const sides o = {.depth = (a->head_size + 1) / PAIR, .k = k, .v = v, .ldk = words, .ldv = wide};
    bool bounded = is_bounded(a);
    for (size_t first = 0; first < a->n_queries; first += QUERIES) {
        size_t n = a->n_queries - first < QUERIES ? a->n_queries - first : QUERIES;
        size_t width = whole(n);
        gather_words(q, NULL, a->q + first * a->ldq, a->ldq, n, a->head_size, a->scale * LOG2_E);
        transpose_words(qt, width, q, n, words);
        attend(BF16, a, &o, bounded, width, qt, s, acc, maximum, sum);
        finish(a, acc, width, n, maximum, sum, out + first * ldo, ldo,
               log_sum_exp != NULL ? log_sum_exp + first : NULL);
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
            product(FLOAT32, m, width, hd, q, wide, 1, kt + key * hd, BACK_KEYS, NULL, 0, p,
                    BACK_KEYS);
            product(FLOAT32, m, width, hd, dout, wide, 1, vt + key * hd, BACK_KEYS, NULL, 0, ds,
                    BACK_KEYS);
            for (size_t i = 0; i < m; i++)
                softmax_row_backward(p + i * BACK_KEYS, ds + i * BACK_KEYS, left,
                                     g->log_sum_exp[first + i], delta[i], a->scale);
            if (g->presence != NULL)
                add_rows(g->presence + key, ds, m, left);
            product(FLOAT32, m, wide, left, ds, BACK_KEYS, 1, k + key * wide, wide,
                    key > 0 ? dq : NULL, wide, dq, wide);
            product(FLOAT32, hd, width, m, q, 1, wide, ds, BACK_KEYS, dk, BACK_KEYS, dk, BACK_KEYS);
            product(FLOAT32, hd, width, m, dout, 1, wide, p, BACK_KEYS, dv, BACK_KEYS, dv,
                    BACK_KEYS);
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

/* x · y, x as bfloat16. */
static float dot_rounded(const float *x, const float *y, size_t n)
{
    const vi upper = vi_set(0xFFFF0000u);
    vf sum = {0};
    for (size_t i = 0; i < n; i += W) {
        bool all = i + W <= n;
        vf left = all ? v_load(x + i) : v_load_part(x + i, n - i, 0.0f);
        vf right = all ? v_load(y + i) : v_load_part(y + i, n - i, 0.0f);
        sum += (vf)(bf16_upper(left) & upper) * right;
    }
    return v_sum(sum);
}

/* As softmax_row_backward for two rows (the second may be missing): weights and gradients of the
 * scores in words of both rows, and the latter of each row in words. */
INLINE void softmax_pair_backward(size_t rows, float *p, float *ds, float *row_ds, size_t n,
                                  const float *log_sum_exp, const float *delta, float scale)
{
    vi place = {0};
    for (int lane = 0; lane < W; lane++)
        place[lane] = lane;
    for (size_t j = 0; j < n; j += PAIR * W) {
        vf e[PAIR][PAIR] = {{{0}}}, d[PAIR][PAIR] = {{{0}}}; /* of a row, of a half */
        UNROLL
        for (size_t r = 0; r < rows; r++)
            UNROLL
        for (size_t half = 0; half < PAIR; half++) {
            size_t at = j + half * W;
            vi live = place < (int32_t)n - (int32_t)at;
            vf score = v_load(p + r * BACK_KEYS + at), slope = v_load(ds + r * BACK_KEYS + at);
            e[r][half] = (vf)((vi)v_exp2_negative(score - log_sum_exp[r]) & live);
            d[r][half] = e[r][half] * (slope - delta[r]) * scale;
        }
        UNROLL
        for (size_t half = 0; half < PAIR; half++) {
            size_t at = j + half * W;
            vi_store(p + at, bf16_pair(e[0][half], e[1][half]));
            vi_store(ds + at, bf16_pair(d[0][half], d[1][half]));
        }
        UNROLL
        for (size_t r = 0; r < rows; r++)
            vi_store(row_ds + r * (BACK_KEYS / PAIR) + j / PAIR, bf16_row(d[r][0], d[r][1]));
    }
}

void RZ_ISA(attention_backward_bf16)(const rz_attention *a, const rz_attention_gradient *g,
                                     float *scratch)
{
    enum { ROW_PAIRS = BACK_QUERIES / PAIR };
    size_t n = a->n_keys, hd = a->head_size, wide = whole(hd), words = row_words(hd);
    size_t depth = (hd + 1) / PAIR, keys = (n + BACK_KEYS - 1) / BACK_KEYS * BACK_KEYS;
    /* As in float32, in words but for the sums: q and dout in rows and in pairs of rows. */
    float *kt = scratch, *vt = kt + words * keys, *dkt = vt + words * keys, *dvt = dkt + hd * keys;
    float *k = dvt + hd * keys, *dq = k + keys / PAIR * wide, *p = dq + BACK_QUERIES * wide;
    float *ds = p + BACK_QUERIES * BACK_KEYS, *row_ds = ds + BACK_QUERIES * BACK_KEYS;
    float *q = row_ds + ROW_PAIRS * BACK_KEYS, *q_pairs = q + BACK_QUERIES * words;
    float *dout = q_pairs + ROW_PAIRS * wide, *dout_pairs = dout + BACK_QUERIES * words;
    float *rows = dout_pairs + ROW_PAIRS * wide;
    for (size_t key = 0; key < n; key += BACK_KEYS) {
        size_t left = n - key < BACK_KEYS ? n - key : BACK_KEYS;
        gather_words(rows, k + key / PAIR * wide, a->k + key * a->ldkv, a->ldkv, left, hd, 1.0f);
        transpose_words(kt + key * words, BACK_KEYS, rows, left, words);
        gather_words(rows, NULL, a->v + key * a->ldkv, a->ldkv, left, hd, 1.0f);
        transpose_words(vt + key * words, BACK_KEYS, rows, left, words);
    }
    memset(dkt, 0, 2 * hd * keys * sizeof *dkt);
    for (size_t first = 0; first < a->n_queries; first += BACK_QUERIES) {
        size_t m = a->n_queries - first < BACK_QUERIES ? a->n_queries - first : BACK_QUERIES;
        size_t pairs = (m + 1) / PAIR;
        const float *from_q = a->q + first * a->ldq, *from_out = g->out_gradient + first * g->ldo;
        float delta[BACK_QUERIES];
        /* Scores as the forward pass made them: the scale is in the queries before rounding. */
        gather_words(q, NULL, from_q, a->ldq, m, hd, a->scale * LOG2_E);
        gather_words(NULL, q_pairs, from_q, a->ldq, m, hd, 1.0f);
        gather_words(dout, dout_pairs, from_out, g->ldo, m, hd, 1.0f);
        /* Rounded as in the products: what is left of a difference must not be their rounding. */
        for (size_t i = 0; i < m; i++)
            delta[i] = dot_rounded(from_out + i * g->ldo, g->out + (first + i) * g->ldo, hd);
        for (size_t key = 0; key < n; key += BACK_KEYS) {
            size_t left = n - key < BACK_KEYS ? n - key : BACK_KEYS;
            size_t width = (left + PAIR * W - 1) / (PAIR * W) * (PAIR * W);
            float *dk = dkt + key * hd, *dv = dvt + key * hd;
            product(BF16, m, width, depth, q, words, 1, kt + key * words, BACK_KEYS, NULL, 0, p,
                    BACK_KEYS);
            product(BF16, m, width, depth, dout, words, 1, vt + key * words, BACK_KEYS, NULL, 0, ds,
                    BACK_KEYS);
            for (size_t i = 0; i < m; i += PAIR) {
                float *pi = p + i * BACK_KEYS, *di = ds + i * BACK_KEYS;
                float *row = row_ds + i * (BACK_KEYS / PAIR);
                const float *lse = g->log_sum_exp + first + i;
                if (i + 1 < m)
                    softmax_pair_backward(2, pi, di, row, left, lse, delta + i, a->scale);
                else
                    softmax_pair_backward(1, pi, di, row, left, lse, delta + i, a->scale);
            }
            product(BF16, m, wide, (left + 1) / PAIR, row_ds, BACK_KEYS / PAIR, 1,
                    k + key / PAIR * wide, wide, key > 0 ? dq : NULL, wide, dq, wide);
            /* Pairs of rows lie as far apart as two rows did. */
            product(BF16, hd, width, pairs, q_pairs, 1, wide, ds, PAIR * BACK_KEYS, dk, BACK_KEYS,
                    dk, BACK_KEYS);
            product(BF16, hd, width, pairs, dout_pairs, 1, wide, p, PAIR * BACK_KEYS, dv, BACK_KEYS,
                    dv, BACK_KEYS);
        }
        for (size_t i = 0; i < m; i++)
            memcpy(g->dq + (first + i) * g->lddq, dq + i * wide, hd * sizeof *dq);
    }
    for (size_t key = 0; key < n; key += BACK_KEYS) {
        size_t left = n - key < BACK_KEYS ? n - key : BACK_KEYS;
        transpose_back(g->dk + key * g->lddkv, g->lddkv, dkt + key * hd, BACK_KEYS, left, hd);
        transpose_back(g->dv + key * g->lddkv, g->lddkv, dvt + key * hd, BACK_KEYS, left, hd);
    }
}
