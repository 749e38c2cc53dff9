// torch.nn.BatchNorm2d (eps 1e-5, momentum 0.1), with an optional ReLU fused behind it.
#pragma once

#include "retort/nn/module.h"

namespace retort::nn {

class BatchNorm2d final : public Module {
 public:
  BatchNorm2d(Context& context, std::int64_t channels, bool relu = false) {
    options_.relu = relu;
    weight_ = add_parameter("weight", Tensor::full(context, {channels}, 1.0f));
    bias_ = add_parameter("bias", Tensor::zeros(context, {channels}));
    running_mean_ = add_buffer("running_mean", Tensor::zeros(context, {channels}));
    running_var_ = add_buffer("running_var", Tensor::full(context, {channels}, 1.0f));
  }

  /// (N, channels, ...) to the same shape; in training the running statistics move.
  Tensor forward(const Tensor& x) const {
    ops::BatchNormOptions options = options_;
    options.training = training();
    return ops::batch_norm(x, weight_, bias_, running_mean_, running_var_, options);
  }

  /// max_pool2d(forward(x), kernel, stride); in training in one kernel.
  Tensor forward_pooled(const Tensor& x, std::array<std::int64_t, 2> kernel, std::array<std::int64_t, 2> stride) const {
    ops::BatchNormOptions options = options_;
    options.training = training();
    return ops::batch_norm_pool(x, affine(), options, kernel, stride);
  }

  ops::NormState affine() const { return {weight_, bias_, running_mean_, running_var_}; }
  const ops::BatchNormOptions& options() const { return options_; }

 private:
  ops::BatchNormOptions options_;
  Tensor weight_, bias_, running_mean_, running_var_;
};

}  // namespace retort::nn
