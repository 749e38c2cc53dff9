// What every network in this project is: windows of acceleration in, logits of two tasks out.
#pragma once

#include "retort/nn/module.h"

#include <memory>
#include <string>
#include <vector>

namespace retort::nn {

/// One row of `retort summary`.
struct LayerSummary {
  std::string name, kind;
  Shape output;  ///< for one window
  std::int64_t parameters = 0, flops = 0;
};

struct ModelSpec {
  std::string architecture = "mtl-net";
  Shape window{1, 3, 100};                     ///< one input, without the batch: (1, axes, length)
  std::array<std::int64_t, 2> classes{12, 3};  ///< outputs of the two heads; 0 leaves a head out (single-task nets)
  std::uint64_t seed = 0;                      ///< of the initial weights
};

/// Logits of both tasks, (N, classes); undefined for a head that was left out.
struct Logits {
  Tensor task1, task2;
};

class TwoTaskModel : public Module {
 public:
  /// windows: (N, 1, axes, length).
  virtual Logits forward(const Tensor& windows) const { return heads(features(windows)); }

  /// The shared representation (N, F), and the heads on it: methods that work between the two use these. A pair of single-task
  /// nets has no shared representation and throws.
  virtual Tensor features(const Tensor& windows) const = 0;
  virtual Logits heads(const Tensor& features) const = 0;
  virtual std::int64_t feature_count() const = 0;
  /// Columns of the two logits.
  virtual std::array<std::int64_t, 2> outputs() const = 0;

  /// Layers with parameters and FLOPs of one window's forward pass, counted as table 7 of the paper does: two per multiply-add of
  /// convolutions, linear and recurrent layers, nothing for biases, activations, pooling and normalisation.
  virtual std::vector<LayerSummary> summary() const = 0;
  std::int64_t flops() const;
};

/// Names that make_model knows: "mtl-net", "mtl-net-paper", "mtl-net-released", "lstm", "bilstm", "gru", "anpo-net".
std::vector<std::string> architectures();

/// A freshly initialised model; throws InputError listing the names for an unknown architecture.
std::unique_ptr<TwoTaskModel> make_model(Context& context, const ModelSpec& spec);

/// The single-task method's "model": two nets of the spec's architecture, one a task, as modules "net1" and "net2". In the form
/// `mtl-net-released` the second net has as many outputs as task 1 has classes, as the authors' code does.
std::unique_ptr<TwoTaskModel> make_single_task_pair(Context& context, const ModelSpec& spec);

}  // namespace retort::nn
