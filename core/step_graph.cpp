#include "retort/core/step_graph.h"

namespace retort {

StepGraph::StepGraph(Context& context, bool enabled) : context_(context) {
  if (enabled && context.stream().queue().can_capture()) lane_ = &context.borrow_lane();
}

StepGraph::~StepGraph() {
  graph_.reset();
  if (lane_) context_.give_back(*lane_);
}

void StepGraph::run(const std::function<void()>& step) {
  if (!lane_) {
    step();
    return;
  }
  const LaneScope scope(context_, *lane_);
  if (!graph_) {
    if (steps_++ < warm_up) {
      step();
      return;
    }
    capture(step);
  }
  lane_->stream.queue().launch(*graph_);
}

void StepGraph::capture(const std::function<void()>& step) {
  struct Frozen {
    Lane& lane;
    explicit Frozen(Lane& of) : lane(of) { lane.freeze(true); }
    ~Frozen() { lane.freeze(false); }
  };
  const Frozen frozen(*lane_);
  Capture capture(lane_->stream);
  step();
  graph_ = capture.finish();
}

}  // namespace retort
