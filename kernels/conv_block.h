// Contract: convolution, batch normalisation with its running statistics, ReLU and max pooling in one pass: what a network does
// when nobody asks for gradients (a teacher, evaluation, prediction). The planes between the four never reach memory, and rows
// that no pooling window covers are not computed.
//
//   y = max over the window of relu(scale[k] * conv(x, w)[n,k,oh,ow] + shift[k])
//   scale = gamma / sqrt(var + eps), shift = (b - mean) * scale + beta; without normalisation scale = 1, shift = b
//
// ReLU and maximum commute, so this is the net's order whichever comes first in it. NaN wins over all, as in max_pool2d.
#pragma once

#include "retort/kernels/conv2d.h"

#include <cmath>

namespace retort {

struct ConvBlockShape {
  Conv2dShape conv;
  std::int64_t pool_h, pool_w, pool_stride_h, pool_stride_w;  ///< no padding, incomplete windows dropped
  float eps = 1e-5f;

  std::int64_t oh() const { return (conv.oh() - pool_h) / pool_stride_h + 1; }
  std::int64_t ow() const { return (conv.ow() - pool_w) / pool_stride_w + 1; }
};

/// The normalisation's parameters and running statistics, (K) each; all null: there is none.
template <class T>
struct BatchNormState {
  const T *gamma, *beta, *mean, *var;
};

struct ConvBlockKernels {
  static constexpr const char* op = "conv_block";
  /// x, w and b (or null) as conv2d's; y: (N, K, OH, OW) with the shape's oh() and ow(), overwritten.
  void (*forward)(Stream&, const ConvBlockShape&, const float* x, const float* w, const float* b,
                  const BatchNormState<float>& norm, float* y);
};

/// scale and shift of channel k, in double.
template <class T>
struct ChannelAffine {
  ChannelAffine(const T* b, const BatchNormState<T>& norm, float eps, std::int64_t k) : shift(b != nullptr ? double(b[k]) : 0.0) {
    if (norm.gamma == nullptr) return;
    scale = double(norm.gamma[k]) / std::sqrt(double(norm.var[k]) + double(eps));
    shift = (shift - double(norm.mean[k])) * scale + double(norm.beta[k]);
  }
  double scale = 1, shift;
};

}  // namespace retort
