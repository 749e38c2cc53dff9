// The place a kernel is launched on: a device, the host threads or CUDA stream that do the work, and scratch memory.
#pragma once

#include "retort/kernels/device.h"

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

  Device device() const { return device_; }
  ThreadTeam& threads() const { return *threads_; }

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

  /// Waits until all work launched so far has finished.
  void synchronize();

 private:
  Device device_;
  std::unique_ptr<ThreadTeam> threads_;
  void* scratch_ = nullptr;
  std::size_t scratch_bytes_ = 0;
  std::int32_t* counters_ = nullptr;
  bool tf32_ = false;
  std::vector<std::pair<const void*, std::shared_ptr<void>>> kept_;
};

}  // namespace retort
