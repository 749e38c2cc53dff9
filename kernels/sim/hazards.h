// Finds pieces of a captured graph that may run at the same time and touch the same memory, one of them writing: a race that a
// GPU need not show, and that replays one after another cannot show where both orders give the same numbers (two pieces that use
// one block as work space).
//
// One replay is watched. Each word of device memory remembers the last piece of the main queue and the last one beside it that
// wrote it, and that read it; whoever touches it next looks whether it waits for those of the other queue. Kernels' accesses come
// from the AccessChecker, so they are seen only where that is built in; copies and fills always; atomics never.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace retort::sim {

/// What the simulated device has given out and not got back.
struct MemoryBlock {
  const void* pointer;
  std::size_t bytes;
};
std::vector<MemoryBlock> memory_blocks();

class HazardCheck {
 public:
  /// A launch, copy or fill: number `number`, from 1 on, of its queue, which waits for all up to number `waits_for` of the other.
  struct Piece {
    bool beside = false;  ///< the main queue
    std::uint16_t number = 0, waits_for = 0;
  };
  struct Finding {
    Piece piece;
    std::uint16_t other = 0;  ///< of the other queue
    bool write = false, other_wrote = false;
    std::size_t block_bytes = 0, offset = 0;  ///< where
  };

  HazardCheck();  ///< of all memory that the device has given out

  /// All that is touched from now on is touched by this piece.
  void begin(const Piece& piece) { piece_ = piece; }
  /// One word, by any host thread. Calls nothing of the standard library, see access_checker.cpp.
  void touch(std::uintptr_t address, bool write);
  void touch(const void* first, std::size_t bytes, bool write);

  /// The first one; null when all is well.
  const Finding* finding() const { return found_ ? &finding_ : nullptr; }

 private:
  struct Word {
    std::uint16_t written[2], read[2];  // the last piece of the main queue, and the last beside it; 0: none
  };
  struct Free {
    void operator()(Word* words) const;
  };
  struct Block {
    std::uintptr_t begin, bytes;
    std::unique_ptr<Word[], Free> words;
  };
  void report(const Block& block, std::uintptr_t address, bool write, bool other_wrote, std::uint16_t other);

  std::vector<Block> owned_;  // by address
  const Block* blocks_;
  std::size_t count_;
  Piece piece_;
  bool found_ = false;
  Finding finding_;
};

}  // namespace retort::sim
