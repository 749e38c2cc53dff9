// Shapes that more than one operation checks and hands to its kernels.
#pragma once

#include "retort/core/ops.h"
#include "retort/kernels/batch_norm.h"
#include "retort/kernels/max_pool2d.h"

namespace retort::ops {

/// Throws, in the name of `op`, when the tensors do not fit.
BatchNormShape batch_norm_shape(const char* op, const Tensor& x, const NormState& norm, const BatchNormOptions& options);
MaxPool2dShape max_pool2d_shape(const char* op, const Tensor& x, std::array<std::int64_t, 2> window,
                                std::array<std::int64_t, 2> stride);

}  // namespace retort::ops
