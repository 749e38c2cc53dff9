// Contract: reductions of a whole tensor to one number.
#pragma once

#include "retort/kernels/stream.h"

#include <cstdint>

namespace retort {

enum class Reduction { sum, mean, l1 };  ///< sum x, (1/n) sum x, sum |x|

std::string_view name(Reduction op);

struct ReduceKernels {
  static constexpr const char* op = "reduce";
  /// y: (1) overwritten; x: (n).
  void (*forward)(Stream&, Reduction f, std::int64_t n, const float* x, float* y);
  /// dx: (n) overwritten = dy[0] * {1, 1/n, sign(x)}; sign(0) = 0 as in PyTorch. dy: (1). x is read only by
  /// l1; it may be null for the others.
  void (*backward)(Stream&, Reduction f, std::int64_t n, const float* x, const float* dy, float* dx);
};

}  // namespace retort
