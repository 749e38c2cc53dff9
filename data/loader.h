// Batches of window numbers, in an order that can be taken up again anywhere.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace retort {

/// Cuts the windows of one part into batches, epoch after epoch. The order of epoch e depends on (seed, e) alone, so a cursor is
/// all that a resumed run needs. After construction nothing is allocated.
class Loader {
 public:
  struct Cursor {
    std::int64_t epoch = 0;
    std::int64_t position = 0;  ///< windows already given in this epoch
    bool operator==(const Cursor&) const = default;
  };

  /// Without `shuffle` windows come in the order of `indices`. Throws Error for a batch below 1 and for no indices.
  Loader(std::vector<std::int32_t> indices, std::int32_t batch, bool shuffle, std::uint64_t seed);

  /// The next batch of this epoch, the last one possibly shorter; empty at the epoch's end, and again until start_epoch. The span
  /// stays valid until start_epoch or restore.
  std::span<const std::int32_t> next();

  void start_epoch(std::int64_t epoch);
  std::span<const std::int32_t> order() const { return order_; }  ///< all windows of this epoch, batch after batch
  Cursor cursor() const { return cursor_; }
  void restore(const Cursor& cursor);  ///< throws InputError when the cursor does not fit these windows

  std::int64_t size() const { return static_cast<std::int64_t>(indices_.size()); }
  std::int32_t batch() const { return batch_; }
  std::int64_t batches_per_epoch() const { return (size() + batch_ - 1) / batch_; }
  std::int64_t batches_given() const { return (cursor_.position + batch_ - 1) / batch_; }  ///< in this epoch

 private:
  std::vector<std::int32_t> indices_, order_;
  std::int32_t batch_;
  bool shuffle_;
  std::uint64_t seed_;
  Cursor cursor_;
};

}  // namespace retort
