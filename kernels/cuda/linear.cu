// Affine maps of rows and matrix products on one tiled kernel (gemm.cuh). Contract: kernels/linear.h.
//   y = f(x W^T + b)                  2 rows in out flops
//   dx = g W, dW = beta dW + g^T x, db += sum over rows of g,   g = dy, or dy where y > 0 with ReLU; g is never stored
#include "retort/kernels/linear.h"

#include "retort/kernels/cuda/all.h"
#include "retort/kernels/cuda/gemm.cuh"
#include "retort/kernels/registry.h"

namespace retort {
namespace {

void linear_forward(Stream& stream, const LinearShape& s, const float* x, const float* w, const float* b, float* y) {
  gemm(stream, "linear.forward", false, true,
       {.m = s.rows, .n = s.out, .k = s.in, .a = x, .b = w, .bias = b, .relu = s.activation == Activation::relu, .c = y});
}

/// g of one row and column.
struct MaskedGradient {
  const float *dy, *y;  // (rows, columns); y null: no mask
  std::int64_t columns;
  __device__ float operator()(std::int64_t row, std::int64_t column) const {
    const std::int64_t i = row * columns + column;
    return y == nullptr || y[i] > 0.0f ? dy[i] : 0.0f;
  }
};

void linear_backward(Stream& stream, const LinearShape& s, const float* x, const float* w, const float* y, const float* dy,
                     float* dx, float beta, float* dw, float* db) {
  const char* name = "linear.backward";
  const float* mask = s.activation == Activation::relu ? y : nullptr;
  if (dx != nullptr)
    gemm(stream, name, false, false, {.m = s.rows, .n = s.in, .k = s.out, .a = dy, .b = w, .mask = mask, .c = dx});
  if (dw != nullptr)
    gemm(stream, name, true, false, {.m = s.out, .n = s.in, .k = s.rows, .a = dy, .b = x, .mask = mask, .beta = beta, .c = dw});
  if (db != nullptr && s.out > 0) column_sum(stream, name, s.rows, s.out, MaskedGradient{dy, mask, s.out}, true, db);
}

void matmul(Stream& stream, const MatmulShape& s, const float* a, const float* b, float beta, float* c) {
  gemm(stream, "matmul.forward", s.transpose_a, s.transpose_b,
       {.m = s.m, .n = s.n, .k = s.k, .a = a, .b = b, .beta = beta, .c = c});
}

}  // namespace

template <>
void register_linear<this_device>() {
  KernelTable<LinearKernels>::instance().add(this_device, "cuda", 10, {linear_forward, linear_backward});
  KernelTable<MatmulKernels>::instance().add(this_device, "cuda", 10, {matmul});
}

}  // namespace retort
