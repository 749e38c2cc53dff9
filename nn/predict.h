// Logits of any number of windows, without gradients.
#pragma once

#include "retort/nn/models/model.h"

#include <algorithm>

namespace retort::nn {

/// model.forward under NoGrad; windows: (N, 1, axes, length). On the CPU many windows are taken in pieces whose planes stay in
/// the L2 cache from layer to layer, which changes numbers by rounding at most.
inline Logits predict(const TwoTaskModel& model, const Tensor& windows) {
  constexpr std::int64_t piece = 128;
  Context& context = windows.context();
  const NoGrad no_grad(context);
  const std::int64_t count = windows.shape()[0];
  if (context.device() != Device::cpu || count <= piece) return model.forward(windows);
  const auto [outputs1, outputs2] = model.outputs();
  const auto all = [&](std::int64_t outputs) { return outputs > 0 ? Tensor::empty(context, {count, outputs}) : Tensor(); };
  const Logits logits{all(outputs1), all(outputs2)};
  const Shape& shape = windows.shape();
  for (std::int64_t begin = 0; begin < count; begin += piece) {
    const std::int64_t size = std::min(piece, count - begin);
    const Tensor some = windows.alias(begin * shape[1] * shape[2] * shape[3], {size, shape[1], shape[2], shape[3]});
    const Logits part = model.forward(some);
    const auto put = [&](const Tensor& to, const Tensor& from) {
      if (to.defined()) to.alias(begin * to.shape()[1], from.shape()).copy_from(from);
    };
    put(logits.task1, part.task1), put(logits.task2, part.task2);
  }
  return logits;
}

}  // namespace retort::nn
