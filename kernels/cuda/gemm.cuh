// C = f(A B + bias) + beta C, tiled through shared memory.
//
// A block makes a tile of 64 x 64 of C, from tiles of A and B that hold 32 values of k. The next ones are fetched into registers
// while the present ones, in shared memory, are multiplied: by FloatTile (a thread has 8 x 8 sums and reads 8 + 8 numbers of
// shared memory for 64 multiply-adds; four groups of threads share the 32 values of k) or by TensorTile (tensor_tile.cuh, with
// Stream::tf32). When C has too few tiles to fill a GPU (batch 64), several blocks share a tile, each summing a slice of k; the
// last of them to finish adds up the slices in their order, so the result does not depend on which one that is.
//
// Where A's and B's elements lie and what becomes of a sum is the Problem's business: DenseProblem is a matrix product, conv2d.cu
// has others. A launch may do several jobs at once, products or others, that do not depend on each other.
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

  void set_strides(bool transpose_a) {
    if (a_stride == 0) a_stride = transpose_a ? m : k;
    if (c_stride == 0) c_stride = n;
  }
};

/// How the blocks of a launch share one product: tiles of C, and slices of k.
struct GemmGrid {
  unsigned blocks = 0;  ///< tiles_n * tiles_m * slices
  unsigned tiles_n = 0, tiles_m = 0, slices = 0;
  std::int64_t length = 0;           ///< of k, a slice
  float* partial = nullptr;          ///< (slices, m, n) when there are several
  std::int32_t* counters = nullptr;  ///< one a tile
};

/// The sums of one thread in single precision: 8 x 8 of the tile's 64 x 64, so 64 threads have the whole tile. Four such groups
/// of threads share the values of k, because one would leave a multiprocessor with two warps; in the end their sums are added up,
/// in the groups' order. Tiles of A and B are stored k first. A thread's rows and columns are two fours, 32 apart, so that its
/// reads are 16 bytes wide and lie beside its neighbours'.
struct FloatTile {
  static constexpr int m = 64, n = 64, depth = 32, pad = 4, groups = 4, of_group = 64, threads = groups * of_group;
  static constexpr int half = n / 2;                   ///< columns whose sums are added up at a time
  static constexpr int kept_sums = groups * m * half;  ///< floats of shared memory for them

  __device__ static float as_factor(float x) { return x; }

  __device__ void multiply(const float (&tile_a)[depth][m + pad], const float (&tile_b)[depth][n + pad]) {
    constexpr int share = depth / groups;
#pragma unroll
    for (int i = 0; i < share; ++i) {
      const int k = group() * share + i;
      float a[8], b[8];
#pragma unroll
      for (int e = 0; e < 8; ++e) a[e] = tile_a[k][row(e)], b[e] = tile_b[k][column(e)];
#pragma unroll
      for (int r = 0; r < 8; ++r)
#pragma unroll
        for (int c = 0; c < 8; ++c) sum[r][c] = fmaf(a[r], b[c], sum[r][c]);
    }
  }

  /// visit(row, column, sum) of each, within the tile: half of the columns and then the others, a warp 32 beside each other.
  /// Every thread of the block calls it. `kept` may be where the tiles were, which nobody may still read.
  template <class Visit>
  __device__ void for_each(float (&kept)[kept_sums], Visit&& visit) const {
    constexpr int lines = threads / half;
    const int line = static_cast<int>(threadIdx.x) / half, place = static_cast<int>(threadIdx.x) % half;
#pragma unroll
    for (int first = 0; first < n; first += half) {
      if (first > 0) __syncthreads();  // the first half has been read
#pragma unroll
      for (int r = 0; r < 8; ++r)
#pragma unroll
        for (int c = 0; c < 4; ++c) kept[(group() * m + row(r)) * half + column(c)] = sum[r][first / half * 4 + c];
      __syncthreads();
#pragma unroll
      for (int i = 0; i < m / lines; ++i) {
        const int at = line + i * lines;
        float total = kept[at * half + place];
#pragma unroll
        for (int g = 1; g < groups; ++g) total += kept[(g * m + at) * half + place];
        visit(at, first + place, total);
      }
    }
  }

 private:
  __device__ static int group() { return static_cast<int>(threadIdx.x) / of_group; }
  __device__ static int row(int i) { return static_cast<int>(threadIdx.x) % of_group / 8 * 4 + i / 4 * (m / 2) + i % 4; }
  __device__ static int column(int j) { return static_cast<int>(threadIdx.x) % 8 * 4 + j / 4 * half + j % 4; }
  float sum[8][8] = {};
};

/// Which elements of an operand's tile a thread fetches. Along k eight threads take 8 values of k, a whole sector of memory, of
/// one row; the four such groups of a warp take four rows, so that its stores to shared memory meet different banks.
template <int tile_size, int tile_depth, int threads, bool along_k>
struct TileLoader {
  static constexpr int size = tile_size, depth = tile_depth, per_thread = size * depth / threads;
  static_assert(size * depth % threads == 0 && depth % 8 == 0 && threads % size == 0);

  __device__ static int index(int j) {
    const int me = static_cast<int>(threadIdx.x);
    return along_k ? me / 8 + j / (depth / 8) * (threads / 8) : me % size;
  }
  __device__ static int k(int j) {
    const int me = static_cast<int>(threadIdx.x);
    return along_k ? me % 8 + j % (depth / 8) * 8 : me / size + j * (threads / size);
  }
};

/// Elements of an operand as stored: row * stride + k where it lies along k, else k * stride + row ("row" of a, "column" of b).
struct GemmMatrix {
  const float* data;
  const float* mask;  // like data, or null
  std::int64_t stride;
};

/// A thread's elements of the tiles of a GemmMatrix, tile after tile: one address is carried along, the others lie at distances
/// from it that do not change. All loads of a tile are on their way together; the mask is applied when they are used.
template <class Loader, bool along_k, bool can_mask>
class MatrixFetch {
 public:
  __device__ MatrixFetch(const GemmMatrix& x, std::int64_t index0, std::int64_t indices, std::int64_t k0)
      : stride_(x.stride), left_(static_cast<int>(indices - index0 < Loader::size ? indices - index0 : Loader::size)) {
    const std::int64_t index = index0 + Loader::index(0), k = k0 + Loader::k(0),
                       first = along_k ? index * stride_ + k : k * stride_ + index;
    data_ = x.data + first;
    if (can_mask && x.mask != nullptr) mask_ = x.mask + first;
  }

  /// The next tile, of which k_left values of k are inside.
  __device__ void next(std::int64_t k_left) {
    fetch(data_, k_left, value_);
    if constexpr (can_mask)
      if (mask_ != nullptr) fetch(mask_, k_left, sign_);
  }

  __device__ float operator[](int j) const { return !can_mask || mask_ == nullptr || sign_[j] > 0.0f ? value_[j] : 0.0f; }

 private:
  __device__ void fetch(const float*& from, std::int64_t k_left, float (&to)[Loader::per_thread]) const {
    const int depth = static_cast<int>(k_left < Loader::depth ? k_left : Loader::depth);
#pragma unroll
    for (int j = 0; j < Loader::per_thread; ++j) {
      const std::int64_t index = Loader::index(j) - Loader::index(0), k = Loader::k(j) - Loader::k(0);
      const bool inside = Loader::index(j) < left_ && Loader::k(j) < depth;
      to[j] = inside ? from[along_k ? index * stride_ + k : k * stride_ + index] : 0.0f;
    }
    from += along_k ? Loader::depth : Loader::depth * stride_;
  }

  std::int64_t stride_;
  int left_;  // rows inside
  const float *data_, *mask_ = nullptr;
  float value_[Loader::per_thread], sign_[can_mask ? Loader::per_thread : 1];
};

/// The same where each element has to be looked up: load(index, k).
template <class Loader, class Load>
class LookUpFetch {
 public:
  __device__ LookUpFetch(const Load& load, std::int64_t index0, std::int64_t indices, std::int64_t k0)
      : load_(load), index0_(index0), indices_(indices), k0_(k0) {}

  __device__ void next(std::int64_t k_left) {
#pragma unroll
    for (int j = 0; j < Loader::per_thread; ++j) {
      const std::int64_t index = index0_ + Loader::index(j);
      value_[j] = index < indices_ && Loader::k(j) < k_left ? load_(index, k0_ + Loader::k(j)) : 0.0f;
    }
    k0_ += Loader::depth;
  }

  __device__ float operator[](int j) const { return value_[j]; }

 private:
  Load load_;
  std::int64_t index0_, indices_, k0_;
  float value_[Loader::per_thread];
};

/// transpose_a: a is (k, m), else (m, k); transpose_b: b is (n, k), else (k, n). Strides are set.
template <bool transpose_a, bool transpose_b>
struct DenseProblem : GemmOperands {
  // Threads that follow each other fetch elements that follow each other in memory.
  static constexpr bool a_along_k = !transpose_a, b_along_k = transpose_b;

  template <class Loader>
  using FetchA = MatrixFetch<Loader, a_along_k, !transpose_b>;  // gradients alone are masked
  template <class Loader>
  using FetchB = MatrixFetch<Loader, b_along_k, false>;

  __device__ GemmMatrix operand_a() const { return {a, mask, a_stride}; }
  __device__ GemmMatrix operand_b() const { return {b, nullptr, transpose_b ? k : n}; }
  __device__ void store(std::int64_t row, std::int64_t column, float sum) const {
    if (bias != nullptr) sum += __ldg(bias + column);  // the launch does not write it, so the load may pass the stores
    if (relu) sum = sum < 0.0f ? 0.0f : sum;
    float* to = c + row * c_stride + column;
    *to = beta == 0.0f ? sum : fmaf(beta, *to, sum);
  }
};

template <class Tile>
struct Factors {
  float a[Tile::depth][Tile::m + Tile::pad];
  float b[Tile::depth][Tile::n + Tile::pad];
};

/// Shared memory of a block: the factors while they are multiplied, then the sums that its threads leave each other.
template <class Tile>
union alignas(16) TileMemory {
  Factors<Tile> factors;
  float kept[Tile::kept_sums];
};

/// One product of a launch.
template <class Tile, class Problem>
struct GemmJob {
  using LoadA = TileLoader<Tile::m, Tile::depth, Tile::threads, Problem::a_along_k>;
  using LoadB = TileLoader<Tile::n, Tile::depth, Tile::threads, Problem::b_along_k>;

  Problem p;
  GemmGrid grid;

  __device__ unsigned blocks() const { return grid.blocks; }

  __device__ void run(unsigned block, TileMemory<Tile>& memory) const {
    const unsigned tile_index = block % (grid.tiles_n * grid.tiles_m), slice = block / (grid.tiles_n * grid.tiles_m);
    const std::int64_t row0 = static_cast<std::int64_t>(tile_index / grid.tiles_n) * Tile::m,
                       column0 = static_cast<std::int64_t>(tile_index % grid.tiles_n) * Tile::n;
    Tile tile;
    multiply(tile, row0, column0, slice, memory.factors);
    const bool sliced = grid.slices > 1;
    float* mine = grid.partial + slice * p.m * p.n;
    tile.for_each(memory.kept, [&](int i, int j, float sum) {
      const std::int64_t row = row0 + i, column = column0 + j;
      if (row >= p.m || column >= p.n) return;
      if (sliced)
        mine[row * p.n + column] = sum;
      else
        p.store(row, column, sum);
    });
    if (sliced && last_block(grid.counters + tile_index, static_cast<int>(grid.slices))) add_slices(row0, column0);
  }

 private:
  __device__ void multiply(Tile& tile, std::int64_t row0, std::int64_t column0, unsigned slice, Factors<Tile>& factors) const {
    const std::int64_t k_begin = slice * grid.length, k_end = k_begin + grid.length < p.k ? k_begin + grid.length : p.k;
    typename Problem::template FetchA<LoadA> a(p.operand_a(), row0, p.m, k_begin);
    typename Problem::template FetchB<LoadB> b(p.operand_b(), column0, p.n, k_begin);
    a.next(k_end - k_begin), b.next(k_end - k_begin);
    for (std::int64_t k0 = k_begin; k0 < k_end; k0 += Tile::depth) {
#pragma unroll
      for (int j = 0; j < LoadA::per_thread; ++j) factors.a[LoadA::k(j)][LoadA::index(j)] = Tile::as_factor(a[j]);
#pragma unroll
      for (int j = 0; j < LoadB::per_thread; ++j) factors.b[LoadB::k(j)][LoadB::index(j)] = Tile::as_factor(b[j]);
      __syncthreads();
      const std::int64_t left = k_end - k0 - Tile::depth;
      if (left > 0) a.next(left), b.next(left);
      tile.multiply(factors.a, factors.b);
      __syncthreads();
    }
  }

  /// By the last block of a tile: all slices' sums, in their order; 64 loads of a thread are on their way together.
  __device__ void add_slices(std::int64_t row0, std::int64_t column0) const {
    constexpr int lines = Tile::threads / Tile::n, each = Tile::m / lines;
    [[maybe_unused]] constexpr int slices_at_once = 64 / each;  // the host's compiler ignores the pragma
    const std::int64_t row = row0 + threadIdx.x / Tile::n, column = column0 + threadIdx.x % Tile::n;
    if (column >= p.n) return;
    const float* from = grid.partial + row * p.n + column;
    float total[each] = {};
#pragma unroll slices_at_once
    for (unsigned z = 0; z < grid.slices; ++z, from += p.m * p.n)
#pragma unroll
      for (int i = 0; i < each; ++i)
        if (row + i * lines < p.m) total[i] += from[i * lines * p.n];
#pragma unroll
    for (int i = 0; i < each; ++i)
      if (row + i * lines < p.m) p.store(row + i * lines, column, total[i]);
  }
};

/// The blocks of all jobs, one job's after another's. What does not depend on each other goes into one launch: small products
/// fill a GPU together.
template <class Tile, class... Jobs>
__global__ void __launch_bounds__(Tile::threads, 1) jobs_kernel(Jobs... jobs) {
  __shared__ TileMemory<Tile> memory;
  unsigned block = blockIdx.x;
  const auto take = [&](const auto& job) {
    if (block < job.blocks()) {
      job.run(block, memory);
      return true;
    }
    block -= job.blocks();
    return false;
  };
  static_cast<void>((take(jobs) || ...));
}

template <class Tile, class... Jobs>
void launch_jobs(Stream& stream, const char* name, std::int64_t blocks, const Jobs&... jobs) {
  check(blocks < (std::int64_t{1} << 31), "{}: {} blocks are more than a grid holds", name, blocks);
  void (*const kernel)(Jobs...) = jobs_kernel<Tile, Jobs...>;
  launch({stream, name, dim3(count(blocks)), dim3(Tile::threads)}, kernel, jobs...);
}

/// The slices that k is cut into.
template <class Tile>
struct GemmPlan {
  // Eight warps for each of an H100's 132 multiprocessors; a constant, so that every GPU adds in the same order.
  static constexpr std::int64_t enough_blocks = 132 * 256 / Tile::threads;

  GemmPlan() = default;
  GemmPlan(std::int64_t m, std::int64_t n, std::int64_t k) : tiles_m(ceil_div(m, Tile::m)), tiles_n(ceil_div(n, Tile::n)) {
    const std::int64_t tiles = tiles_m * tiles_n;
    std::int64_t wanted = 1;
    if (tiles < enough_blocks) wanted = std::clamp<std::int64_t>(k / (2 * Tile::depth), 1, enough_blocks / tiles);
    length = ceil_div(ceil_div(k, wanted), Tile::depth) * Tile::depth;
    slices = std::max<std::int64_t>(1, ceil_div(k, std::max<std::int64_t>(length, 1)));
    workspace = slices > 1 ? slices * m * n : 0;
  }

  std::int64_t blocks() const { return tiles_m * tiles_n * slices; }
  /// partial: `workspace` floats; counters: enough_blocks of them.
  GemmGrid grid(float* partial, std::int32_t* counters) const {
    return {count(blocks()), count(tiles_n), count(tiles_m), count(slices), length, partial, counters};
  }

  std::int64_t tiles_m = 0, tiles_n = 0, length = 0, slices = 0, workspace = 0;
};

template <class Tile, class Problem>
void launch_gemm(Stream& stream, const char* name, const Problem& p, float* workspace = nullptr) {
  const GemmPlan<Tile> plan(p.m, p.n, p.k);
  if (plan.slices > 1 && workspace == nullptr)
    workspace = static_cast<float*>(stream.scratch(static_cast<std::size_t>(plan.workspace) * sizeof(float)));
  launch_jobs<Tile>(stream, name, plan.blocks(), GemmJob<Tile, Problem>{p, plan.grid(workspace, stream.counters())});
}

/// Calls use(tile) with a null pointer to the tile's type.
template <class Use>
auto with_tile(const Stream& stream, Use&& use) {
  if (!stream.tf32()) return use(static_cast<FloatTile*>(nullptr));
  require_tensor_cores();
  return use(static_cast<TensorTile*>(nullptr));
}

/// Floats that gemm() of these sizes needs for its slices.
inline std::int64_t gemm_workspace(const Stream& stream, std::int64_t m, std::int64_t n, std::int64_t k) {
  return with_tile(stream, [&](auto* tile) { return GemmPlan<std::remove_pointer_t<decltype(tile)>>(m, n, k).workspace; });
}

inline void gemm(Stream& stream, const char* name, bool transpose_a, bool transpose_b, GemmOperands g) {
  if (g.m == 0 || g.n == 0) return;
  g.set_strides(transpose_a);
  with_tile(stream, [&](auto* tile) {
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
