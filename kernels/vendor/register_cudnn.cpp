#include "retort/kernels/backends.h"
#include "retort/kernels/vendor/all.h"
#include "retort/kernels/vendor/cudnn.h"

namespace retort {

std::string cudnn_describe() {
  const std::size_t v = cudnnGetVersion();
  return fmt::format("cuDNN {}.{}.{}", v / 10000, v / 100 % 100, v % 100);
}

void register_cudnn_kernels() {
  vendor::register_conv2d_cudnn();
  vendor::register_batch_norm_cudnn();
  vendor::register_softmax_cudnn();
  vendor::register_max_pool2d_cudnn();
}

}  // namespace retort
