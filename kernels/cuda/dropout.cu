// Dropout with a Philox mask, the CPU's bit for bit. Contract: kernels/dropout.h. A thread draws one Philox block, four elements.
#include "retort/kernels/dropout.h"

#include "retort/kernels/cuda/all.h"
#include "retort/kernels/cuda/block.cuh"
#include "retort/kernels/registry.h"

namespace retort {
namespace {

constexpr int threads = 256;

/// x null: y is the mask itself. `vector`: x and y are 16-byte aligned. y may be x.
__global__ void __launch_bounds__(threads)
    dropout_kernel(std::int64_t n, float p, float scale, const PhiloxKey key, bool vector, const float* x, float* y) {
  const std::int64_t block = global_thread(), first = block * 4;
  if (first >= n) return;
  float mask[4];
  philox_uniform4(key, static_cast<std::uint64_t>(block), mask);
  for (int j = 0; j < 4; ++j) mask[j] = mask[j] >= p ? scale : 0.0f;
  if (vector && first + 3 < n) {
    float4 v = x == nullptr ? make_float4(1.0f, 1.0f, 1.0f, 1.0f) : *reinterpret_cast<const float4*>(x + first);
    v.x *= mask[0], v.y *= mask[1], v.z *= mask[2], v.w *= mask[3];
    *reinterpret_cast<float4*>(y + first) = v;
    return;
  }
  for (int j = 0; j < 4 && first + j < n; ++j) y[first + j] = x == nullptr ? mask[j] : x[first + j] * mask[j];
}

void apply(Stream& stream, std::int64_t n, float p, const PhiloxKey& key, const float* x, float* y) {
  if (n == 0) return;
  launch({stream, "dropout.apply", dim3(count(ceil_div(n, threads * 4))), dim3(threads)}, dropout_kernel, n, p, 1.0f / (1.0f - p),
         key, aligned16(x) && aligned16(y), x, y);
}

void mask(Stream& stream, std::int64_t n, float p, const PhiloxKey& key, float* mask) { apply(stream, n, p, key, nullptr, mask); }

}  // namespace

template <>
void register_dropout<this_device>() {
  KernelTable<DropoutKernels>::instance().add(this_device, "cuda", 10, {apply, mask});
}

}  // namespace retort
