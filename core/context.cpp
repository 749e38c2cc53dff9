#include "retort/core/context.h"

#include "retort/kernels/registry.h"

#include <algorithm>
#include <cstdio>
#include <exception>

namespace retort {

namespace {

// Kernels are looked up by the first context on, so the registry must be full before its stream exists.
Device with_kernels(Device device) {
  register_kernels();
  return device;
}

}  // namespace

Context::Context(Device device, int threads) : main_(Stream(with_kernels(device), threads)) {}

Context::~Context() {
  one_.reset();
  std::size_t in_use = main_.bytes_in_use();
  for (const auto* lanes : {&borrowed_, &spare_})
    for (const auto& lane : *lanes) in_use += lane->bytes_in_use();
  if (in_use == 0) return;
  fmt::print(stderr, "retort: a Context ended while its tensors still hold {} bytes; declare the Context first\n", in_use);
  std::terminate();
}

Lane* Context::side_lane() {
  if (device() == Device::cpu || lane_->is_side) return nullptr;
  if (!lane_->side) {
    lane_->side = std::make_unique<Lane>(lane_->stream.beside());
    lane_->side->is_side = true;
  }
  return lane_->side.get();
}

Lane& Context::borrow_lane() {
  borrowed_.reserve(borrowed_.size() + 1);
  spare_.reserve(spare_.size() + borrowed_.size() + 1);  // giving back must not fail
  if (spare_.empty()) {
    borrowed_.push_back(std::make_unique<Lane>(main_.stream.sibling()));
  } else {
    borrowed_.push_back(std::move(spare_.back()));
    spare_.pop_back();
  }
  return *borrowed_.back();
}

void Context::give_back(Lane& lane) noexcept {
  const auto at = std::ranges::find(borrowed_, &lane, &std::unique_ptr<Lane>::get);
  if (at == borrowed_.end()) return;
  lane.trim();
  spare_.push_back(std::move(*at));
  borrowed_.erase(at);
}

}  // namespace retort
