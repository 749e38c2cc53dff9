#include "retort/data/read_ahead.h"

#include <algorithm>

namespace retort {

ReadAhead::ReadAhead(const WindowSet& windows, std::span<const std::int32_t> order, std::size_t room)
    : windows_(windows), order_(order) {
  const auto all = std::as_bytes(windows.windows);
  if (order.empty()) return;
  const bool present = in_memory(all);
  if (!present && all.size() > room) return;
  if (!present) read_ahead(all);
  asked_ = std::ssize(order);
}

void ReadAhead::advance(std::int64_t taken) {
  const std::int64_t end = std::min<std::int64_t>(taken + distance, std::ssize(order_));
  for (asked_ = std::max(asked_, taken); asked_ < end; ++asked_)
    read_ahead(std::as_bytes(windows_.window(order_[static_cast<std::size_t>(asked_)])));
}

}  // namespace retort
