// What the twins of this folder share: checked calls into NVIDIA's libraries, and the memory and handles they keep with a stream.
// Twins stand behind the same contracts as kernels/cuda, for honest benchmarks and as a second opinion in tests; none is the
// default before a GPU has measured it.
#pragma once

#include "retort/kernels/check.h"
#include "retort/kernels/cuda/handles.h"
#include "retort/kernels/stream.h"

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

namespace retort::vendor {

/// Throws DeviceError for a library call that failed: op and shapes (what `describe` returns), call, the library's words, place.
template <class Describe>
[[noreturn]] void fail_call(const char* call, std::string_view words, const Describe& describe, std::string_view file, int line) {
  file.remove_prefix(file.rfind('/') + 1);
  fail<DeviceError>("cuda: {}: {} failed: {} at {}:{}", describe(), call, words, file, line);
}

/// Device memory that grows and never shrinks, beside Stream::scratch, which the hand-written kernels called from a twin may use.
class Workspace {
 public:
  Workspace() = default;
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;
  ~Workspace() {
    if (pointer_ != nullptr) memory(Device::cuda).release(pointer_);
  }

  /// At least `bytes` for work of `stream`, always the same; uninitialised, valid until the next call. Cannot grow while a step
  /// is captured.
  void* get(Stream& stream, std::size_t bytes) {
    if (bytes > bytes_) {
      stream.synchronize();  // work in flight may still use the old space
      const DeviceMemory& table = memory(Device::cuda);
      if (pointer_ != nullptr) table.release(std::exchange(pointer_, nullptr));
      bytes_ = 0;
      pointer_ = table.allocate(bytes);
      bytes_ = bytes;
    }
    return pointer_;
  }

 private:
  void* pointer_ = nullptr;
  std::size_t bytes_ = 0;
};

/// Lays arrays out in one work space: count them all, then take them in the same order.
class Parts {
 public:
  void count(std::size_t bytes) { total_ += rounded(bytes); }
  std::size_t total() const { return total_; }
  void begin(void* base) { next_ = static_cast<std::byte*>(base); }
  void* take(std::size_t bytes) { return std::exchange(next_, next_ + rounded(bytes)); }
  float* take_floats(std::int64_t n) { return static_cast<float*>(take(static_cast<std::size_t>(n) * sizeof(float))); }

 private:
  static std::size_t rounded(std::size_t bytes) { return (bytes + 255) / 256 * 256; }
  std::size_t total_ = 0;
  std::byte* next_ = nullptr;
};

}  // namespace retort::vendor
