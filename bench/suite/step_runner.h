// A whole training step as `retort train` does it, on windows of noise: it takes the same time whatever it learns.
#pragma once

#include "retort/bench/kernels/roof.h"
#include "retort/core/step_graph.h"
#include "retort/distill/batches.h"
#include "retort/distill/training_state.h"

#include <string>

namespace retort::bench {

/// Windows of normal noise in memory, with labels of 12 and 3 classes.
WindowSet noise(std::int64_t count);

struct StepSpec {
  std::string form = "mtl-net", method = "smooth-distill";
  int batch = 64;
  bool graph = true;  ///< capture the step and replay it, where the device can
};

/// What a step cannot do without: the multiply-adds of its layers and the optimiser's bytes; everything else fits a cache.
struct StepNeeds {
  double flops = 0, bytes = 0;
  /// Seconds on a machine that first multiplies at its full rate and then moves the optimiser's arrays at its full bandwidth.
  double floor(const Roof& roof) const { return flops / roof.flops + bytes / roof.bytes; }
};

class StepRunner {
 public:
  StepRunner(Context& context, const StepSpec& spec);

  /// Takes batch after batch; waits for the device at the end, as training does once an epoch.
  void steps(int count = 1);
  const StepGraph& graph() const { return graph_; }

  /// Of methods with one pass of the student a step: all but sd-dropout, whose second pass through the heads is not counted.
  StepNeeds needs();

 private:
  StepSpec spec_;
  RunConfig config_;
  WindowSet windows_;
  DeviceData data_;
  BatchFeed feed_;
  TrainingState state_;
  Tensor confusion1_, confusion2_;
  std::vector<std::int32_t> order_;
  std::int64_t left_ = 0;  ///< batches of this round through the windows
  StepGraph graph_;
};

}  // namespace retort::bench
