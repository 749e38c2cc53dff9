// Contract: affine map of rows with an optional ReLU fused behind it, as torch.nn.functional.linear.
//
//   y = f(x W^T + b)      x: (rows, in), W: (out, in), b: (out) or null, y: (rows, out), f: identity or ReLU
//
// A kernel may skip what is multiplied by a zero of x or dy: an infinity or NaN that meets nothing else is then not seen.
#pragma once

#include "retort/kernels/stream.h"

#include <cstdint>

namespace retort {

/// What a kernel does to its output before writing it.
enum class Activation { none, relu };

struct LinearShape {
  std::int64_t rows, in, out;
  Activation activation = Activation::none;
};

struct LinearKernels {
  static constexpr const char* op = "linear";
  /// y overwritten; b may be null.
  void (*forward)(Stream&, const LinearShape&, const float* x, const float* w, const float* b, float* y);
  /// y is the forward's output (read only with ReLU, else it may be null). dx overwritten; dw = beta * dw + its gradient, beta 0
  /// (dw is not read) or 1; db accumulates (+=); any of the three may be null. dy is left as it is.
  void (*backward)(Stream&, const LinearShape&, const float* x, const float* w, const float* y, const float* dy, float* dx,
                   float beta, float* dw, float* db);
};

struct MatmulShape {
  std::int64_t m, n, k;
  bool transpose_a = false;  ///< a is stored (k, m) instead of (m, k)
  bool transpose_b = false;  ///< b is stored (n, k) instead of (k, n)
};

struct MatmulKernels {
  static constexpr const char* op = "matmul";
  /// c = op(a) op(b) + beta * c; c: (m, n). With beta 0, c is not read.
  void (*forward)(Stream&, const MatmulShape&, const float* a, const float* b, float beta, float* c);
};

}  // namespace retort
