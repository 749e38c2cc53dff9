// A context is what an engine needs besides tensors: a device and its stream, the arena tensors live in, a pool for the small
// objects of the graph, the gradient mode and the random state. There is no global one: `Context ctx; Tensor::zeros(ctx, ...)`.
#pragma once

#include "retort/core/lane.h"
#include "retort/kernels/philox.h"

#include <cstdint>
#include <memory>
#include <memory_resource>
#include <vector>

namespace retort {

namespace detail {
struct TensorImpl;
}

/// Belongs to one host thread and must outlive its tensors (it ends the program with a message otherwise).
class Context {
 public:
  /// `threads`: host threads for CPU kernels, 0 for all that this process may use. Throws DeviceError when the device is missing.
  explicit Context(Device device = Device::cpu, int threads = 0);
  ~Context();
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  Device device() const { return main_.stream.device(); }
  /// Of the lane in use: the context's own, unless a Branch or a StepGraph has put another in its place.
  Stream& stream() { return lane_->stream; }
  Arena& arena() { return lane_->arena; }
  Lane& lane() { return *lane_; }
  /// The lane beside the one in use; null when there is none, on a device with one queue or in a side lane.
  Lane* side_lane();
  /// Another lane in the same queue, for a StepGraph. What was borrowed stays with the context after it is given back, because
  /// tensors may still live there.
  Lane& borrow_lane();
  void give_back(Lane& lane) noexcept;

  /// Memory for graph nodes and tensor headers; keeps what it gets, so a repeated step does not reach the heap.
  std::pmr::memory_resource* pool() { return &pool_; }

  /// Whether operations record a graph; see NoGrad.
  bool grad_enabled() const { return grad_enabled_; }
  void set_grad_enabled(bool enabled) { grad_enabled_ = enabled; }

  /// Nodes are numbered in order of creation, which is a topological order of any graph.
  std::uint64_t next_node() { return ++nodes_; }

  /// Random numbers of dropout: they depend on (seed, *step, number of the call within the step), so a run is resumed by
  /// restoring the step. `step` is a device counter owned by the optimiser, null for none.
  void seed(std::uint64_t seed, const std::int32_t* step = nullptr) { random_ = {seed, 0, step}; }
  /// Starts counting calls anew; the trainer calls it before each step.
  void begin_step() { random_.call = 0; }
  PhiloxKey next_random() {
    PhiloxKey key = random_;
    ++random_.call;
    return key;
  }

  void synchronize() { stream().synchronize(); }

  /// A scalar 1, made once: every backward begins with it. See Tensor::backward.
  std::shared_ptr<detail::TensorImpl>& one() { return one_; }

 private:
  friend class LaneScope;

  Lane main_;
  Lane* lane_ = &main_;
  std::vector<std::unique_ptr<Lane>> borrowed_, spare_;
  std::pmr::unsynchronized_pool_resource pool_;
  bool grad_enabled_ = true;
  std::uint64_t nodes_ = 0;
  PhiloxKey random_;
  std::shared_ptr<detail::TensorImpl> one_;
};

/// Work in the guard's scope goes to another lane.
class LaneScope {
 public:
  LaneScope(Context& context, Lane& lane) : context_(context), before_(context.lane_) { context.lane_ = &lane; }
  ~LaneScope() { context_.lane_ = before_; }
  LaneScope(const LaneScope&) = delete;
  LaneScope& operator=(const LaneScope&) = delete;

 private:
  Context& context_;
  Lane* before_;
};

/// Operations inside the guard's scope record no graph: evaluation, teachers, updates of weights.
class NoGrad {
 public:
  explicit NoGrad(Context& context) : context_(context), before_(context.grad_enabled()) { context.set_grad_enabled(false); }
  ~NoGrad() { context_.set_grad_enabled(before_); }
  NoGrad(const NoGrad&) = delete;
  NoGrad& operator=(const NoGrad&) = delete;

 private:
  Context& context_;
  bool before_;
};

}  // namespace retort
