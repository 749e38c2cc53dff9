// What a Stream stands on: the work queue of one device. The class itself is the host's, whose work is done when a call returns;
// kernels/cuda and kernels/sim derive theirs. Code outside this room uses Stream.
#pragma once

#include "retort/kernels/device.h"

#include <array>
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

namespace retort {

/// One piece of captured work.
struct WorkNode {
  std::string name;                         ///< a kernel's op and function, "copy" or "fill"
  std::array<unsigned, 3> grid{}, block{};  ///< of a kernel; 0 for others
  std::size_t bytes = 0;                    ///< dynamic shared memory of a kernel; what a copy or fill writes
  bool beside = false;                      ///< in a branch beside the main queue
  std::size_t depth = 0;  ///< pieces in the longest chain that ends with this one, each waiting for the one before

  bool is_kernel() const { return block[0] > 0; }
};

/// Work that was captured, to be launched again and again with the arguments it was captured with. The memory it works on must
/// stay where it is.
class WorkGraph {
 public:
  virtual ~WorkGraph() = default;
  virtual std::size_t size() const = 0;  ///< kernels, copies and fills in it
  /// All of them, in the order in which they were given. Empty where the device does not tell (CUDA).
  virtual std::vector<WorkNode> nodes() const { return {}; }
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
