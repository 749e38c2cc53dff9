#include "retort/data/read_ahead.h"

#include "retort/core/file.h"

#include <algorithm>

namespace retort {

ReadAhead::ReadAhead(const WindowSet& windows, std::span<const std::int32_t> order)
    : windows_(windows), order_(order), asked_(in_memory(std::as_bytes(windows.windows)) ? std::ssize(order) : 0) {}

void ReadAhead::advance(std::int64_t taken) {
  const std::int64_t end = std::min<std::int64_t>(taken + distance, std::ssize(order_));
  for (asked_ = std::max(asked_, taken); asked_ < end; ++asked_)
    read_ahead(std::as_bytes(windows_.window(order_[static_cast<std::size_t>(asked_)])));
}

}  // namespace retort
