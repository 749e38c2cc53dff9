// C = f(A B + bias) + beta C in single precision, tiled through shared memory.
//
// A block makes a TM_BLOCK x TN_BLOCK tile of C, a thread 4 x 4 (or 4 x 2) of it in registers: for each k it reads 4 + 4 numbers
// of shared memory for 16 multiply-adds. The next tiles of A and B are fetched into registers while the present ones are used.
// When C has too few tiles to fill a GPU (batch 64), several blocks share a tile, each summing a slice of k; the last of them to
// finish adds up the slices in their order, so the result does not depend on which one that is.
#pragma once

#include "retort/kernels/cuda/block.cuh"
#include "retort/kernels/linear.h"

namespace retort {
namespace {

struct GemmOperands {
  std::int64_t m, n, k;
  const float *a, *b;
  const float* mask = nullptr;  ///< like a: a counts as 0 where mask <= 0 (the ReLU's gradient); null: no mask
  const float* bias = nullptr;  ///< (n) or null
  bool relu = false;
  float beta = 0.0f;
  float* c = nullptr;                ///< (m, n)
  std::int64_t slice = 0;            ///< of k, a block
  float* partial = nullptr;          ///< (slices, m, n) when gridDim.z > 1
  std::int32_t* counters = nullptr;  ///< one a tile
};

__device__ inline void gemm_store(const GemmOperands& g, std::int64_t row, std::int64_t column, float sum) {
  if (g.bias != nullptr) sum += g.bias[column];
  if (g.relu) sum = sum < 0.0f ? 0.0f : sum;
  float* to = g.c + row * g.n + column;
  *to = g.beta == 0.0f ? sum : fmaf(g.beta, *to, sum);
}

/// One tile of an operand, by all threads of the block. With `k_first` consecutive threads walk along k, else along the other
/// index. element(i, k) gives the operand or 0 outside.
template <int size, int depth, int threads, bool k_first>
struct TileLoader {
  static constexpr int per_thread = size * depth / threads;
  static_assert(size * depth % threads == 0);

  __device__ static int index(int j) { return (threadIdx.x + j * threads) / (k_first ? depth : 1) % size; }
  __device__ static int k(int j) { return k_first ? (threadIdx.x + j * threads) % depth : (threadIdx.x + j * threads) / size; }
};

/// sum += the product of the thread's rows of tile_a and columns of tile_b.
template <int depth, int row_a, int row_b, int thread_m, int thread_n>
__device__ inline void multiply_tiles(const float (&tile_a)[depth][row_a], const float (&tile_b)[depth][row_b], int my_row,
                                      int my_column, float (&sum)[thread_m][thread_n]) {
#pragma unroll 8
  for (int k = 0; k < depth; ++k) {
    float a[thread_m], b[thread_n];
#pragma unroll
    for (int i = 0; i < thread_m; ++i) a[i] = tile_a[k][my_row + i];
#pragma unroll
    for (int j = 0; j < thread_n; ++j) b[j] = tile_b[k][my_column + j];
#pragma unroll
    for (int i = 0; i < thread_m; ++i)
#pragma unroll
      for (int j = 0; j < thread_n; ++j) sum[i][j] = fmaf(a[i], b[j], sum[i][j]);
  }
}

/// The last block of a tile adds up all slices' partial sums, in their order.
template <int tile_m, int tile_n>
__device__ inline void gemm_add_slices(const GemmOperands& g, std::int64_t row0, std::int64_t column0) {
  for (int at = static_cast<int>(threadIdx.x); at < tile_m * tile_n; at += static_cast<int>(blockDim.x)) {
    const std::int64_t row = row0 + at / tile_n, column = column0 + at % tile_n;
    if (row >= g.m || column >= g.n) continue;
    float total = 0.0f;
    for (unsigned z = 0; z < gridDim.z; ++z) total += g.partial[z * g.m * g.n + row * g.n + column];
    gemm_store(g, row, column, total);
  }
}

/// transpose_a: a is (k, m), else (m, k); transpose_b: b is (n, k), else (k, n). Grid: tiles of n, tiles of m, slices of k.
template <int tile_m, int tile_n, int depth, int thread_m, int thread_n, bool transpose_a, bool transpose_b>
__global__ void __launch_bounds__(tile_m / thread_m * (tile_n / thread_n)) gemm_kernel(const GemmOperands g) {
  constexpr int threads = tile_m / thread_m * (tile_n / thread_n);
  using LoadA = TileLoader<tile_m, depth, threads, !transpose_a>;
  using LoadB = TileLoader<tile_n, depth, threads, transpose_b>;
  __shared__ __align__(16) float tile_a[depth][tile_m + 4];
  __shared__ __align__(16) float tile_b[depth][tile_n + 4];

  const std::int64_t row0 = static_cast<std::int64_t>(blockIdx.y) * tile_m,
                     column0 = static_cast<std::int64_t>(blockIdx.x) * tile_n;
  const std::int64_t k_begin = blockIdx.z * g.slice, k_end = k_begin + g.slice < g.k ? k_begin + g.slice : g.k;
  const int my_row = threadIdx.x / (tile_n / thread_n) * thread_m, my_column = threadIdx.x % (tile_n / thread_n) * thread_n;

  float next_a[LoadA::per_thread], next_b[LoadB::per_thread];
  const auto fetch = [&](std::int64_t k0) {
#pragma unroll
    for (int j = 0; j < LoadA::per_thread; ++j) {
      const std::int64_t i = row0 + LoadA::index(j), k = k0 + LoadA::k(j);
      const std::int64_t at = transpose_a ? k * g.m + i : i * g.k + k;
      float value = i < g.m && k < k_end ? g.a[at] : 0.0f;
      if (g.mask != nullptr && i < g.m && k < k_end && !(g.mask[at] > 0.0f)) value = 0.0f;
      next_a[j] = value;
    }
#pragma unroll
    for (int j = 0; j < LoadB::per_thread; ++j) {
      const std::int64_t i = column0 + LoadB::index(j), k = k0 + LoadB::k(j);
      next_b[j] = i < g.n && k < k_end ? g.b[transpose_b ? i * g.k + k : k * g.n + i] : 0.0f;
    }
  };

  float sum[thread_m][thread_n] = {};
  fetch(k_begin);
  for (std::int64_t k0 = k_begin; k0 < k_end; k0 += depth) {
#pragma unroll
    for (int j = 0; j < LoadA::per_thread; ++j) tile_a[LoadA::k(j)][LoadA::index(j)] = next_a[j];
#pragma unroll
    for (int j = 0; j < LoadB::per_thread; ++j) tile_b[LoadB::k(j)][LoadB::index(j)] = next_b[j];
    __syncthreads();
    if (k0 + depth < k_end) fetch(k0 + depth);
    multiply_tiles(tile_a, tile_b, my_row, my_column, sum);
    __syncthreads();
  }

  const bool sliced = gridDim.z > 1;
  float* mine = g.partial + blockIdx.z * g.m * g.n;
#pragma unroll
  for (int i = 0; i < thread_m; ++i)
#pragma unroll
    for (int j = 0; j < thread_n; ++j) {
      const std::int64_t row = row0 + my_row + i, column = column0 + my_column + j;
      if (row >= g.m || column >= g.n) continue;
      if (sliced)
        mine[row * g.n + column] = sum[i][j];
      else
        gemm_store(g, row, column, sum[i][j]);
    }
  if (!sliced || !last_block(g.counters + blockIdx.y * gridDim.x + blockIdx.x, static_cast<int>(gridDim.z))) return;
  gemm_add_slices<tile_m, tile_n>(g, row0, column0);
}

template <int tile_m, int tile_n, int depth, int thread_m, int thread_n>
void launch_gemm(Stream& stream, const char* name, bool transpose_a, bool transpose_b, GemmOperands g) {
  constexpr int threads = tile_m / thread_m * (tile_n / thread_n);
  // Two for each of an H100's 132 multiprocessors; a constant, so that every GPU adds in the same order.
  constexpr std::int64_t enough_blocks = 264;
  const std::int64_t tiles_m = ceil_div(g.m, tile_m), tiles_n = ceil_div(g.n, tile_n), tiles = tiles_m * tiles_n;
  std::int64_t slices = 1;
  if (tiles < enough_blocks && tiles <= Stream::counter_count)
    slices = std::clamp<std::int64_t>(g.k / (4 * depth), 1, ceil_div(enough_blocks, tiles));
  g.slice = ceil_div(ceil_div(g.k, slices), depth) * depth;
  slices = std::max<std::int64_t>(1, ceil_div(g.k, std::max<std::int64_t>(g.slice, 1)));
  if (slices > 1) {
    g.partial = static_cast<float*>(stream.scratch(static_cast<std::size_t>(slices * g.m * g.n) * sizeof(float)));
    g.counters = stream.counters();
  }
  const LaunchConfig config{stream, name, dim3(count(tiles_n), count(tiles_m), count(slices)), dim3(threads)};
  if (transpose_a && transpose_b)
    launch(config, gemm_kernel<tile_m, tile_n, depth, thread_m, thread_n, true, true>, g);
  else if (transpose_a)
    launch(config, gemm_kernel<tile_m, tile_n, depth, thread_m, thread_n, true, false>, g);
  else if (transpose_b)
    launch(config, gemm_kernel<tile_m, tile_n, depth, thread_m, thread_n, false, true>, g);
  else
    launch(config, gemm_kernel<tile_m, tile_n, depth, thread_m, thread_n, false, false>, g);
}

/// Large results take tiles of 64 x 64; small ones tiles of 32 x 32, of which there are four times as many.
inline void gemm(Stream& stream, const char* name, bool transpose_a, bool transpose_b, const GemmOperands& g) {
  if (g.m == 0 || g.n == 0) return;
  check(ceil_div(g.m, 32) <= 65535, "{}: {} rows are more than a grid holds (2,097,120)", name, g.m);
  if (ceil_div(g.m, 64) * ceil_div(g.n, 64) >= 132)
    launch_gemm<64, 64, 16, 4, 4>(stream, name, transpose_a, transpose_b, g);
  else
    launch_gemm<32, 32, 32, 4, 2>(stream, name, transpose_a, transpose_b, g);
}

}  // namespace
}  // namespace retort
