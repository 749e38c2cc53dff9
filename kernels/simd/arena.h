// Pieces of a stream's scratch memory.
#pragma once

#include <cstddef>
#include <cstdint>

namespace retort::simd {

/// Hands out pieces, each on a cache line of its own. Without a base it only counts.
class Arena {
 public:
  explicit Arena(void* base = nullptr) : base_(static_cast<std::byte*>(base)) {}

  template <class T = float>
  T* take(std::int64_t n) {
    constexpr std::size_t line = 64;
    std::byte* piece = base_ != nullptr ? base_ + used_ : nullptr;
    used_ += (static_cast<std::size_t>(n) * sizeof(T) + line - 1) / line * line;
    return reinterpret_cast<T*>(piece);
  }
  std::size_t used() const { return used_; }  ///< bytes

 private:
  std::byte* base_;
  std::size_t used_ = 0;
};

}  // namespace retort::simd
