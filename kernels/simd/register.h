// Each file of this folder fills its contracts; register.cpp calls them all.
#pragma once

#include "retort/kernels/registry.h"

namespace retort::simd {

void register_batch_norm();
void register_batch_norm_pool();
void register_conv2d();
void register_conv_block();
void register_dropout();
void register_linear();
void register_max_pool2d();
void register_recurrent();

template <class Kernels>
void add(const Kernels& kernels) {
  KernelTable<Kernels>::instance().add(Device::cpu, "simd", 20, kernels);
}

/// What an op falls back to for shapes it has no special code for.
template <class Kernels>
const Kernels& fallback() {
  return KernelTable<Kernels>::instance().get(Device::cpu, "eigen");
}

}  // namespace retort::simd
