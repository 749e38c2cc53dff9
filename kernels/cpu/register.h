// Each file of this folder fills its contracts; register.cpp calls them all.
#pragma once

#include "retort/kernels/registry.h"

namespace retort::eigen {

void register_batch();
void register_batch_norm();
void register_batch_norm_pool();
void register_confusion();
void register_conv2d();
void register_conv_block();
void register_copy();
void register_dropout();
void register_elementwise();
void register_linear();
void register_max_pool2d();
void register_normalize();
void register_optimizer();
void register_recurrent();
void register_reduce();
void register_softmax();

template <class Kernels>
void add(const Kernels& kernels) {
  KernelTable<Kernels>::instance().add(Device::cpu, "eigen", 10, kernels);
}

}  // namespace retort::eigen
