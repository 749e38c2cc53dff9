// Counting predictions on the device. Contract: kernels/confusion.h. One warp a row finds the first maximum; integer atomics add
// up, and integers add to the same sum in any order.
#include "retort/kernels/confusion.h"

#include "retort/kernels/cuda/all.h"
#include "retort/kernels/cuda/block.cuh"
#include "retort/kernels/registry.h"

namespace retort {
namespace {

constexpr int threads = 128;

/// logits: (rows, columns), labels: (rows), counts: (columns, columns).
__global__ void __launch_bounds__(threads)
    add_kernel(std::int64_t rows, int columns, const float* logits, const std::int32_t* labels, std::int32_t* counts) {
  const std::int64_t row = global_thread() / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  if (row >= rows) return;
  float largest = -INFINITY;
  int best = columns, has_nan = 0;
  for (int j = lane; j < columns; j += 32) {
    const float value = logits[row * columns + j];
    if (value != value) has_nan = 1;
    if (value > largest || best == columns) largest = value, best = j;
  }
  for (int distance = 16; distance > 0; distance /= 2) {
    const float other = __shfl_xor_sync(full_warp, largest, distance);
    const int other_best = __shfl_xor_sync(full_warp, best, distance);
    if (other > largest || (other == largest && other_best < best)) largest = other, best = other_best;
  }
  if (__any_sync(full_warp, has_nan)) best = 0;
  const std::int32_t label = labels[row];
  if (lane == 0 && label >= 0 && label < columns) atomicAdd(&counts[label * columns + best], 1);
}

void add(Stream& stream, std::int64_t rows, std::int64_t columns, const float* logits, const std::int32_t* labels,
         std::int32_t* counts) {
  if (rows == 0) return;
  launch({stream, "confusion.add", dim3(count(ceil_div(rows * 32, threads))), dim3(threads)}, add_kernel, rows, columns, logits,
         labels, counts);
}

}  // namespace

template <>
void register_confusion<this_device>() {
  KernelTable<ConfusionKernels>::instance().add(this_device, "cuda", 10, {add});
}

}  // namespace retort
