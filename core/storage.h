// Device memory of tensors: blocks handed out by a context's arena and returned to it, so that a repeated training step asks the
// device for nothing after the first.
#pragma once

#include "retort/core/error.h"
#include "retort/kernels/device.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace retort {

class Stream;

/// Keeps released blocks in free lists by size class (four classes to each power of two, so at most a quarter is wasted).
/// Not thread-safe: an arena belongs to one context, a context to one thread.
class Arena {
 public:
  /// `user`: where its blocks are worked on, null for the device's default stream; it must outlive the arena.
  explicit Arena(Device device, Stream* user = nullptr) : memory_(memory(device)), user_(user) {}
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  /// At least `bytes` bytes, 64-byte aligned, uninitialised; the class's true size goes to `capacity`.
  void* allocate(std::size_t bytes, std::size_t& capacity);
  void release(void* block, std::size_t capacity) noexcept;

  /// While frozen, only free blocks are handed out; when there is none that fits, DeviceError.
  void freeze(bool frozen) { frozen_ = frozen; }

  /// Returns all free blocks to the device.
  void trim() noexcept;

  const DeviceMemory& device_memory() const { return memory_; }
  std::size_t bytes_reserved() const { return reserved_; }         ///< taken from the device
  std::size_t bytes_in_use() const { return in_use_; }             ///< of those, held by tensors
  std::uint64_t device_allocations() const { return allocations_; }  ///< calls that the free lists could not answer

 private:
  static constexpr int classes = 4 * 48;
  static int size_class(std::size_t bytes);
  static std::size_t class_bytes(int size_class);

  const DeviceMemory& memory_;
  Stream* user_;
  std::array<std::vector<void*>, classes> free_;
  std::size_t reserved_ = 0, in_use_ = 0;
  std::uint64_t allocations_ = 0;
  bool frozen_ = false;
};

/// One block of device memory, shared by a tensor and its views. `version` counts the times it was opened for writing, which is how
/// an in-place change of a tensor that backward still needs is noticed.
struct Storage {
  Storage(Arena& from, std::size_t wanted) : arena(&from), data(from.allocate(wanted, capacity)) {}
  /// Somebody else's memory, e.g. a mapped file; it is not released.
  explicit Storage(void* borrowed) : data(borrowed) {}
  ~Storage() {
    if (arena) arena->release(data, capacity);
  }
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  Arena* arena = nullptr;
  std::size_t capacity = 0;
  void* data;
  std::uint32_t version = 0;
};

}  // namespace retort
