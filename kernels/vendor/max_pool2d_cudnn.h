// cuDNN's gradient of max pooling, which needs x and y where the contract has indices (max_pool2d_cudnn.cpp).
#pragma once

#include "retort/kernels/max_pool2d.h"

namespace retort::vendor {

/// dx overwritten; x: the forward's input, y: its output. Among equal maxima of a window cuDNN chooses for itself.
void max_pool2d_backward_cudnn(Stream& stream, const MaxPool2dShape& s, const float* x, const float* y, const float* dy,
                               float* dx);

}  // namespace retort::vendor
