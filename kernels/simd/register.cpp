#include "retort/kernels/simd/register.h"

#include "retort/kernels/backends.h"
#include "retort/kernels/simd/targets.h"

#include <hwy/targets.h>

namespace retort {

void register_simd_kernels() {
  constexpr std::int64_t scalar = HWY_SCALAR | HWY_EMU128;
  if ((hwy::SupportedTargets() & HWY_TARGETS & ~scalar) == 0) return;  // no vectors worth having: Eigen serves
  simd::register_batch_norm();
  simd::register_batch_norm_pool();
  simd::register_conv2d();
  simd::register_conv_block();
  simd::register_dropout();
  simd::register_linear();
  simd::register_max_pool2d();
  simd::register_recurrent();
}

}  // namespace retort
