// Max pooling over pairs (pairs-inl.h): a vector of outputs is the larger of a vector of even and one of odd elements, and the
// gradient goes back to one of the two. All other shapes go to the Eigen kernels.
#include "retort/kernels/max_pool2d.h"

#include "retort/kernels/simd/register.h"
#include "retort/kernels/simd/targets.h"
#include "retort/kernels/thread_team.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "retort/kernels/simd/max_pool2d.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "retort/kernels/simd/pairs-inl.h"

HWY_BEFORE_NAMESPACE();
namespace retort::simd {
namespace HWY_NAMESPACE {

#if HWY_TARGET == HWY_SCALAR || HWY_TARGET == HWY_EMU128
MaxPool2dKernels max_pool2d_kernels() { return {}; }
#else

constexpr std::int64_t task_size = 16384;  // input elements of one task

void forward_row(const float* x, std::int64_t ow, std::int32_t at, float* y, std::int32_t* argmax) {
  const D d;
  const hn::RebindToSigned<D> di;
  cover(ow, [&](std::int64_t j, auto) HWY_ATTR {
    V even, odd;
    hn::LoadInterleaved2(d, x + 2 * j, even, odd);
    const auto second = second_wins(even, odd);
    hn::StoreU(hn::IfThenElse(second, odd, even), d, y + j);
    if (argmax == nullptr) return;
    const auto index = hn::Iota(di, 0);
    const auto position = hn::Add(hn::Add(index, index), hn::Set(di, at + static_cast<std::int32_t>(2 * j)));
    hn::StoreU(hn::IfThenElse(hn::RebindMask(di, second), hn::Add(position, hn::Set(di, 1)), position), di, argmax + j);
  });
}

void backward_row(const std::int32_t* argmax, const float* dy, std::int64_t ow, std::int32_t at, float* dx) {
  const D d;
  const hn::RebindToSigned<D> di;
  cover(ow, [&](std::int64_t j, auto) HWY_ATTR {
    const auto index = hn::Iota(di, 0);
    const auto position = hn::Add(hn::Add(index, index), hn::Set(di, at + static_cast<std::int32_t>(2 * j)));
    const auto first = hn::RebindMask(d, hn::Eq(hn::LoadU(di, argmax + j), position));
    const V g = hn::LoadU(d, dy + j);
    hn::StoreInterleaved2(hn::IfThenElseZero(first, g), hn::IfThenZeroElse(first, g), d, dx + 2 * j);
  });
}

void forward(Stream& stream, const MaxPool2dShape& z, const float* x, float* y, std::int32_t* argmax) {
  if (!pools_pairs(z)) return fallback<MaxPool2dKernels>().forward(stream, z, x, y, argmax);
  const std::int64_t in = z.h * z.w, oh = z.oh(), ow = z.ow();
  stream.threads().for_ranges(z.n * z.c, std::max<std::int64_t>(1, task_size / in), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin * oh; row < end * oh; ++row) {
      const std::int64_t at = row % oh * z.stride_h * z.w;
      forward_row(x + row / oh * in + at, ow, static_cast<std::int32_t>(at), y + row * ow,
                  argmax != nullptr ? argmax + row * ow : nullptr);
    }
  });
}

void backward_plane(const MaxPool2dShape& z, const std::int32_t* argmax, const float* dy, float* dx) {
  const std::int64_t oh = z.oh(), ow = z.ow();
  for (std::int64_t h = 0; h < z.h; ++h) {
    float* row = dx + h * z.w;
    const std::int64_t o = h / z.stride_h;
    if (h % z.stride_h != 0 || o >= oh) {
      std::fill(row, row + z.w, 0.0f);
      continue;
    }
    backward_row(argmax + o * ow, dy + o * ow, ow, static_cast<std::int32_t>(h * z.w), row);
    std::fill(row + 2 * ow, row + z.w, 0.0f);
  }
}

void backward(Stream& stream, const MaxPool2dShape& z, const std::int32_t* argmax, const float* dy, float* dx) {
  if (!pools_pairs(z)) return fallback<MaxPool2dKernels>().backward(stream, z, argmax, dy, dx);
  const std::int64_t in = z.h * z.w, out = z.oh() * z.ow();
  stream.threads().for_ranges(z.n * z.c, std::max<std::int64_t>(1, task_size / in), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t p = begin; p < end; ++p) backward_plane(z, argmax + p * out, dy + p * out, dx + p * in);
  });
}

MaxPool2dKernels max_pool2d_kernels() { return {forward, backward}; }

#endif

}  // namespace HWY_NAMESPACE
}  // namespace retort::simd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace retort::simd {

HWY_EXPORT(max_pool2d_kernels);
void register_max_pool2d() { add(HWY_DYNAMIC_DISPATCH(max_pool2d_kernels)()); }

}  // namespace retort::simd
#endif
