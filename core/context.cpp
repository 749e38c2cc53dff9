#include "retort/core/context.h"

#include "retort/kernels/registry.h"

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

Context::Context(Device device, int threads) : stream_(with_kernels(device), threads), arena_(device) {}

Context::~Context() {
  if (arena_.bytes_in_use() == 0) return;
  fmt::print(stderr, "retort: a Context ended while its tensors still hold {} bytes; declare the Context first\n",
             arena_.bytes_in_use());
  std::terminate();
}

}  // namespace retort
