// Contract: max pooling without padding, floor mode, as torch.nn.functional.max_pool2d.
//
//   y[n,c,oh,ow] = max_{r,s} x[n,c, oh*stride_h + r, ow*stride_w + s]; the first maximum in (r, s) order wins, NaN wins over all.
#pragma once

#include "retort/kernels/stream.h"

#include <cstdint>

namespace retort {

struct MaxPool2dShape {
  std::int64_t n, c, h, w;
  std::int64_t kernel_h, kernel_w, stride_h, stride_w;

  std::int64_t oh() const { return (h - kernel_h) / stride_h + 1; }
  std::int64_t ow() const { return (w - kernel_w) / stride_w + 1; }
};

struct MaxPool2dKernels {
  static constexpr const char* op = "max_pool2d";
  /// x: (N, C, H, W); y and argmax: (N, C, OH, OW), overwritten. argmax holds ih * W + iw of the winner inside its (H, W) plane;
  /// null when no gradient will be asked for.
  void (*forward)(Stream&, const MaxPool2dShape&, const float* x, float* y, std::int32_t* argmax);
  /// dx: (N, C, H, W) overwritten, zero where no window chose the element; windows may overlap.
  void (*backward)(Stream&, const MaxPool2dShape&, const std::int32_t* argmax, const float* dy, float* dx);
};

}  // namespace retort
