// What most kernels share: sums over a warp and a block, in an order that never changes, and the "last block" of a grid.
#pragma once

#include "retort/kernels/cuda/launch.cuh"

namespace retort {
namespace {

constexpr unsigned full_warp = 0xffffffffu;

/// The sum over the warp, in every lane.
__device__ inline float warp_sum(float value) {
  for (int distance = 16; distance > 0; distance /= 2) value += __shfl_xor_sync(full_warp, value, distance);
  return value;
}

__device__ inline float warp_max(float value) {
  for (int distance = 16; distance > 0; distance /= 2) value = fmaxf(value, __shfl_xor_sync(full_warp, value, distance));
  return value;
}

/// The sum over a one-dimensional block of whole warps, in every thread. `shared`: one float a warp. May be called again at once
/// with other shared memory, or with the same after a barrier.
__device__ inline float block_sum(float value, float* shared) {
  value = warp_sum(value);
  if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = value;
  __syncthreads();
  const unsigned lane = threadIdx.x % 32, warps = blockDim.x / 32;
  return warp_sum(lane < warps ? shared[lane] : 0.0f);
}

/// True in every thread of the block that is the last of `blocks` to come here; what the other blocks wrote before is then
/// visible. The counter is zero again afterwards. Every thread of the block must call it. One thread fences for all, since fences
/// are cumulative: what the first barrier showed it of its block's writes is visible to whoever sees its count, and what it sees
/// of the other blocks' writes after the last count the second barrier shows to its block.
__device__ inline bool last_block(std::int32_t* counter, int blocks) {
  __shared__ int is_last;
  __syncthreads();
  if (threadIdx.x == 0 && threadIdx.y == 0) {
    __threadfence();
    is_last = atomicAdd(counter, 1) == blocks - 1;
    if (is_last) {
      *counter = 0;
      __threadfence();
    }
  }
  __syncthreads();
  return is_last;
}

/// Index of this thread in its block, and how many there are.
__device__ inline int thread_of_block() {
  return static_cast<int>((threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x);
}
__device__ inline int threads_of_block() { return static_cast<int>(blockDim.x * blockDim.y * blockDim.z); }

/// Index of this thread in a one-dimensional grid.
__device__ inline std::int64_t global_thread() { return static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; }

/// Walks one channel of an (n, channels, spatial) array, this thread's share of it, with one division at the start:
///   for (ChannelWalk at(n, channels, spatial, channel); at.inside(); at.next()) ... x[at.index] ...
class ChannelWalk {
 public:
  __device__ ChannelWalk(std::int64_t n, std::int64_t channels, std::int64_t spatial, std::int64_t channel)
      : n_(n), spatial_(spatial), sample_stride_(channels * spatial) {
    const auto width = static_cast<std::uint32_t>(spatial < 0xffffffffll ? spatial : 0xffffffffll);
    sample_ = threadIdx.x / width;
    inner_ = threadIdx.x % width;
    step_samples_ = blockDim.x / width;
    step_inner_ = blockDim.x % width;
    index = sample_ * sample_stride_ + channel * spatial + inner_;
  }

  __device__ bool inside() const { return sample_ < n_; }

  __device__ void next() {
    sample_ += step_samples_;
    inner_ += step_inner_;
    index += step_samples_ * sample_stride_ + step_inner_;
    if (inner_ >= spatial_) {
      inner_ -= spatial_;
      ++sample_;
      index += sample_stride_ - spatial_;
    }
  }

  /// Where `index` is: (sample, channel, inner).
  __device__ std::int64_t sample() const { return sample_; }
  __device__ std::int64_t inner() const { return inner_; }

  std::int64_t index;

 private:
  std::int64_t n_, spatial_, sample_stride_, sample_, inner_, step_samples_, step_inner_;
};

/// For each element of this thread's share of a channel, in order: use(index, load(walk)). The loads of four elements are on
/// their way together: none waits for what `use` writes, and past the end the last element is loaded again.
template <class Load, class Use>
__device__ inline void for_each_of(ChannelWalk at, const Load& load, const Use& use) {
  constexpr int together = 4;
  while (at.inside()) {
    decltype(load(at)) values[together];
    std::int64_t indices[together];
    ChannelWalk last = at;
#pragma unroll
    for (int i = 0; i < together; ++i) {
      indices[i] = at.inside() ? at.index : -1;
      if (at.inside()) last = at;
      values[i] = load(last);
      at.next();
    }
#pragma unroll
    for (int i = 0; i < together; ++i)
      if (indices[i] >= 0) use(indices[i], values[i]);
  }
}

/// The sum of value(row, column) over first <= row < end, in the threads of threadIdx.y 0 of a block of (32, 8); each takes every
/// eighth row from its `first` on.
template <class Value>
__device__ inline float column_total(std::int64_t column, std::int64_t columns, std::int64_t first, std::int64_t end,
                                     const Value& value, float (&sums)[8][33]) {
  constexpr int together = 8;  // loads on their way
  float sum = 0.0f;
  if (column < columns)
    for (std::int64_t row = first; row < end; row += 8 * together) {
      float values[together];
#pragma unroll
      for (int i = 0; i < together; ++i) values[i] = row + 8 * i < end ? value(row + 8 * i, column) : 0.0f;
#pragma unroll
      for (int i = 0; i < together; ++i) sum += values[i];
    }
  sums[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y == 0)
    for (int i = 1; i < 8; ++i) sum += sums[i][threadIdx.x];
  return sum;
}

/// Adds up `rows` rows of `columns` values, value(row, column), in blocks of `rows_per_block` rows (blockIdx.y), into
/// out[blockIdx.y * columns + column]. 32 columns a block in threadIdx.x, 8 rows at a time in threadIdx.y.
template <class Value>
__global__ void __launch_bounds__(256) column_sum_kernel(std::int64_t rows, std::int64_t columns, std::int64_t rows_per_block,
                                                         Value value, bool accumulate, float* out) {
  __shared__ float sums[8][33];
  const std::int64_t column = static_cast<std::int64_t>(blockIdx.x) * 32 + threadIdx.x;
  const std::int64_t begin = blockIdx.y * rows_per_block, end = begin + rows_per_block < rows ? begin + rows_per_block : rows;
  const float sum = column_total(column, columns, begin + threadIdx.y, end, value, sums);
  if (threadIdx.y != 0 || column >= columns) return;
  float* to = out + blockIdx.y * columns + column;
  *to = accumulate ? *to + sum : sum;
}

/// Rows of a plain (rows, columns) array.
struct RowsOf {
  const float* x;
  std::int64_t columns;
  __device__ float operator()(std::int64_t row, std::int64_t column) const { return x[row * columns + column]; }
};

constexpr std::int64_t column_sum_rows = 512;  // a block

/// Floats that column_sum needs for the sums of its blocks.
inline std::int64_t column_sum_workspace(std::int64_t rows, std::int64_t columns) {
  return rows > column_sum_rows ? ceil_div(rows, column_sum_rows) * columns : 0;
}

/// out[column] (+)= sum over rows of value(row, column). workspace: column_sum_workspace() floats, or null for the stream's
/// scratch.
template <class Value>
void column_sum(Stream& stream, const char* name, std::int64_t rows, std::int64_t columns, const Value& value, bool accumulate,
                float* out, float* workspace = nullptr) {
  const std::int64_t parts = ceil_div(rows, column_sum_rows);
  const dim3 block(32, 8);
  const auto over_columns = count(ceil_div(columns, 32));
  if (parts <= 1) {
    launch({stream, name, dim3(over_columns), block}, column_sum_kernel<Value>, rows, columns, column_sum_rows, value, accumulate,
           out);
    return;
  }
  float* partial = workspace;
  if (partial == nullptr)
    partial = static_cast<float*>(stream.scratch(static_cast<std::size_t>(column_sum_workspace(rows, columns)) * sizeof(float)));
  launch({stream, name, dim3(over_columns, count(parts)), block}, column_sum_kernel<Value>, rows, columns, column_sum_rows, value,
         false, partial);
  launch({stream, name, dim3(over_columns), block}, column_sum_kernel<RowsOf>, parts, columns, parts, RowsOf{partial, columns},
         accumulate, out);
}

}  // namespace
}  // namespace retort
