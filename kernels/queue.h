// What a Stream stands on: the work queue of one device. The class itself is the host's, whose work is done when a call returns;
// kernels/cuda and kernels/sim derive theirs. Code outside this room uses Stream.
#pragma once

#include "retort/kernels/device.h"

#include <cstddef>
#include <memory>

namespace retort {

/// Work that was captured, to be launched again and again with the arguments it was captured with. The memory it works on must
/// stay where it is.
class WorkGraph {
 public:
  virtual ~WorkGraph() = default;
  virtual std::size_t size() const = 0;  ///< kernels, copies and fills in it
};

/// Copies and fills are in order with the kernels of the queue. Every function throws DeviceError when the device refuses.
class Queue {
 public:
  explicit Queue(Device device) : device_(device) {}
  virtual ~Queue() = default;
  Queue(const Queue&) = delete;
  Queue& operator=(const Queue&) = delete;

  virtual void fill_zero(void* pointer, std::size_t bytes) { memory(device_).fill_zero(pointer, bytes); }
  virtual void copy(void* to, const void* from, std::size_t bytes) { memory(device_).copy(to, from, bytes); }
  virtual void copy_from_host(void* to, const void* from, std::size_t bytes) { memory(device_).copy_from_host(to, from, bytes); }
  virtual void copy_to_host(void* to, const void* from, std::size_t bytes) { memory(device_).copy_to_host(to, from, bytes); }
  virtual void synchronize() { memory(device_).synchronize(); }

  /// A queue of the same device whose work may run at the same time as this one's; null when there is no such thing.
  virtual std::unique_ptr<Queue> beside() { return nullptr; }
  /// What comes into this queue from now on starts after all that is in `other` now. One of the two came from the other's
  /// beside().
  virtual void wait_for(Queue&) {}

  /// Between begin_capture and end_capture nothing is done, only noted; queues that wait for this one are noted with it and must
  /// be waited for before the end.
  virtual bool can_capture() const { return false; }
  virtual bool capturing() const { return false; }
  virtual void begin_capture() {}
  virtual std::unique_ptr<WorkGraph> end_capture() { return nullptr; }
  virtual void abandon_capture() noexcept {}
  virtual void launch(const WorkGraph&) {}

  /// The backend's own handle: a cudaStream_t.
  virtual void* native() const { return nullptr; }

 protected:
  Device device_;
};

}  // namespace retort
