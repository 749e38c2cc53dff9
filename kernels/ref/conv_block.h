// The formula of kernels/conv_block.h as loops. Sums are taken in double whatever T is.
#pragma once

#include "retort/kernels/conv_block.h"
#include "retort/kernels/ref/conv2d.h"

#include <vector>

namespace retort::ref {

/// The window's maximum of relu(affine(conv)) for one output.
template <class T>
double conv_block_output(const ConvBlockShape& z, const ChannelAffine<T>& at, const T* plane, std::int64_t oh, std::int64_t ow) {
  double best = 0;  // what a ReLU leaves at least
  for (std::int64_t r = 0; r < z.pool_h; ++r)
    for (std::int64_t s = 0; s < z.pool_w; ++s) {
      const std::int64_t position = (oh * z.pool_stride_h + r) * z.conv.ow() + ow * z.pool_stride_w + s;
      const double value = at.scale * double(plane[position]) + at.shift;
      if (value > best || value != value) best = value;  // NaN: nothing is larger, so it stays
    }
  return best;
}

template <class T>
void conv_block_forward(Stream& stream, const ConvBlockShape& z, const T* x, const T* w, const T* b,
                        const BatchNormState<T>& norm, T* y) {
  const std::int64_t plane = z.conv.oh() * z.conv.ow();
  std::vector<T> planes(static_cast<std::size_t>(z.conv.n * z.conv.k * plane));
  conv2d_forward<T>(stream, z.conv, x, w, nullptr, planes.data());
  for (std::int64_t n = 0; n < z.conv.n; ++n)
    for (std::int64_t k = 0; k < z.conv.k; ++k) {
      const ChannelAffine<T> at(b, norm, z.eps, k);
      for (std::int64_t oh = 0; oh < z.oh(); ++oh)
        for (std::int64_t ow = 0; ow < z.ow(); ++ow)
          *y++ = T(conv_block_output(z, at, planes.data() + (n * z.conv.k + k) * plane, oh, ow));
    }
}

}  // namespace retort::ref
