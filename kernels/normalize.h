// Contract: rows divided by their Euclidean length, as torch.nn.functional.normalize(x, dim=1, eps=1e-12).
#pragma once

#include "retort/kernels/stream.h"

#include <cstdint>

namespace retort {

inline constexpr float l2_normalize_eps = 1e-12f;

struct L2NormalizeKernels {
  static constexpr const char* op = "l2_normalize";
  /// norm = max(|x|, eps) per row, y = x / norm. x, y: (rows, columns), norm: (rows); overwritten.
  void (*forward)(Stream&, std::int64_t rows, std::int64_t columns, const float* x, float* norm, float* y);
  /// dx = (dy - y <y, dy>) / norm; overwritten. (A row shorter than eps was divided by a constant: dx = dy / eps.)
  void (*backward)(Stream&, std::int64_t rows, std::int64_t columns, const float* norm, const float* y, const float* dy, float* dx);
};

}  // namespace retort
