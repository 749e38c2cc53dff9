// What the losses share: one warp reads one row of logits, and the rows' losses are added up in an order that never changes.
#pragma once

#include "retort/kernels/cuda/block.cuh"

namespace retort {
namespace {

constexpr int loss_warps = 8;
constexpr int loss_threads = loss_warps * 32;
constexpr std::int64_t most_loss_blocks = 1024;

/// log softmax(scale * z) = (z - largest) * scale - log_sum. The two are kept apart: their sum would round away digits of log_sum
/// when the logits are large.
struct LogSoftmax {
  float largest, log_sum, scale;
  __device__ float operator()(float z) const { return (z - largest) * scale - log_sum; }
};

/// Of one row, in every lane; scale > 0.
__device__ inline LogSoftmax row_log_softmax(std::int64_t columns, const float* z, float scale, int lane) {
  float largest = -INFINITY, sum = 0.0f;
  for (std::int64_t j = lane; j < columns; j += 32) largest = fmaxf(largest, z[j]);
  largest = warp_max(largest);
  for (std::int64_t j = lane; j < columns; j += 32) sum += expf((z[j] - largest) * scale);
  return {largest, logf(warp_sum(sum)), scale};
}

/// NaN when the label is out of range.
__device__ inline float row_cross_entropy(std::int64_t columns, const float* z, const LogSoftmax& log_softmax,
                                          std::int32_t label) {
  return label >= 0 && label < columns ? -log_softmax(z[label]) : NAN;
}

/// What the last block needs to add up the blocks' sums.
struct LossSums {
  float* partial;  // (gridDim.x, slots); not used by a single block
  std::int32_t* counter;
};

/// Adds up `mine` (the same in all lanes of a warp) over all warps of the grid. True in the threads of the one block that got the
/// sums; then total[slot] is in shared memory. Every thread calls it once.
template <int slots>
__device__ bool add_up(const LossSums& sums, const float (&mine)[slots], float (&total)[slots]) {
  static_assert(slots <= loss_warps);
  __shared__ float of_warp[slots][loss_warps];
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  if (lane == 0)
    for (int slot = 0; slot < slots; ++slot) of_warp[slot][warp] = mine[slot];
  __syncthreads();
  float sum = 0.0f;
  if (warp < slots) sum = warp_sum(lane < loss_warps ? of_warp[warp][lane] : 0.0f);
  if (gridDim.x > 1) {
    if (warp < slots && lane == 0) sums.partial[blockIdx.x * slots + warp] = sum;
    if (!last_block(sums.counter, static_cast<int>(gridDim.x))) return false;
    sum = 0.0f;
    if (warp < slots) {
      for (unsigned block = lane; block < gridDim.x; block += 32) sum += sums.partial[block * slots + warp];
      sum = warp_sum(sum);
    }
  }
  if (warp < slots && lane == 0) total[warp] = sum;
  __syncthreads();
  return true;
}

/// Blocks for `jobs` rows, and the memory to add up their losses.
inline unsigned loss_blocks(std::int64_t jobs) {
  return count(std::clamp<std::int64_t>(ceil_div(jobs, loss_warps), 1, most_loss_blocks));
}
inline LossSums loss_sums(Stream& stream, unsigned blocks, int slots) {
  if (blocks == 1) return {nullptr, nullptr};
  return {static_cast<float*>(stream.scratch(blocks * static_cast<std::size_t>(slots) * sizeof(float))), stream.counters()};
}

}  // namespace
}  // namespace retort
