// The place a kernel is launched on: a device, the host threads or CUDA stream that do the work, and scratch memory.
#pragma once

#include "retort/kernels/device.h"
#include "retort/kernels/queue.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

namespace retort {

class ThreadTeam;

/// Move-only. One stream belongs to one host thread. Every kernel takes it as its first argument.
class Stream {
 public:
  /// `threads`: host threads that CPU kernels may use; 0 means all that this process may run on. Ignored by CUDA.
  explicit Stream(Device device, int threads = 0);
  ~Stream();
  Stream(Stream&&) noexcept;
  Stream& operator=(Stream&&) noexcept;

  /// The same queue and threads with scratch memory and counters of its own: work captured here keeps them to itself.
  Stream sibling() const;
  /// Work given to it may run beside this stream's; in order again with `wait_for`. On a device with one queue it is a sibling.
  Stream beside() const;
  /// Work given to this stream from now on starts after all that `other` has now.
  void wait_for(Stream& other);

  Device device() const { return device_; }
  ThreadTeam& threads() const { return *threads_; }
  Queue& queue() const { return *queue_; }

  /// Work space on the device, 64-byte aligned, uninitialised, valid until the next call. It grows and never shrinks, so a
  /// repeated step allocates nothing. A kernel asks once, for everything it needs.
  void* scratch(std::size_t bytes);

  /// `counter_count` 32-bit counters on the device, zero when a kernel starts. A kernel whose last block finishes the work counts
  /// its blocks here and leaves zeros behind.
  static constexpr int counter_count = 1024;
  std::int32_t* counters();

  /// Lets matrix products and convolutions use tensor cores, which round their factors to TF32 (10 bits of mantissa instead of
  /// 23) and add in float. Off unless asked for. Throws InputError on a device that has none.
  void set_tf32(bool on);
  bool tf32() const { return tf32_; }

  /// What a library needs with the stream (handles, plans): the first call makes a T{}, which then lives as long as the stream.
  template <class T>
  T& keep() {
    static char key;  // one a type
    for (const auto& [of, pointer] : kept_)
      if (of == &key) return *static_cast<T*>(pointer.get());
    kept_.emplace_back(&key, std::make_shared<T>());
    return *static_cast<T*>(kept_.back().second.get());
  }

  /// Copies and fills, in order with kernels. Host memory may be changed, or read, when the call returns. While work is captured,
  /// DeviceError for what a replay could not repeat: copies from and to the host, and waiting.
  void fill_zero(void* pointer, std::size_t bytes) { queue_->fill_zero(pointer, bytes); }
  void copy(void* to, const void* from, std::size_t bytes) { queue_->copy(to, from, bytes); }
  void copy_from_host(void* to, const void* from, std::size_t bytes);
  void copy_to_host(void* to, const void* from, std::size_t bytes);
  /// Waits until all work launched so far has finished.
  void synchronize();

 private:
  Stream(Device device, std::shared_ptr<Queue> queue, std::shared_ptr<ThreadTeam> threads);
  void expect_no_capture(const char* what) const;

  Device device_;
  std::shared_ptr<Queue> queue_;
  std::shared_ptr<ThreadTeam> threads_;
  void* scratch_ = nullptr;
  std::size_t scratch_bytes_ = 0;
  std::int32_t* counters_ = nullptr;
  bool tf32_ = false;
  std::vector<std::pair<const void*, std::shared_ptr<void>>> kept_;
};

/// Captures what is given to a stream in its scope. Left without `finish` (an exception passes), the capture is dropped and the
/// stream works as before.
class Capture {
 public:
  explicit Capture(Stream& stream);  ///< throws DeviceError when the device cannot capture
  ~Capture();
  Capture(const Capture&) = delete;
  Capture& operator=(const Capture&) = delete;

  std::unique_ptr<WorkGraph> finish();

 private:
  Stream& stream_;
  bool open_ = true;
};

}  // namespace retort
