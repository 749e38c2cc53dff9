// Matrix products for the kernels of this folder: Eigen's, on one thread and without touching the heap. Kernels that want several
// threads cut the result into blocks and call this for each.
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

}  // namespace retort::eigen
