#include "retort/kernels/cpu/register.h"

#include "retort/kernels/backends.h"

namespace retort {

void register_eigen_kernels() {
  eigen::register_batch();
  eigen::register_batch_norm();
  eigen::register_batch_norm_pool();
  eigen::register_confusion();
  eigen::register_conv2d();
  eigen::register_conv_block();
  eigen::register_copy();
  eigen::register_dropout();
  eigen::register_elementwise();
  eigen::register_linear();
  eigen::register_max_pool2d();
  eigen::register_normalize();
  eigen::register_optimizer();
  eigen::register_recurrent();
  eigen::register_reduce();
  eigen::register_softmax();
}

}  // namespace retort
