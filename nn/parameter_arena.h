// All parameters of a model in one flat tensor, all gradients in another, all buffers in a third: an optimiser step, an EMA step,
// a copy of a model are one pass over memory.
#pragma once

#include "retort/nn/module.h"

namespace retort::nn {

/// Moves the module's tensors into the arena; the module keeps working on them. Each begins on a 64-byte boundary; the gaps hold
/// zeros. Two modules of the same form get the same layout. The arena must not outlive the context.
class ParameterArena {
 public:
  /// `gradients`: also make the flat gradient buffer (a teacher has none).
  ParameterArena(Context& context, const Module& module, bool gradients);

  const Tensor& parameters() const { return parameters_; }
  /// Brings in what zero_gradients() put off: ask anew for every use.
  const Tensor& gradients() const;
  /// Undefined for a model without buffers.
  const Tensor& buffers() const { return buffers_; }

  /// Where, in the flat tensors, large tensors and what lies between them end. A thread of a CPU that updates its share of each
  /// of these works on the rows of weights that are its own in other kernels, and so in its cache.
  const std::vector<std::int64_t>& part_ends() const { return part_ends_; }

  /// From here on gradients count as zero. The memory of large ones is cleared only if nothing overwrites it before it is read.
  void zero_gradients() const;
  /// Parameters and buffers from an arena of the same layout.
  void copy_from(const ParameterArena& other) const;

 private:
  Tensor parameters_, gradients_, buffers_;
  std::vector<Tensor> large_;       ///< pieces of the gradients whose clearing is put off
  std::vector<Tensor> in_between_;  ///< and what lies between them
  std::vector<std::int64_t> part_ends_;
};

}  // namespace retort::nn
