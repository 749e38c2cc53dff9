// C = f(A B + bias) + beta C, tiled through shared memory.
//
// A block makes a tile of C. The next tiles of A and B are fetched into registers while the present ones, in shared memory, are
// multiplied: by FloatTile (a thread holds 4 x 4 or 4 x 2 sums and reads 4 + 4 numbers of shared memory for 16 multiply-adds) or
// by TensorTile (tensor_tile.cuh, with Stream::tf32). When C has too few tiles to fill a GPU (batch 64), several blocks share a
// tile, each summing a slice of k; the last of them to finish adds up the slices in their order, so the result does not depend on
// which one that is.
//
// Where A's and B's elements lie and what becomes of a sum is the Problem's business: DenseProblem is a matrix product, conv2d.cu
// has others.
#pragma once

#include "retort/kernels/cuda/block.cuh"
#include "retort/kernels/cuda/tensor_tile.cuh"

namespace retort {
namespace {

/// As a caller of gemm() gives it.
struct GemmOperands {
  std::int64_t m, n, k;
  const float *a, *b;
  std::int64_t a_stride = 0;    ///< from row to row of a as stored; 0: rows lie without gaps
  const float* mask = nullptr;  ///< like a: a counts as 0 where mask <= 0 (the ReLU's gradient); null: no mask
  const float* bias = nullptr;  ///< (n) or null
  bool relu = false;
  float beta = 0.0f;
  float* c = nullptr;          ///< (m, n)
  std::int64_t c_stride = 0;   ///< from row to row of c; 0: n
  float* workspace = nullptr;  ///< gemm_workspace() floats; null: the stream's scratch, whose present content is then lost
};

/// transpose_a: a is (k, m), else (m, k); transpose_b: b is (n, k), else (k, n). Strides are set.
template <bool transpose_a, bool transpose_b>
struct DenseProblem : GemmOperands {
  // Threads that follow each other fetch elements that follow each other in memory.
  static constexpr bool a_along_k = !transpose_a, b_along_k = transpose_b;

  __device__ float load_a(std::int64_t row, std::int64_t at_k) const {
    const std::int64_t at = transpose_a ? at_k * a_stride + row : row * a_stride + at_k;
    return mask == nullptr || mask[at] > 0.0f ? a[at] : 0.0f;
  }
  __device__ float load_b(std::int64_t at_k, std::int64_t column) const {
    return b[transpose_b ? column * k + at_k : at_k * n + column];
  }
  __device__ void store(std::int64_t row, std::int64_t column, float sum) const {
    if (bias != nullptr) sum += bias[column];
    if (relu) sum = sum < 0.0f ? 0.0f : sum;
    float* to = c + row * c_stride + column;
    *to = beta == 0.0f ? sum : fmaf(beta, *to, sum);
  }
};

/// How blocks share the sums over k.
struct GemmSlices {
  std::int64_t length = 0;           ///< of k, a block
  float* partial = nullptr;          ///< (slices, m, n) when gridDim.z > 1
  std::int32_t* counters = nullptr;  ///< one a tile
};

/// The sums of one thread in single precision. Tiles of A and B are stored k first.
template <int tile_m, int tile_n, int tile_depth, int thread_m, int thread_n>
struct FloatTile {
  static constexpr int m = tile_m, n = tile_n, depth = tile_depth, pad = 4, threads = m / thread_m * (n / thread_n);

  __device__ static float as_factor(float x) { return x; }

  __device__ void multiply(const float (&tile_a)[depth][m + pad], const float (&tile_b)[depth][n + pad]) {
#pragma unroll 8
    for (int k = 0; k < depth; ++k) {
      float a[thread_m], b[thread_n];
#pragma unroll
      for (int i = 0; i < thread_m; ++i) a[i] = tile_a[k][row() + i];
#pragma unroll
      for (int j = 0; j < thread_n; ++j) b[j] = tile_b[k][column() + j];
#pragma unroll
      for (int i = 0; i < thread_m; ++i)
#pragma unroll
        for (int j = 0; j < thread_n; ++j) sum[i][j] = fmaf(a[i], b[j], sum[i][j]);
    }
  }

  /// visit(row, column, sum) of each, within the tile.
  template <class Visit>
  __device__ void for_each(Visit&& visit) const {
#pragma unroll
    for (int i = 0; i < thread_m; ++i)
#pragma unroll
      for (int j = 0; j < thread_n; ++j) visit(row() + i, column() + j, sum[i][j]);
  }

 private:
  __device__ static int row() { return static_cast<int>(threadIdx.x) / (n / thread_n) * thread_m; }
  __device__ static int column() { return static_cast<int>(threadIdx.x) % (n / thread_n) * thread_n; }
  float sum[thread_m][thread_n] = {};
};

/// One tile of an operand, by all threads of the block. With `along_k` threads that follow each other walk along k, else along
/// the other index.
template <int size, int depth, int threads, bool along_k>
struct TileLoader {
  static constexpr int per_thread = size * depth / threads;
  static_assert(size * depth % threads == 0);

  __device__ static int index(int j) { return (threadIdx.x + j * threads) / (along_k ? depth : 1) % size; }
  __device__ static int k(int j) { return along_k ? (threadIdx.x + j * threads) % depth : (threadIdx.x + j * threads) / size; }
};

/// The last block of a tile adds up all slices' partial sums, in their order.
template <class Tile, class Problem>
__device__ inline void gemm_add_slices(const Problem& p, const GemmSlices& slices, std::int64_t row0, std::int64_t column0) {
  for (int at = static_cast<int>(threadIdx.x); at < Tile::m * Tile::n; at += Tile::threads) {
    const std::int64_t row = row0 + at / Tile::n, column = column0 + at % Tile::n;
    if (row >= p.m || column >= p.n) continue;
    float total = 0.0f;
    for (unsigned z = 0; z < gridDim.z; ++z) total += slices.partial[z * p.m * p.n + row * p.n + column];
    p.store(row, column, total);
  }
}

/// Grid: tiles of n, tiles of m, slices of k.
template <class Tile, class Problem>
__global__ void __launch_bounds__(Tile::threads) gemm_kernel(const Problem p, const GemmSlices slices) {
  using LoadA = TileLoader<Tile::m, Tile::depth, Tile::threads, Problem::a_along_k>;
  using LoadB = TileLoader<Tile::n, Tile::depth, Tile::threads, Problem::b_along_k>;
  __shared__ __align__(16) float tile_a[Tile::depth][Tile::m + Tile::pad];
  __shared__ __align__(16) float tile_b[Tile::depth][Tile::n + Tile::pad];

  const std::int64_t row0 = static_cast<std::int64_t>(blockIdx.y) * Tile::m,
                     column0 = static_cast<std::int64_t>(blockIdx.x) * Tile::n;
  const std::int64_t k_begin = blockIdx.z * slices.length, k_end = k_begin + slices.length < p.k ? k_begin + slices.length : p.k;

  float next_a[LoadA::per_thread], next_b[LoadB::per_thread];
  const auto fetch = [&](std::int64_t k0) {
#pragma unroll
    for (int j = 0; j < LoadA::per_thread; ++j) {
      const std::int64_t i = row0 + LoadA::index(j), k = k0 + LoadA::k(j);
      next_a[j] = i < p.m && k < k_end ? p.load_a(i, k) : 0.0f;
    }
#pragma unroll
    for (int j = 0; j < LoadB::per_thread; ++j) {
      const std::int64_t i = column0 + LoadB::index(j), k = k0 + LoadB::k(j);
      next_b[j] = i < p.n && k < k_end ? p.load_b(k, i) : 0.0f;
    }
  };

  Tile tile;
  fetch(k_begin);
  for (std::int64_t k0 = k_begin; k0 < k_end; k0 += Tile::depth) {
#pragma unroll
    for (int j = 0; j < LoadA::per_thread; ++j) tile_a[LoadA::k(j)][LoadA::index(j)] = Tile::as_factor(next_a[j]);
#pragma unroll
    for (int j = 0; j < LoadB::per_thread; ++j) tile_b[LoadB::k(j)][LoadB::index(j)] = Tile::as_factor(next_b[j]);
    __syncthreads();
    if (k0 + Tile::depth < k_end) fetch(k0 + Tile::depth);
    tile.multiply(tile_a, tile_b);
    __syncthreads();
  }

  const bool sliced = gridDim.z > 1;
  float* mine = slices.partial + blockIdx.z * p.m * p.n;
  tile.for_each([&](int i, int j, float sum) {
    const std::int64_t row = row0 + i, column = column0 + j;
    if (row >= p.m || column >= p.n) return;
    if (sliced)
      mine[row * p.n + column] = sum;
    else
      p.store(row, column, sum);
  });
  if (!sliced || !last_block(slices.counters + blockIdx.y * gridDim.x + blockIdx.x, static_cast<int>(gridDim.z))) return;
  gemm_add_slices<Tile>(p, slices, row0, column0);
}

/// The slices that k is cut into.
template <class Tile>
struct GemmPlan {
  GemmPlan(std::int64_t m, std::int64_t n, std::int64_t k) : tiles_m(ceil_div(m, Tile::m)), tiles_n(ceil_div(n, Tile::n)) {
    // Two blocks for each of an H100's 132 multiprocessors; a constant, so that every GPU adds in the same order.
    constexpr std::int64_t enough_blocks = 264;
    const std::int64_t tiles = tiles_m * tiles_n;
    std::int64_t wanted = 1;
    if (tiles < enough_blocks && tiles <= Stream::counter_count)
      wanted = std::clamp<std::int64_t>(k / (4 * Tile::depth), 1, ceil_div(enough_blocks, tiles));
    length = ceil_div(ceil_div(k, wanted), Tile::depth) * Tile::depth;
    slices = std::max<std::int64_t>(1, ceil_div(k, std::max<std::int64_t>(length, 1)));
    workspace = slices > 1 ? slices * m * n : 0;
  }

  std::int64_t tiles_m, tiles_n, length, slices, workspace;
};

template <class Tile, class Problem>
void launch_gemm(Stream& stream, const char* name, const Problem& p, float* workspace = nullptr) {
  const GemmPlan<Tile> plan(p.m, p.n, p.k);
  check(plan.tiles_m <= 65535, "{}: {} rows are more than a grid holds ({})", name, p.m, 65535 * Tile::m);
  GemmSlices slices{.length = plan.length};
  if (plan.slices > 1) {
    const std::size_t bytes = static_cast<std::size_t>(plan.workspace) * sizeof(float);
    slices.partial = workspace != nullptr ? workspace : static_cast<float*>(stream.scratch(bytes));
    slices.counters = stream.counters();
  }
  launch({stream, name, dim3(count(plan.tiles_n), count(plan.tiles_m), count(plan.slices)), dim3(Tile::threads)},
         gemm_kernel<Tile, Problem>, p, slices);
}

/// Calls use(tile) with a null pointer to the tile's type. Large results take tiles of 64 x 64; small ones tiles of 32 x 32, of
/// which there are four times as many.
template <class Use>
auto with_tile(const Stream& stream, std::int64_t m, std::int64_t n, Use&& use) {
  if (stream.tf32()) {
    require_tensor_cores();
    return use(static_cast<TensorTile*>(nullptr));
  }
  if (ceil_div(m, 64) * ceil_div(n, 64) >= 132) return use(static_cast<FloatTile<64, 64, 16, 4, 4>*>(nullptr));
  return use(static_cast<FloatTile<32, 32, 32, 4, 2>*>(nullptr));
}

/// Floats that gemm() of these sizes needs for its slices.
inline std::int64_t gemm_workspace(const Stream& stream, std::int64_t m, std::int64_t n, std::int64_t k) {
  return with_tile(stream, m, n, [&](auto* tile) { return GemmPlan<std::remove_pointer_t<decltype(tile)>>(m, n, k).workspace; });
}

inline void gemm(Stream& stream, const char* name, bool transpose_a, bool transpose_b, GemmOperands g) {
  if (g.m == 0 || g.n == 0) return;
  if (g.a_stride == 0) g.a_stride = transpose_a ? g.m : g.k;
  if (g.c_stride == 0) g.c_stride = g.n;
  with_tile(stream, g.m, g.n, [&](auto* tile) {
    using Tile = std::remove_pointer_t<decltype(tile)>;
    if (transpose_a && transpose_b)
      launch_gemm<Tile>(stream, name, DenseProblem<true, true>{g}, g.workspace);
    else if (transpose_a)
      launch_gemm<Tile>(stream, name, DenseProblem<true, false>{g}, g.workspace);
    else if (transpose_b)
      launch_gemm<Tile>(stream, name, DenseProblem<false, true>{g}, g.workspace);
    else
      launch_gemm<Tile>(stream, name, DenseProblem<false, false>{g}, g.workspace);
  });
}

}  // namespace
}  // namespace retort
