// Max pooling. Contract: kernels/max_pool2d.h. One output a thread; backward takes one input a thread and gathers from the
// windows that hold it, so overlapping windows need no atomics and dx is written once.
#include "retort/kernels/max_pool2d.h"

#include "retort/kernels/cuda/all.h"
#include "retort/kernels/cuda/block.cuh"
#include "retort/kernels/registry.h"

namespace retort {
namespace {

constexpr int threads = 256;

template <class Index>
struct Shape {
  Index planes, h, w, kernel_h, kernel_w, stride_h, stride_w, oh, ow;
};

template <class Index>
Shape<Index> shape_of(const MaxPool2dShape& s) {
  const auto as = [](std::int64_t i) { return static_cast<Index>(i); };
  return {as(s.n * s.c),  as(s.h),        as(s.w),    as(s.kernel_h), as(s.kernel_w),
          as(s.stride_h), as(s.stride_w), as(s.oh()), as(s.ow())};
}

template <class Index>
__global__ void __launch_bounds__(threads) forward_kernel(const Shape<Index> s, const float* x, float* y, std::int32_t* argmax) {
  const auto at = static_cast<Index>(global_thread());
  if (at >= s.planes * s.oh * s.ow) return;
  const Index ow = at % s.ow, oh = at / s.ow % s.oh, plane = at / (s.ow * s.oh);
  const float* from = x + plane * s.h * s.w;
  Index best = oh * s.stride_h * s.w + ow * s.stride_w;
  float largest = from[best];
  for (Index r = 0; r < s.kernel_h; ++r)
    for (Index c = 0; c < s.kernel_w; ++c) {
      const Index i = (oh * s.stride_h + r) * s.w + ow * s.stride_w + c;
      const float value = from[i];
      const bool first_nan = value != value && largest == largest;
      if (value > largest || first_nan) largest = value, best = i;
    }
  y[at] = largest;
  if (argmax != nullptr) argmax[at] = static_cast<std::int32_t>(best);
}

template <class Index>
__global__ void __launch_bounds__(threads)
    backward_kernel(const Shape<Index> s, const std::int32_t* argmax, const float* dy, float* dx) {
  const auto at = static_cast<Index>(global_thread());
  if (at >= s.planes * s.h * s.w) return;
  const Index w = at % s.w, h = at / s.w % s.h, plane = at / (s.w * s.h);
  // Windows oh with oh * stride <= h < oh * stride + kernel.
  const Index first_h = h < s.kernel_h ? 0 : (h - s.kernel_h) / s.stride_h + 1;
  const Index first_w = w < s.kernel_w ? 0 : (w - s.kernel_w) / s.stride_w + 1;
  float sum = 0.0f;
  for (Index oh = first_h; oh < s.oh && oh * s.stride_h <= h; ++oh)
    for (Index ow = first_w; ow < s.ow && ow * s.stride_w <= w; ++ow) {
      const Index i = (plane * s.oh + oh) * s.ow + ow;
      if (argmax[i] == static_cast<std::int32_t>(h * s.w + w)) sum += dy[i];
    }
  dx[at] = sum;
}

void forward(Stream& stream, const MaxPool2dShape& s, const float* x, float* y, std::int32_t* argmax) {
  const std::int64_t n = s.n * s.c * s.oh() * s.ow();
  if (n == 0) return;
  with_index(std::max(n, s.n * s.c * s.h * s.w), [&](auto index) {
    using Index = decltype(index);
    launch({stream, "max_pool2d.forward", dim3(count(ceil_div(n, threads))), dim3(threads)}, forward_kernel<Index>,
           shape_of<Index>(s), x, y, argmax);
  });
}

void backward(Stream& stream, const MaxPool2dShape& s, const std::int32_t* argmax, const float* dy, float* dx) {
  const std::int64_t n = s.n * s.c * s.h * s.w;
  if (n == 0) return;
  with_index(std::max(n, s.n * s.c * s.oh() * s.ow()), [&](auto index) {
    using Index = decltype(index);
    launch({stream, "max_pool2d.backward", dim3(count(ceil_div(n, threads))), dim3(threads)}, backward_kernel<Index>,
           shape_of<Index>(s), argmax, dy, dx);
  });
}

}  // namespace

template <>
void register_max_pool2d<this_device>() {
  KernelTable<MaxPool2dKernels>::instance().add(this_device, "cuda", 10, {forward, backward});
}

}  // namespace retort
