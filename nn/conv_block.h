// Convolution, batch normalisation (or none), ReLU and max pooling: the front of MTL-net and of AnpoNet.
#pragma once

#include "retort/nn/batch_norm.h"
#include "retort/nn/conv2d.h"

namespace retort::nn {

/// `norm`, with its ReLU fused, may be null. In training the convolution is one kernel, all behind it another. Without gradients,
/// in evaluation mode, one kernel does all four and keeps no plane between them. The numbers are those of the layers one by one
/// but for rounding.
inline Tensor conv_block(const Conv2d& conv, const BatchNorm2d* norm, const Tensor& x, std::array<std::int64_t, 2> pool,
                         std::array<std::int64_t, 2> stride) {
  if (!x.context().grad_enabled() && !conv.training())
    return ops::conv_block(x, conv.weight(), conv.bias(), norm != nullptr ? norm->affine() : ops::NormState{},
                           {conv.options(), pool, stride, norm != nullptr ? norm->options().eps : 0.0f});
  const Tensor y = conv.forward(x);
  if (norm != nullptr) return norm->forward_pooled(y, pool, stride);
  // ReLU and maximum commute, gradients included; after the pool there is less work.
  return ops::relu(ops::max_pool2d(y, pool, stride));
}

}  // namespace retort::nn
