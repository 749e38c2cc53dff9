// torch.nn.Conv2d without dilation and groups.
#pragma once

#include "retort/nn/module.h"

#include <cmath>

namespace retort::nn {

class Conv2d final : public Module {
 public:
  Conv2d(Context& context, std::int64_t in, std::int64_t out, std::array<std::int64_t, 2> kernel, Random& random,
         const ops::Conv2dOptions& options = {})
      : options_(options) {
    const float bound = 1.0f / std::sqrt(static_cast<float>(in * kernel[0] * kernel[1]));
    weight_ = add_parameter("weight", uniform_parameter(context, {out, in, kernel[0], kernel[1]}, bound, random));
    bias_ = add_parameter("bias", uniform_parameter(context, {out}, bound, random));
  }

  /// (N, in, H, W) to (N, out, OH, OW).
  Tensor forward(const Tensor& x) const { return ops::conv2d(x, weight_, bias_, options_); }

  const Tensor& weight() const { return weight_; }
  const Tensor& bias() const { return bias_; }
  const ops::Conv2dOptions& options() const { return options_; }

 private:
  ops::Conv2dOptions options_;
  Tensor weight_, bias_;
};

}  // namespace retort::nn
