// Max pooling of one (H, W) plane: each output row is a running maximum over the window's taps, so that the innermost loop runs
// along the row and vectorises.
#pragma once

#include "retort/kernels/max_pool2d.h"

#include <cstdint>

namespace retort::eigen {

/// One tap of the window over a whole output row. `stride`: known to the compiler, or 0 for the shape's own. The comparison is
/// strict, so that the first maximum wins, and false only for a NaN that is already there, so that NaN wins over all.
template <int stride, bool with_argmax>
void take_tap(const MaxPool2dShape& z, const float* x, std::int32_t at, float* best, std::int32_t* winner) {
  const std::int64_t step = stride != 0 ? stride : z.stride_w;
  const std::int64_t ow = z.ow();
  for (std::int64_t i = 0; i < ow; ++i) {
    const float value = x[i * step];
    const bool better = (value > best[i]) | ((value != value) & (best[i] == best[i]));
    best[i] = better ? value : best[i];
    if (with_argmax) winner[i] = better ? at + static_cast<std::int32_t>(i * step) : winner[i];
  }
}

template <int stride, bool with_argmax>
void forward_plane(const MaxPool2dShape& z, const float* x, float* y, std::int32_t* argmax) {
  const std::int64_t step = stride != 0 ? stride : z.stride_w, ow = z.ow();
  for (std::int64_t oh = 0; oh < z.oh(); ++oh, y += ow, argmax += with_argmax ? ow : 0) {
    const std::int64_t top = oh * z.stride_h * z.w;
    for (std::int64_t i = 0; i < ow; ++i) {
      y[i] = x[top + i * step];
      if (with_argmax) argmax[i] = static_cast<std::int32_t>(top + i * step);
    }
    for (std::int64_t r = 0; r < z.kernel_h; ++r)
      for (std::int64_t s = r == 0 ? 1 : 0; s < z.kernel_w; ++s) {
        const std::int64_t at = top + r * z.w + s;
        take_tap<stride, with_argmax>(z, x + at, static_cast<std::int32_t>(at), y, argmax);
      }
  }
}

template <bool with_argmax>
auto plane_function(const MaxPool2dShape& z) {
  return z.stride_w == 2   ? forward_plane<2, with_argmax>
         : z.stride_w == 1 ? forward_plane<1, with_argmax>
                           : forward_plane<0, with_argmax>;
}

}  // namespace retort::eigen
