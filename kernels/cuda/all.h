// The registration functions of the .cu files: one a file, for the device it was compiled for.
#pragma once

#include "retort/kernels/device.h"

namespace retort {

template <Device>
void register_elementwise();
template <Device>
void register_reduce();
template <Device>
void register_linear();
template <Device>
void register_conv2d();
template <Device>
void register_conv_block();
template <Device>
void register_batch_norm();
template <Device>
void register_batch_norm_pool();
template <Device>
void register_max_pool2d();
template <Device>
void register_dropout();
template <Device>
void register_softmax();
template <Device>
void register_distill();
template <Device>
void register_normalize();
template <Device>
void register_copy();
template <Device>
void register_batch();
template <Device>
void register_confusion();
template <Device>
void register_optimizer();
template <Device>
void register_recurrent();

/// Any kernel of this build: does the GPU have code for it?
template <Device>
const void* some_kernel();

/// All of them, for Device::cuda (kernels/cuda/backend.cpp) or Device::cuda_sim (kernels/sim/backend.cpp).
template <Device device>
void register_gpu_kernels() {
  register_elementwise<device>();
  register_reduce<device>();
  register_linear<device>();
  register_conv2d<device>();
  register_conv_block<device>();
  register_batch_norm<device>();
  register_batch_norm_pool<device>();
  register_max_pool2d<device>();
  register_dropout<device>();
  register_softmax<device>();
  register_distill<device>();
  register_normalize<device>();
  register_copy<device>();
  register_batch<device>();
  register_confusion<device>();
  register_optimizer<device>();
  register_recurrent<device>();
}

}  // namespace retort
