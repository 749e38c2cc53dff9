// A training step that is the same work every time, captured once and replayed: instead of a launch for each of its kernels the
// host makes one for all of them, and need not wait for any.
//
// What a replay repeats are the launches with their arguments; C++ code of the step does not run again. So whatever differs from
// step to step – which batch, dropout's random numbers, Adam's correction, where the losses are noted – must be read on the
// device, from counters that the step's own kernels advance; and the step's tensors must stay where they were. They do: the step
// runs in a lane of its own, whose memory nobody else gets while the graph lives.
#pragma once

#include "retort/core/context.h"

#include <functional>
#include <memory>

namespace retort {

class StepGraph {
 public:
  /// Steps that run as ordinary calls before the one that is captured: they load kernels and fill the lane's arena.
  static constexpr int warm_up = 2;

  /// Not `enabled`, or on a device that cannot capture (the CPU), every step runs as an ordinary call.
  explicit StepGraph(Context& context, bool enabled = true);
  ~StepGraph();
  StepGraph(const StepGraph&) = delete;
  StepGraph& operator=(const StepGraph&) = delete;

  /// Does `step` once: calls it, or replays what an earlier call did. It must always be the same step. Throws DeviceError when
  /// the step does what cannot be captured: it asks the device for memory that its warm-up did not need, copies from or to the
  /// host, or waits.
  void run(const std::function<void()>& step);

  bool captured() const { return graph_ != nullptr; }
  /// Kernels, copies and fills in the captured step; 0 before.
  std::size_t size() const { return graph_ ? graph_->size() : 0; }
  /// What they are, in order; empty before, and on CUDA, which does not tell.
  std::vector<WorkNode> nodes() const { return graph_ ? graph_->nodes() : std::vector<WorkNode>{}; }

 private:
  void capture(const std::function<void()>& step);

  Context& context_;
  Lane* lane_ = nullptr;  ///< null: ordinary calls
  int steps_ = 0;
  std::unique_ptr<WorkGraph> graph_;
};

}  // namespace retort
