/* What the kernel sources of one instruction set share. RZ_ISA_NAME comes from the build. */
#ifndef RZ_TENSOR_KERNELS_ISA_H
#define RZ_TENSOR_KERNELS_ISA_H

#include "tensor/kernels.h"
#include "tensor/vector.h"

extern const rz_kernels RZ_ISA(kernels);
void RZ_ISA(attention)(const rz_attention *a, float *out, size_t ldo, float *log_sum_exp,
                       float *scratch);
void RZ_ISA(attention_backward)(const rz_attention *a, const rz_attention_gradient *g,
                                float *scratch);
void RZ_ISA(attention_bf16)(const rz_attention *a, float *out, size_t ldo, float *log_sum_exp,
                            float *scratch);
void RZ_ISA(attention_backward_bf16)(const rz_attention *a, const rz_attention_gradient *g,
                                     float *scratch);

void RZ_ISA(pack_panel)(float *panels, const float *b, size_t row, size_t column, size_t n,
                        size_t depth, size_t panel);
void RZ_ISA(product_packed)(size_t m, size_t n, size_t first, size_t k, const float *a, size_t lda,
                            const float *panels, size_t depth, const float *bias, bool add,
                            float *c, size_t ldc);
void RZ_ISA(product_transposed)(size_t m, size_t n, size_t k, const float *a, size_t lda,
                                const float *b, size_t ldb, float *c, size_t ldc, float *scratch);

void RZ_ISA(rows_bf16)(uint32_t *out, const float *a, size_t lda, size_t m, size_t k);
void RZ_ISA(pack_bf16)(uint32_t *panels, const float *b, size_t row, size_t column, size_t n,
                       size_t depth, size_t panel);
void RZ_ISA(product_bf16)(size_t m, size_t n, size_t words, const uint32_t *a,
                          const uint32_t *panels, const float *bias, bool add, float *c,
                          size_t ldc);
void RZ_ISA(transposed_bf16)(size_t m, size_t n, size_t k, const float *a, size_t lda,
                             const float *b, size_t ldb, float *c, size_t ldc, float *scratch);
void RZ_ISA(rows_int8)(uint32_t *out, float *scale, const float *a, size_t lda, size_t m, size_t k);
void RZ_ISA(pack_int8)(uint32_t *panels, float *scale, int32_t *column_sum, const float *b,
                       size_t row, size_t column, size_t n, size_t depth, size_t panel);
void RZ_ISA(product_int8)(size_t m, size_t n, size_t words, const uint32_t *a,
                          const float *row_scale, const uint32_t *panels, const float *column_scale,
                          const int32_t *column_sum, const float *bias, bool add, float *c,
                          size_t ldc);

#endif
