/* Attention of one head over one timeline, forward and backward, in tiles of queries so that no
 * more than a tile of scores exists. Compiled once per instruction set.
 *
 * Head sizes are small (8 … 128) and timelines short, so everything is a product of narrow
 * matrices: keys and values are laid out once per head so that the inner loop always runs over
 * contiguous, padded memory, and one register-blocked product serves all six uses. */
#include "tensor/kernels_isa.h"
#include "tensor/kernels_product.h"
#include "tensor/vector.h"

enum { TILE = RZ_ATTENTION_TILE };

INLINE size_t padded(size_t n)
{
    return (n + RZ_LANES - 1) / RZ_LANES * RZ_LANES;
}

/* out [columns, keys] = inᵀ · factor, in [rows, ld]; columns rows … keys of out are 0. */
static void transpose(float *out, size_t keys, const float *in, size_t ld, size_t rows,
                      size_t columns, float factor)
{
    for (size_t d = 0; d < columns; d++) {
        float *line = out + d * keys;
        for (size_t j = 0; j < rows; j++)
            line[j] = in[j * ld + d] * factor;
        for (size_t j = rows; j < keys; j++)
            line[j] = 0.0f;
    }
}

/* out [rows, width] = in [rows, ld] with columns beyond `columns` 0. */
static void widen(float *out, size_t width, const float *in, size_t ld, size_t rows, size_t columns)
{
    for (size_t j = 0; j < rows; j++) {
        for (size_t d = 0; d < columns; d++)
            out[j * width + d] = in[j * ld + d];
        for (size_t d = columns; d < width; d++)
            out[j * width + d] = 0.0f;
    }
}

/* Turns a row of scores [keys] into exp(score - maximum), 0 beyond n_keys; gives maximum and sum.
 */
INLINE float softmax_row(float *s, size_t n_keys, size_t keys, float *maximum)
{
    for (size_t j = n_keys; j < keys; j++)
        s[j] = -3.0e38f;
    vf top = v_load(s), sum = {0};
    for (size_t j = W; j < keys; j += W)
        top = v_max(v_load(s + j), top);
    *maximum = v_maximum(top);
    for (size_t j = 0; j < keys; j += W) {
        vf e = v_exp(v_load(s + j) - *maximum);
        v_store(s + j, e);
        sum += e;
    }
    return v_sum(sum);
}

void RZ_ISA(attention)(const rz_attention *a, float *out, size_t ldo, float *log_sum_exp,
                       float *scratch)
{
    size_t keys = padded(a->n_keys), width = padded(a->head_size);
    float *kt = scratch, *v = kt + a->head_size * keys, *result = v + a->n_keys * width;
    float *s = result + TILE * width;
    transpose(kt, keys, a->k, a->ldkv, a->n_keys, a->head_size, a->scale);
    widen(v, width, a->v, a->ldkv, a->n_keys, a->head_size);
    for (size_t first = 0; first < a->n_queries; first += TILE) {
        size_t m = a->n_queries - first < TILE ? a->n_queries - first : TILE;
        float inverse[TILE];
        product(m, keys, a->head_size, a->q + first * a->ldq, a->ldq, 1, kt, keys, s, keys, false);
        for (size_t i = 0; i < m; i++) {
            float maximum, sum = softmax_row(s + i * keys, a->n_keys, keys, &maximum);
            inverse[i] = 1.0f / sum;
            if (log_sum_exp != NULL)
                log_sum_exp[first + i] = maximum + logf(sum);
        }
        product(m, width, a->n_keys, s, keys, 1, v, width, result, width, false);
        for (size_t i = 0; i < m; i++)
            for (size_t d = 0; d < a->head_size; d++)
                out[(first + i) * ldo + d] = result[i * width + d] * inverse[i];
    }
}

/* With P = exp(S - log_sum_exp), S = scale·q kᵀ and δ_i = Σ_d dout_id out_id:
 *   dv = Pᵀ dout; dS = P ∘ (dout vᵀ - δ); dq = scale · dS k; dk = scale · dSᵀ q. */
void RZ_ISA(attention_backward)(const rz_attention *a, const rz_attention_gradient *g,
                                float *scratch)
{
    size_t n = a->n_keys, hd = a->head_size, keys = padded(n), width = padded(hd);
    float *kt = scratch, *vt = kt + hd * keys, *k = vt + hd * keys, *dk = k + keys * width;
    float *dv = dk + keys * width, *q = dv + keys * width, *dout = q + TILE * width;
    float *dq = dout + TILE * width, *p = dq + TILE * width, *ds = p + TILE * keys;
    transpose(kt, keys, a->k, a->ldkv, n, hd, a->scale);
    transpose(vt, keys, a->v, a->ldkv, n, hd, 1.0f);
    widen(k, width, a->k, a->ldkv, n, hd);
    memset(dk, 0, 2 * keys * width * sizeof *dk);
    for (size_t first = 0; first < a->n_queries; first += TILE) {
        size_t m = a->n_queries - first < TILE ? a->n_queries - first : TILE;
        widen(q, width, a->q + first * a->ldq, a->ldq, m, hd);
        widen(dout, width, g->out_gradient + first * g->ldo, g->ldo, m, hd);
        product(m, keys, hd, q, width, 1, kt, keys, p, keys, false);
        product(m, keys, hd, dout, width, 1, vt, keys, ds, keys, false);
        for (size_t i = 0; i < m; i++) {
            const float *out = g->out + (first + i) * g->ldo, lse = g->log_sum_exp[first + i];
            float delta = 0.0f;
            for (size_t d = 0; d < hd; d++)
                delta += dout[i * width + d] * out[d];
            float *pi = p + i * keys, *di = ds + i * keys;
            for (size_t j = 0; j < keys; j += W) {
                vf e = v_exp(v_load(pi + j) - lse);
                v_store(pi + j, e);
                v_store(di + j, e * (v_load(di + j) - delta) * a->scale);
            }
        }
        product(m, width, n, ds, keys, 1, k, width, dq, width, false);
        product(n, width, m, ds, 1, keys, q, width, dk, width, true);
        product(n, width, m, p, 1, keys, dout, width, dv, width, true);
        for (size_t i = 0; i < m; i++)
            memcpy(g->dq + (first + i) * g->lddq, dq + i * width, hd * sizeof *dq);
    }
    for (size_t j = 0; j < n; j++) {
        memcpy(g->dk + j * g->lddkv, dk + j * width, hd * sizeof *dk);
        memcpy(g->dv + j * g->lddkv, dv + j * width, hd * sizeof *dv);
    }
}
