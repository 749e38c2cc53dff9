// torch.nn.LSTM and torch.nn.GRU: one or more layers, one or both directions, dropout between layers. Names, layouts and the
// order of gates in the state dictionary are PyTorch's: weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0, weight_ih_l0_reverse,
// ...
#pragma once

#include "retort/nn/module.h"

#include <array>
#include <vector>

namespace retort::nn {

enum class Cell { lstm, gru };

struct RecurrentOptions {
  Cell cell = Cell::lstm;
  std::int64_t in = 0, hidden = 0, layers = 1;
  bool bidirectional = false;
  float dropout = 0;  ///< on the output of every layer but the last, in training only

  std::int64_t directions() const { return bidirectional ? 2 : 1; }
  std::int64_t out() const { return hidden * directions(); }
  std::int64_t parameters() const;
  /// Two for each multiply-add of the products with weights, one row, `steps` steps.
  std::int64_t flops(std::int64_t steps) const;
};

class Recurrent final : public Module {
 public:
  /// All parameters uniform in ±1/sqrt(hidden), as PyTorch begins.
  Recurrent(Context& context, const RecurrentOptions& options, Random& random);

  /// x: time-major, (T, N, in). Hidden states of the last layer, (T, N, directions * hidden): PyTorch's `output` without
  /// batch_first.
  Tensor forward(const Tensor& x) const;
  /// What the last layer ends with: h_n of its directions side by side, (N, directions * hidden).
  Tensor last_states(const Tensor& x) const;

 private:
  struct Directions {
    Tensor forward, reverse;
  };
  Directions last_layer(const Tensor& x) const;
  Tensor joined(const Tensor& a, const Tensor& b) const;

  RecurrentOptions options_;
  std::vector<std::array<ops::RecurrentWeights, 2>> layers_;
};

}  // namespace retort::nn
