// Windows of a mapped file, read from the disk before their turn.
#pragma once

#include "retort/data/windowing.h"

namespace retort {

/// Training takes windows in shuffled order, and one that the system has not in memory yet would make a step wait for the disk.
/// This asks for those to come while the present ones are worked on. Where all of the set is in memory it does nothing.
class ReadAhead {
 public:
  static constexpr std::int64_t distance = 4096;  ///< windows asked for ahead: 64 batches of 64, 5 MB

  /// `windows` and `order`, the windows' numbers in the order of their use, must outlive this.
  ReadAhead(const WindowSet& windows, std::span<const std::int32_t> order);

  /// The first `taken` of the order have been used, or are about to be.
  void advance(std::int64_t taken);

  std::int64_t asked() const { return asked_; }  ///< how many of the order need not be asked for any more

 private:
  const WindowSet& windows_;
  std::span<const std::int32_t> order_;
  std::int64_t asked_;
};

}  // namespace retort
