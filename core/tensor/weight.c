/* Packing, and the choice between packed panels and the BLAS. */
#include "tensor/weight.h"

#include "tensor/gemm.h"

#include <string.h>

static const char *const names[RZ_PRECISION_COUNT] = {"float32", "bf16", "int8"};

const char *rz_precision_name(rz_precision precision)
{
    return names[precision];
}

bool rz_precision_read(const char *name, rz_precision *out)
{
    for (int i = 0; i < RZ_PRECISION_COUNT; i++)
        if (strcmp(name, names[i]) == 0) {
            *out = (rz_precision)i;
            return true;
        }
    return false;
}

rz_weight rz_weight_forward(const rz_kernels *kernels, const float *source, size_t out, size_t in)
{
    return (rz_weight){.kernels = kernels,
                       .n = out,
                       .k = in,
                       .source = source,
                       .row = in,
                       .column = 1,
                       .depth = in};
}

rz_weight rz_weight_backward(const rz_kernels *kernels, const float *source, size_t out, size_t in)
{
    return (rz_weight){.kernels = kernels,
                       .n = in,
                       .k = out,
                       .source = source,
                       .row = 1,
                       .column = in,
                       .depth = out};
}

rz_weight rz_weight_columns(const rz_weight *weight, size_t first, size_t n)
{
    rz_weight part = *weight;
    part.n = n;
    part.source += first * part.row;
    if (part.panels != NULL && first > 0)
        part.panels = (float *)part.panels + first * part.depth;
    return part;
}

rz_weight rz_weight_depths(const rz_weight *weight, size_t first, size_t k)
{
    rz_weight part = *weight;
    part.k = k;
    part.first += first;
    part.source += first * part.column;
    return part;
}

/* Columns that panels have room for. */
static size_t padded(const rz_weight *w)
{
    return (w->n + RZ_LANES - 1) / RZ_LANES * RZ_LANES;
}

/* 8-bit panels are followed by a scale and a sum for each column. */
static void *scales(const rz_weight *w)
{
    return (char *)w->panels + padded(w) * w->depth;
}

static void *sums(const rz_weight *w)
{
    return (char *)scales(w) + padded(w) * sizeof(float);
}

size_t rz_weight_bytes(const rz_weight *w)
{
    size_t columns = padded(w);
    switch (w->precision) {
    case RZ_BF16:
        return columns * w->depth * 2;
    case RZ_INT8:
        return columns * w->depth + columns * (sizeof(float) + sizeof(int32_t));
    default:
        return columns * w->depth * sizeof(float);
    }
}

size_t rz_weight_panels(const rz_weight *w)
{
    size_t columns = w->kernels->panel_columns;
    return (w->n + columns - 1) / columns;
}

void rz_weight_pack(const rz_weight *w, size_t panel)
{
    switch (w->precision) {
    case RZ_BF16:
        w->kernels->pack_bf16(w->panels, w->source, w->row, w->column, w->n, w->depth, panel);
        break;
    case RZ_INT8:
        w->kernels->pack_int8(w->panels, scales(w), sums(w), w->source, w->row, w->column, w->n,
                              w->depth, panel);
        break;
    default:
        w->kernels->pack_panel(w->panels, w->source, w->row, w->column, w->n, w->depth, panel);
        break;
    }
}

size_t rz_weight_scratch(rz_precision precision, size_t m, size_t k)
{
    size_t bytes = precision == RZ_BF16   ? m * k * 2
                   : precision == RZ_INT8 ? m * k + m * sizeof(float)
                                          : 0;
    return (bytes + 63) / 64 * 64;
}

static void blas_product(const rz_weight *w, size_t m, const float *a, size_t lda,
                         const float *bias, bool add, float *c, size_t ldc)
{
    for (size_t i = 0; bias != NULL && i < m; i++)
        memcpy(c + i * ldc, bias, w->n * sizeof *c);
    add = add || bias != NULL;
    if (w->column == 1)
        rz_gemm_nt(m, w->n, w->k, a, lda, w->source, w->row, c, ldc, add);
    else
        rz_gemm_nn(m, w->n, w->k, a, lda, w->source, w->column, c, ldc, add);
}

static void product(const rz_weight *w, size_t m, const float *a, size_t lda, const float *bias,
                    bool add, float *c, size_t ldc, void *scratch)
{
    uint32_t *words = scratch; /* 8-bit rows are followed by their scales */
    void *row_scale = (char *)scratch + m * w->k;
    if (w->panels == NULL) {
        blas_product(w, m, a, lda, bias, add, c, ldc);
    } else if (w->precision == RZ_FLOAT32) {
        w->kernels->product_packed(m, w->n, w->first, w->k, a, lda, w->panels, w->depth, bias, add,
                                   c, ldc);
    } else if (w->precision == RZ_BF16) {
        w->kernels->rows_bf16(words, a, lda, m, w->k);
        w->kernels->product_bf16(m, w->n, w->k / 2, words, w->panels, bias, add, c, ldc);
    } else {
        w->kernels->rows_int8(words, row_scale, a, lda, m, w->k);
        w->kernels->product_int8(m, w->n, w->k / 4, words, row_scale, w->panels, scales(w), sums(w),
                                 bias, add, c, ldc);
    }
}

void rz_weight_product(const rz_weight *weight, size_t m, const float *a, size_t lda,
                       const float *bias, float *c, size_t ldc, void *scratch)
{
    product(weight, m, a, lda, bias, false, c, ldc, scratch);
}

void rz_weight_product_add(const rz_weight *weight, size_t m, const float *a, size_t lda, float *c,
                           size_t ldc, void *scratch)
{
    product(weight, m, a, lda, NULL, true, c, ldc, scratch);
}
