// A context is what an engine needs besides tensors: a device and its stream, the arena tensors live in, a pool for the small
// objects of the graph, the gradient mode and the random state. There is no global one: `Context ctx; Tensor::zeros(ctx, ...)`.
#pragma once

#include "retort/core/storage.h"
#include "retort/kernels/philox.h"
#include "retort/kernels/stream.h"

#include <cstdint>
#include <memory>
#include <memory_resource>

namespace retort {

/// Belongs to one host thread and must outlive its tensors (it ends the program with a message otherwise).
class Context {
 public:
  /// `threads`: host threads for CPU kernels, 0 for all that this process may use. Throws DeviceError when the device is missing.
  explicit Context(Device device = Device::cpu, int threads = 0);
  ~Context();
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  Device device() const { return stream_.device(); }
  Stream& stream() { return stream_; }
  Arena& arena() { return arena_; }

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

  void synchronize() { stream_.synchronize(); }

 private:
  Stream stream_;
  Arena arena_;
  std::pmr::unsynchronized_pool_resource pool_;
  bool grad_enabled_ = true;
  std::uint64_t nodes_ = 0;
  PhiloxKey random_;
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
