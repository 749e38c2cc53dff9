#include "retort/nn/recurrent.h"

#include <cmath>

namespace retort::nn {

namespace {

std::int64_t blocks(Cell cell) { return cell == Cell::lstm ? 4 : 3; }

}  // namespace

std::int64_t RecurrentOptions::parameters() const {
  std::int64_t count = 0;
  for (std::int64_t layer = 0; layer < layers; ++layer)
    count += directions() * blocks(cell) * hidden * ((layer == 0 ? in : out()) + hidden + 2);
  return count;
}

std::int64_t RecurrentOptions::flops(std::int64_t steps) const {
  const std::int64_t biases = layers * directions() * 2 * blocks(cell) * hidden;
  return 2 * (parameters() - biases) * steps;  // every weight takes part in one multiply-add a step
}

Recurrent::Recurrent(Context& context, const RecurrentOptions& options, Random& random) : options_(options) {
  check(options.in > 0 && options.hidden > 0 && options.layers > 0, "recurrent: {} inputs, {} hidden units, {} layers",
        options.in, options.hidden, options.layers);
  check(options.dropout >= 0 && options.dropout < 1, "recurrent: dropout {} is outside [0, 1)", options.dropout);
  const float bound = 1.0f / std::sqrt(static_cast<float>(options.hidden));
  const std::int64_t rows = blocks(options.cell) * options.hidden;
  layers_.resize(static_cast<std::size_t>(options.layers));
  for (std::size_t layer = 0; layer < layers_.size(); ++layer)
    for (std::size_t direction = 0; direction < static_cast<std::size_t>(options.directions()); ++direction) {
      const auto parameter = [&](const char* kind, const Shape& shape) {
        return add_parameter(fmt::format("{}_l{}{}", kind, layer, direction == 0 ? "" : "_reverse"),
                             uniform_parameter(context, shape, bound, random));
      };
      ops::RecurrentWeights& w = layers_[layer][direction];
      w.weight_ih = parameter("weight_ih", {rows, layer == 0 ? options.in : options.out()});
      w.weight_hh = parameter("weight_hh", {rows, options.hidden});
      w.bias_ih = parameter("bias_ih", {rows});
      w.bias_hh = parameter("bias_hh", {rows});
    }
}

Tensor Recurrent::joined(const Tensor& a, const Tensor& b) const {
  return options_.bidirectional ? ops::concat(std::array{a, b}, -1) : a;
}

Recurrent::Directions Recurrent::last_layer(const Tensor& x) const {
  const auto run = options_.cell == Cell::lstm ? ops::lstm : ops::gru;
  Tensor input = x;
  for (std::size_t layer = 0;; ++layer) {
    const auto& weights = layers_[layer];
    Directions y{run(input, weights[0], false), options_.bidirectional ? run(input, weights[1], true) : Tensor()};
    if (layer + 1 == layers_.size()) return y;
    input = joined(y.forward, y.reverse);
    if (training() && options_.dropout > 0) input = ops::dropout(input, options_.dropout);
  }
}

Tensor Recurrent::forward(const Tensor& x) const {
  const Directions y = last_layer(x);
  return joined(y.forward, y.reverse);
}

Tensor Recurrent::last_states(const Tensor& x) const {
  const Directions y = last_layer(x);
  return joined(ops::select(y.forward, -1), options_.bidirectional ? ops::select(y.reverse, 0) : Tensor());
}

}  // namespace retort::nn
