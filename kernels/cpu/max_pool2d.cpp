// Max pooling, a task being some (H, W) planes.
#include "retort/kernels/max_pool2d.h"

#include "retort/kernels/cpu/eigen.h"
#include "retort/kernels/cpu/max_pool_plane.h"
#include "retort/kernels/cpu/register.h"
#include "retort/kernels/thread_team.h"

#include <algorithm>

namespace retort::eigen {
namespace {

void forward(Stream& stream, const MaxPool2dShape& z, const float* x, float* y, std::int32_t* argmax) {
  const std::int64_t in = z.h * z.w, out = z.oh() * z.ow();
  const auto plane = argmax != nullptr ? plane_function<true>(z) : plane_function<false>(z);
  stream.threads().for_ranges(z.n * z.c, rows_per_task(in), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t p = begin; p < end; ++p) plane(z, x + p * in, y + p * out, argmax != nullptr ? argmax + p * out : nullptr);
  });
}

void backward(Stream& stream, const MaxPool2dShape& z, const std::int32_t* argmax, const float* dy, float* dx) {
  const std::int64_t in = z.h * z.w, out = z.oh() * z.ow();
  stream.threads().for_ranges(z.n * z.c, rows_per_task(in), [&](std::int64_t begin, std::int64_t end) {
    std::fill(dx + begin * in, dx + end * in, 0.0f);
    for (std::int64_t p = begin; p < end; ++p)
      for (std::int64_t i = p * out; i < (p + 1) * out; ++i) dx[p * in + argmax[i]] += dy[i];
  });
}

}  // namespace

void register_max_pool2d() { add(MaxPool2dKernels{forward, backward}); }

}  // namespace retort::eigen
