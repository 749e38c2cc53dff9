// Contract: 2-D cross-correlation with bias, as torch.nn.functional.conv2d (no dilation, no groups).
//
//   y[n,k,oh,ow] = b[k] + sum_{c,r,s} x[n,c, oh*stride_h - pad_h + r, ow*stride_w - pad_w + s] * w[k,c,r,s]
//
// x: (N, C, H, W), w: (K, C, R, S), b: (K) or null, y: (N, K, OH, OW), all contiguous; zeros outside x.
// Work: 2 * N*K*OH*OW * C*R*S flops forward, twice that backward. The gradients may skip what is multiplied by a zero of dy. A
// kernel may multiply sums of neighbours (minimal filtering): an infinity or NaN then also reaches the results beside its own.
#pragma once

#include "retort/kernels/stream.h"

#include <cstdint>

namespace retort {

struct Conv2dShape {
  std::int64_t n, c, h, w;  ///< input
  std::int64_t k, r, s;     ///< output channels, kernel height and width
  std::int64_t stride_h = 1, stride_w = 1, pad_h = 0, pad_w = 0;

  std::int64_t oh() const { return (h + 2 * pad_h - r) / stride_h + 1; }
  std::int64_t ow() const { return (w + 2 * pad_w - s) / stride_w + 1; }
};

struct Conv2dKernels {
  static constexpr const char* op = "conv2d";
  /// y overwritten; b may be null.
  void (*forward)(Stream&, const Conv2dShape&, const float* x, const float* w, const float* b, float* y);
  /// dx overwritten; dw, db accumulate (+=). Any of the three may be null and is then not computed.
  void (*backward)(Stream&, const Conv2dShape&, const float* x, const float* w, const float* dy, float* dx, float* dw, float* db);
};

}  // namespace retort
