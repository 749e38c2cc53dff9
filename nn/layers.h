// Layers without parameters, and Sequential.
#pragma once

#include "retort/nn/module.h"

#include <memory>
#include <utility>
#include <vector>

namespace retort::nn {

class ReLU final : public Module {
 public:
  Tensor forward(const Tensor& x) const { return ops::relu(x); }
};

/// torch.nn.MaxPool2d without padding.
class MaxPool2d final : public Module {
 public:
  MaxPool2d(std::array<std::int64_t, 2> kernel, std::array<std::int64_t, 2> stride) : kernel_(kernel), stride_(stride) {}
  Tensor forward(const Tensor& x) const { return ops::max_pool2d(x, kernel_, stride_); }

 private:
  std::array<std::int64_t, 2> kernel_, stride_;
};

/// torch.nn.Dropout: active in training only.
class Dropout final : public Module {
 public:
  explicit Dropout(float p) : p_(p) { check(p >= 0.0f && p < 1.0f, "Dropout: p = {} is outside [0, 1)", p); }
  Tensor forward(const Tensor& x) const { return training() && p_ > 0.0f ? ops::dropout(x, p_) : x; }

 private:
  float p_;
};

/// Layers one after another, named "0", "1", ... as in PyTorch.
class Sequential final : public Module {
 public:
  template <class Layer>
  Sequential& add(std::unique_ptr<Layer> layer) {
    add_module(std::to_string(steps_.size()), *layer);
    const Layer* raw = layer.get();
    steps_.push_back({std::move(layer), [raw](const Tensor& x) { return raw->forward(x); }});
    return *this;
  }

  Tensor forward(Tensor x) const {
    for (const Step& step : steps_) x = step.forward(x);
    return x;
  }

 private:
  struct Step {
    std::unique_ptr<Module> layer;
    std::function<Tensor(const Tensor&)> forward;
  };
  std::vector<Step> steps_;
};

}  // namespace retort::nn
