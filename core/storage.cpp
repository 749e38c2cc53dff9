#include "retort/core/storage.h"

#include "retort/kernels/stream.h"

#include <bit>

namespace retort {

// Class 4*p + q holds blocks of 64 * 2^p * (1 + q/4) bytes, rounded up to whole cache lines.
std::size_t Arena::class_bytes(int size_class) {
  const std::size_t base = std::size_t{64} << (size_class / 4);
  const std::size_t bytes = base + base / 4 * static_cast<std::size_t>(size_class % 4);
  return (bytes + 63) / 64 * 64;
}

int Arena::size_class(std::size_t bytes) {
  if (bytes <= 64) return 0;
  const int power = std::bit_width((bytes - 1) / 64) - 1;
  int found = 4 * power;
  while (class_bytes(found) < bytes) ++found;
  return found;
}

void* Arena::allocate(std::size_t bytes, std::size_t& capacity) {
  const int index = size_class(bytes);
  check(index < classes, "arena: {} bytes is more than any device has", bytes);
  capacity = class_bytes(index);
  auto& blocks = free_[static_cast<std::size_t>(index)];
  if (!blocks.empty()) {
    void* block = blocks.back();
    blocks.pop_back();
    in_use_ += capacity;
    return block;
  }
  check<DeviceError>(!frozen_,
                     "arena: a step that is captured asks for {} bytes more than its earlier runs needed; it must be the "
                     "same step every time",
                     bytes);
  ++allocations_;
  void* block = nullptr;
  try {
    block = memory_.allocate(capacity);
  } catch (const DeviceError&) {
    if (user_) user_->synchronize();  // memory is given back on the default stream, and work beside that may still use it
    trim();                           // blocks of other sizes may be lying about
    block = memory_.allocate(capacity);
  }
  reserved_ += capacity;
  in_use_ += capacity;
  return block;
}

void Arena::release(void* block, std::size_t capacity) noexcept {
  in_use_ -= capacity;
  free_[static_cast<std::size_t>(size_class(capacity))].push_back(block);
}

void Arena::trim() noexcept {
  for (int i = 0; i < classes; ++i) {
    for (void* block : free_[static_cast<std::size_t>(i)]) {
      memory_.release(block);
      reserved_ -= class_bytes(i);
    }
    free_[static_cast<std::size_t>(i)].clear();
  }
}

Arena::~Arena() { trim(); }

}  // namespace retort
