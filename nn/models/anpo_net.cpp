#include "retort/nn/models/anpo_net.h"

namespace retort::nn {

namespace {

using Sizes = RecurrentNetSizes;

std::int64_t steps_of(const Shape& window) {
  check(window.rank() == 3 && window[0] == 1 && window[1] > 0, "anpo-net: a window has shape (1, axes, length), not {}", window);
  const std::int64_t steps = (window[2] - Sizes::front_kernel + 1) / 2;
  check(steps > 0, "anpo-net: a window of {} is too short; the shortest has {} samples", window, Sizes::front_kernel + 1);
  return steps;
}

}  // namespace

AnpoNet::AnpoNet(Context& context, const ModelSpec& spec)
    : SharedHeads(spec),
      steps_(steps_of(spec.window)),
      conv_(context, spec.window[1], Sizes::front_channels, {1, Sizes::front_kernel}, random_),
      bn_(context, Sizes::front_channels, /*relu=*/true),
      options_{Cell::lstm, Sizes::front_channels, Sizes::hidden, Sizes::anpo_layers, false, Sizes::dropout},
      rnn_(context, options_, random_) {
  add_module("conv", conv_);
  add_module("bn", bn_);
  add_module("rnn", rnn_);
  add_ends(context, options_.out());
}

Tensor AnpoNet::features(const Tensor& windows) const {
  check_windows(windows);
  const std::int64_t rows = windows.shape()[0];
  const Tensor planes = ops::view(windows, {rows, spec_.window[1], 1, spec_.window[2]});
  const Tensor front = conv_block(conv_, &bn_, planes, {1, 2}, {1, 2});
  return shared(rnn_.last_states(ops::permute(ops::view(front, {rows, Sizes::front_channels, steps_}), {2, 0, 1})));
}

std::vector<LayerSummary> AnpoNet::summary() const {
  const std::int64_t in = spec_.window[1], out = Sizes::front_channels, kernel = Sizes::front_kernel,
                     length = spec_.window[2] - kernel + 1;
  std::vector<LayerSummary> layers;
  layers.push_back({"conv", "Conv2d 1x9", {out, 1, length}, out * in * kernel + out, 2 * out * in * kernel * length});
  layers.push_back({"bn", "BatchNorm2d", {out, 1, length}, 2 * out});
  layers.push_back({"", "ReLU, MaxPool2d 1x2 / 2", {out, 1, steps_}});
  add_recurrent_summary(layers, options_, steps_);
  add_ends_summary(layers);
  return layers;
}

}  // namespace retort::nn
