/* Packing, and the choice between packed panels and the BLAS. */
#include "tensor/weight.h"

#include "tensor/gemm.h"

#include <string.h>

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
    if (part.panels != NULL)
        part.panels += first * part.depth;
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

size_t rz_weight_floats(const rz_weight *weight)
{
    return (weight->n + RZ_LANES - 1) / RZ_LANES * RZ_LANES * weight->k;
}

size_t rz_weight_panels(const rz_weight *weight)
{
    size_t columns = weight->kernels->panel_columns;
    return (weight->n + columns - 1) / columns;
}

void rz_weight_pack(const rz_weight *weight, size_t panel)
{
    weight->kernels->pack_panel(weight->panels, weight->source, weight->row, weight->column,
                                weight->n, weight->k, panel);
}

static void product(const rz_weight *w, size_t m, const float *a, size_t lda, const float *bias,
                    bool add, float *c, size_t ldc)
{
    if (w->panels != NULL) {
        w->kernels->product_packed(m, w->n, w->first, w->k, a, lda, w->panels, w->depth, bias, add,
                                   c, ldc);
        return;
    }
    for (size_t i = 0; bias != NULL && i < m; i++)
        memcpy(c + i * ldc, bias, w->n * sizeof *c);
    if (w->column == 1)
        rz_gemm_nt(m, w->n, w->k, a, lda, w->source, w->row, c, ldc, add || bias != NULL);
    else
        rz_gemm_nn(m, w->n, w->k, a, lda, w->source, w->column, c, ldc, add || bias != NULL);
}

void rz_weight_product(const rz_weight *weight, size_t m, const float *a, size_t lda,
                       const float *bias, float *c, size_t ldc)
{
    product(weight, m, a, lda, bias, false, c, ldc);
}

void rz_weight_product_add(const rz_weight *weight, size_t m, const float *a, size_t lda, float *c,
                           size_t ldc)
{
    product(weight, m, a, lda, NULL, true, c, ldc);
}
