// torch.nn.Linear, with an optional ReLU fused behind it.
#pragma once

#include "retort/nn/module.h"

#include <cmath>

namespace retort::nn {

class Linear final : public Module {
 public:
  Linear(Context& context, std::int64_t in, std::int64_t out, Random& random, bool relu = false) : relu_(relu) {
    const float bound = 1.0f / std::sqrt(static_cast<float>(in));
    weight_ = add_parameter("weight", uniform_parameter(context, {out, in}, bound, random));
    bias_ = add_parameter("bias", uniform_parameter(context, {out}, bound, random));
  }

  /// (..., in) to (..., out).
  Tensor forward(const Tensor& x) const { return ops::linear(x, weight_, bias_, relu_); }

 private:
  bool relu_;
  Tensor weight_, bias_;
};

}  // namespace retort::nn
