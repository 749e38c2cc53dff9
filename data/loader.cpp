#include "retort/data/loader.h"

#include "retort/core/error.h"
#include "retort/core/random.h"

#include <algorithm>
#include <utility>

namespace retort {

Loader::Loader(std::vector<std::int32_t> indices, std::int32_t batch, bool shuffle, std::uint64_t seed)
    : indices_(std::move(indices)), order_(indices_), batch_(batch), shuffle_(shuffle), seed_(seed) {
  check(batch >= 1, "loader: batch of {}, at least 1 is needed", batch);
  check(!indices_.empty(), "loader: no windows");
  start_epoch(0);
}

void Loader::start_epoch(std::int64_t epoch) {
  cursor_ = {epoch, 0};
  // Always from the given order, never from the last epoch's: that is what makes an epoch reproducible on its own.
  std::ranges::copy(indices_, order_.begin());
  if (!shuffle_) return;
  constexpr std::uint64_t loader_stream = 1ull << 32;  // apart from the streams of the splits
  Random random(seed_, loader_stream + static_cast<std::uint64_t>(epoch));
  retort::shuffle(std::span(order_), random);
}

std::span<const std::int32_t> Loader::next() {
  const std::int64_t count = std::min<std::int64_t>(batch_, size() - cursor_.position);
  const auto batch =
      std::span<const std::int32_t>(order_).subspan(static_cast<std::size_t>(cursor_.position), static_cast<std::size_t>(count));
  cursor_.position += count;
  return batch;
}

void Loader::restore(const Cursor& cursor) {
  check<InputError>(
      cursor.epoch >= 0 && cursor.position >= 0 && cursor.position <= size() &&
          (cursor.position % batch_ == 0 || cursor.position == size()),
      "loader: position {} of epoch {} does not fit {} windows in batches of {}; was the data or the batch size changed?",
      cursor.position, cursor.epoch, size(), batch_);
  start_epoch(cursor.epoch);
  cursor_.position = cursor.position;
}

}  // namespace retort
