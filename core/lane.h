// Where a context's work goes: a stream, and the arena that its tensors come from. A block that a tensor gives back is used again
// by later work of the same lane only, and that work comes after in the same queue: so lanes may run beside each other.
#pragma once

#include "retort/core/storage.h"
#include "retort/kernels/stream.h"

#include <memory>

namespace retort {

struct Lane {
  explicit Lane(Stream at) : stream(std::move(at)), arena(stream.device(), &stream) {}

  Stream stream;
  Arena arena;
  std::unique_ptr<Lane> side;  ///< for a Branch of this lane's work; made when the first one is
  bool is_side = false;

  std::size_t bytes_in_use() const { return arena.bytes_in_use() + (side ? side->bytes_in_use() : 0); }
  /// While frozen, tensors get only blocks that the arenas have already.
  void freeze(bool frozen) {
    arena.freeze(frozen);
    if (side) side->freeze(frozen);
  }
  void trim() noexcept {
    arena.trim();
    if (side) side->trim();
  }
};

}  // namespace retort
