// Windows of a mapped file, read from the disk before their turn.
#pragma once

#include "retort/core/file.h"
#include "retort/data/windowing.h"

namespace retort {

/// Training takes windows in shuffled order, and one that the system has not in memory yet would make a step wait for the disk. A
/// set that fits into memory is asked for as a whole, front to back, at the beginning: disks read fastest that way. Of a larger
/// one the next windows are asked for while the present ones are worked on. Where all is in memory already nothing is done.
class ReadAhead {
 public:
  static constexpr std::int64_t distance = 4096;  ///< windows asked for ahead: 64 batches of 64, 5 MB

  /// `windows` and `order`, the windows' numbers in the order of their use, must outlive this. `room`: bytes of memory that the
  /// set may take.
  ReadAhead(const WindowSet& windows, std::span<const std::int32_t> order, std::size_t room = available_memory() / 4 * 3);

  /// The first `taken` of the order have been used, or are about to be.
  void advance(std::int64_t taken);

  std::int64_t asked() const { return asked_; }  ///< how many of the order need not be asked for any more

 private:
  const WindowSet& windows_;
  std::span<const std::int32_t> order_;
  std::int64_t asked_ = 0;
};

}  // namespace retort
