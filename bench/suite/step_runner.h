// A whole training step as `retort train` does it, on windows of noise: it takes the same time whatever it learns.
#pragma once

#include "retort/bench/kernels/roof.h"
#include "retort/distill/batches.h"
#include "retort/distill/training_state.h"

#include <string>

namespace retort::bench {

/// Windows of normal noise in memory, with labels of 12 and 3 classes.
WindowSet noise(std::int64_t count);

struct StepSpec {
  std::string form = "mtl-net", method = "smooth-distill";
  int batch = 64;
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

  /// Gathers the next batch and does the step; waits for the device.
  void step();

  /// Of methods with one pass of the student a step: all but sd-dropout, whose second pass through the heads is not counted.
  StepNeeds needs();

 private:
  StepSpec spec_;
  RunConfig config_;
  WindowSet windows_;
  DeviceData data_;
  TrainingState state_;
  std::vector<std::int32_t> indices_;
  std::int32_t next_ = 0;
};

}  // namespace retort::bench
