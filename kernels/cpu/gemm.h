// Matrix products for the kernels of this folder, on one thread and without touching the heap. Kernels that want several threads
// cut the result into blocks and call this for each.
//
// Eigen's own product copies both factors into panels first, which pays when each element is then used some hundred times. Here
// it is used 64 times, a batch. So b is read in place, with Eigen's vectors, unless it is transposed or narrower than a vector.
// kernels/simd/tile-inl.h has the same product with Highway; a build without that has this one.
#pragma once

#include <cstdint>

namespace retort::eigen {

/// A row-major matrix in memory and how it enters the product.
struct Operand {
  const float* data;
  std::int64_t stride;  ///< elements from one stored row to the next
  bool transposed = false;
};

enum class Write { overwrite, accumulate };

/// c = op(a) op(b), or c += op(a) op(b). c: (m, n) with rows `c_stride` apart, op(a): (m, k), op(b): (k, n). c overlaps neither.
void gemm(std::int64_t m, std::int64_t n, std::int64_t k, Operand a, Operand b, float* c, std::int64_t c_stride, Write write);

/// to[j, i] = from[i, j] for i < rows, j < columns; rows of both so many elements apart.
void transpose(std::int64_t rows, std::int64_t columns, const float* from, std::int64_t from_stride, float* to,
               std::int64_t to_stride);

}  // namespace retort::eigen
