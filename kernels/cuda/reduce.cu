// A whole tensor to one number: sum x, mean x, sum |x|. Contract: kernels/reduce.h.
// n reads and additions, one write. One launch: each block adds up a slice, the last block to finish adds up the slices' sums in
// their order. The slices depend on n alone, so the same bits come out every time and on every GPU.
#include "retort/kernels/reduce.h"

#include "retort/kernels/cuda/all.h"
#include "retort/kernels/cuda/block.cuh"
#include "retort/kernels/cuda/map.cuh"
#include "retort/kernels/registry.h"

namespace retort {
namespace {

constexpr int threads = 256;
constexpr std::int64_t least_slice = 4096;  // 16 elements a thread
constexpr std::int64_t most_slices = 1024;

/// x: (n), in gridDim.x slices of `slice` elements; partial: (gridDim.x); y: (1).
template <bool absolute>
__global__ void __launch_bounds__(threads) reduce_kernel(std::int64_t n, std::int64_t slice, float factor, const float* x,
                                                         float* partial, std::int32_t* counter, float* y) {
  __shared__ float warps[threads / 32], final_warps[threads / 32];
  const std::int64_t begin = blockIdx.x * slice, end = begin + slice < n ? begin + slice : n;
  float sum = 0.0f;
  for (std::int64_t i = begin + threadIdx.x; i < end; i += threads) sum += absolute ? fabsf(x[i]) : x[i];
  sum = block_sum(sum, warps);
  if (gridDim.x == 1) {
    if (threadIdx.x == 0) *y = sum * factor;
    return;
  }
  if (threadIdx.x == 0) partial[blockIdx.x] = sum;
  if (!last_block(counter, static_cast<int>(gridDim.x))) return;
  float total = 0.0f;
  for (unsigned i = threadIdx.x; i < gridDim.x; i += threads) total += partial[i];
  total = block_sum(total, final_warps);
  if (threadIdx.x == 0) *y = total * factor;
}

void reduce_forward(Stream& stream, Reduction f, std::int64_t n, const float* x, float* y) {
  const std::int64_t slice = std::max(least_slice, ceil_div(ceil_div(n, most_slices), threads) * threads);
  const std::int64_t blocks = std::max<std::int64_t>(1, ceil_div(n, slice));
  auto* partial = blocks > 1 ? static_cast<float*>(stream.scratch(static_cast<std::size_t>(blocks) * sizeof(float))) : nullptr;
  const float factor = f == Reduction::mean ? 1.0f / static_cast<float>(n) : 1.0f;
  launch({stream, "reduce.forward", dim3(count(blocks)), dim3(threads)},
         f == Reduction::l1 ? reduce_kernel<true> : reduce_kernel<false>, n, slice, factor, x, partial, stream.counters(), y);
}

struct Spread {
  const float* dy;  // (1)
  float factor;
  __device__ float operator()(const MapValues&) const { return factor * *dy; }
};

struct Sign {
  const float* dy;  // (1)
  __device__ float operator()(const MapValues& v) const { return v.a > 0.0f ? *dy : v.a < 0.0f ? -*dy : 0.0f; }
};

void reduce_backward(Stream& stream, Reduction f, std::int64_t n, const float* x, const float* dy, float* dx) {
  if (f == Reduction::l1)
    map(stream, "reduce.backward", n, {x}, dx, Sign{dy});
  else
    map(stream, "reduce.backward", n, {}, dx, Spread{dy, f == Reduction::mean ? 1.0f / static_cast<float>(n) : 1.0f});
}

}  // namespace

template <>
void register_reduce<this_device>() {
  KernelTable<ReduceKernels>::instance().add(this_device, "cuda", 10, {reduce_forward, reduce_backward});
}

}  // namespace retort
