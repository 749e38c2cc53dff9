// The recurrent rivals of MTL-net (paper section 4.2.3): a window is read as a sequence of its samples, what the network ends
// with goes through a shared layer to the two heads.
//
//   (N, 1, axes, L) as L steps of `axes` numbers -> 2 layers of LSTM, GRU or bidirectional LSTM -> last state (of each direction)
//   -> Linear 256 ReLU -> two heads; dropout between the layers and before the heads
#pragma once

#include "retort/nn/linear.h"
#include "retort/nn/models/model.h"
#include "retort/nn/recurrent.h"

namespace retort::nn {

/// Sizes of all recurrent nets, in this one place. Neither the paper nor its code gives them; docs/architectures.md has the
/// reasons.
struct RecurrentNetSizes {
  static constexpr std::int64_t hidden = 128;  ///< units of a layer and direction
  static constexpr std::int64_t layers = 2;    ///< "two-layer" is what the paper does say
  static constexpr std::int64_t shared = 256;  ///< outputs of the shared layer
  static constexpr float dropout = 0.2f;
  static constexpr std::int64_t front_kernel = 9, front_channels = 64;  ///< anpo-net's convolution
  static constexpr std::int64_t anpo_layers = 1;                        ///< of its LSTM
};

/// A row for each layer of a recurrent body and one for its final state.
void add_recurrent_summary(std::vector<LayerSummary>& layers, const RecurrentOptions& options, std::int64_t steps);

/// The end that all recurrent nets share: Linear, ReLU, dropout and the heads.
class SharedHeads : public TwoTaskModel {
 public:
  Logits heads(const Tensor& features) const final;
  std::int64_t feature_count() const final { return RecurrentNetSizes::shared; }
  std::array<std::int64_t, 2> outputs() const final { return spec_.classes; }

 protected:
  explicit SharedHeads(const ModelSpec& spec) : spec_(spec), random_(spec.seed) {}
  /// To be called when the body is registered: `shared`, `head1` and `head2` come last in PyTorch's order.
  void add_ends(Context& context, std::int64_t in);
  Tensor shared(const Tensor& states) const;
  void add_ends_summary(std::vector<LayerSummary>& layers) const;
  void check_windows(const Tensor& windows) const;

  ModelSpec spec_;
  Random random_;  ///< of the initial weights, used up during construction

 private:
  std::int64_t in_ = 0;
  std::unique_ptr<Linear> shared_, head1_, head2_;
};

class RecurrentNet final : public SharedHeads {
 public:
  RecurrentNet(Context& context, const ModelSpec& spec, Cell cell, bool bidirectional);

  Tensor features(const Tensor& windows) const override;
  std::vector<LayerSummary> summary() const override;

 private:
  RecurrentOptions options_;
  Recurrent rnn_;
};

}  // namespace retort::nn
