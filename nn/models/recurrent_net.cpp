#include "retort/nn/models/recurrent_net.h"

namespace retort::nn {

void add_recurrent_summary(std::vector<LayerSummary>& layers, const RecurrentOptions& options, std::int64_t steps) {
  for (std::int64_t layer = 0; layer < options.layers; ++layer) {
    RecurrentOptions one = options;
    one.in = layer == 0 ? options.in : options.out();
    one.layers = 1;
    const std::string kind =
        std::string(options.bidirectional ? "bidirectional " : "") + (options.cell == Cell::lstm ? "LSTM" : "GRU");
    layers.push_back({fmt::format("rnn.*_l{}", layer), kind, {steps, options.out()}, one.parameters(), one.flops(steps)});
  }
  layers.push_back({"", options.bidirectional ? "final states" : "final state", {options.out()}});
}

void SharedHeads::add_ends(Context& context, std::int64_t in) {
  in_ = in;
  const auto linear = [&](const char* name, std::int64_t from, std::int64_t to, bool relu) {
    if (to == 0) return std::unique_ptr<Linear>();
    auto layer = std::make_unique<Linear>(context, from, to, random_, relu);
    add_module(name, *layer);
    return layer;
  };
  shared_ = linear("shared", in, RecurrentNetSizes::shared, true);
  head1_ = linear("head1", RecurrentNetSizes::shared, spec_.classes[0], false);
  head2_ = linear("head2", RecurrentNetSizes::shared, spec_.classes[1], false);
}

Tensor SharedHeads::shared(const Tensor& states) const {
  const Tensor y = shared_->forward(states);
  return training() ? ops::dropout(y, RecurrentNetSizes::dropout) : y;
}

Logits SharedHeads::heads(const Tensor& features) const {
  return {head1_ ? head1_->forward(features) : Tensor(), head2_ ? head2_->forward(features) : Tensor()};
}

void SharedHeads::add_ends_summary(std::vector<LayerSummary>& layers) const {
  const auto linear = [&](const char* name, const char* kind, std::int64_t in, std::int64_t out) {
    if (out > 0) layers.push_back({name, kind, {out}, out * in + out, 2 * out * in});
  };
  linear("shared", "Linear, ReLU", in_, RecurrentNetSizes::shared);
  linear("head1", "Linear", RecurrentNetSizes::shared, spec_.classes[0]);
  linear("head2", "Linear", RecurrentNetSizes::shared, spec_.classes[1]);
}

void SharedHeads::check_windows(const Tensor& windows) const {
  const Shape &shape = windows.shape(), &window = spec_.window;
  check(shape.rank() == 4 && shape[1] == window[0] && shape[2] == window[1] && shape[3] == window[2],
        "{}: input {} is not (N, {}, {}, {})", spec_.architecture, shape, window[0], window[1], window[2]);
}

namespace {

RecurrentOptions body(const ModelSpec& spec, Cell cell, bool bidirectional) {
  const Shape& window = spec.window;
  check(window.rank() == 3 && window[0] == 1 && window[1] > 0 && window[2] > 0,
        "{}: a window has shape (1, axes, length), not {}", spec.architecture, window);
  return {cell, window[1], RecurrentNetSizes::hidden, RecurrentNetSizes::layers, bidirectional, RecurrentNetSizes::dropout};
}

}  // namespace

RecurrentNet::RecurrentNet(Context& context, const ModelSpec& spec, Cell cell, bool bidirectional)
    : SharedHeads(spec), options_(body(spec, cell, bidirectional)), rnn_(context, options_, random_) {
  add_module("rnn", rnn_);
  add_ends(context, options_.out());
}

Tensor RecurrentNet::features(const Tensor& windows) const {
  check_windows(windows);
  const Tensor channels = ops::view(windows, {windows.shape()[0], spec_.window[1], spec_.window[2]});
  return shared(rnn_.last_states(ops::permute(channels, {2, 0, 1})));
}

std::vector<LayerSummary> RecurrentNet::summary() const {
  std::vector<LayerSummary> layers;
  add_recurrent_summary(layers, options_, spec_.window[2]);
  add_ends_summary(layers);
  return layers;
}

}  // namespace retort::nn
