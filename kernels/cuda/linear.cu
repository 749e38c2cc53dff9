// Affine maps of rows and matrix products on one tiled kernel (gemm.cuh). Contract: kernels/linear.h.
//   y = f(x W^T + b)                  2 rows in out flops
//   dx = g W, dW = beta dW + g^T x, db += sum over rows of g,   g = dy, or dy where y > 0 with ReLU; g is never stored
// The three gradients do not depend on each other: they are one launch.
#include "retort/kernels/linear.h"

#include "retort/kernels/cuda/all.h"
#include "retort/kernels/cuda/gemm.cuh"
#include "retort/kernels/registry.h"

namespace retort {
namespace {

void linear_forward(Stream& stream, const LinearShape& s, const float* x, const float* w, const float* b, float* y) {
  gemm(stream, "linear.forward", false, true,
       {.m = s.rows, .n = s.out, .k = s.in, .a = x, .b = w, .bias = b, .relu = s.activation == Activation::relu, .c = y});
}

/// g of one row and column.
struct MaskedGradient {
  const float *dy, *y;  // (rows, columns); y null: no mask
  std::int64_t columns;
  __device__ float operator()(std::int64_t row, std::int64_t column) const {
    const std::int64_t i = row * columns + column;
    return y == nullptr || y[i] > 0.0f ? dy[i] : 0.0f;
  }
};

/// db of a launch that also makes dx and dw: 32 columns a block.
template <class Tile>
struct BiasJob {
  std::int64_t rows, columns;
  MaskedGradient g;
  float* db;  // (columns) or null

  __device__ unsigned blocks() const { return db == nullptr ? 0 : static_cast<unsigned>((columns + 31) / 32); }

  __device__ void run(unsigned block, TileMemory<Tile>& memory) const {
    constexpr int lines = Tile::threads / 32;
    const int line = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
    const std::int64_t column = static_cast<std::int64_t>(block) * 32 + lane;
    float sum = 0.0f;
    if (column < columns)
#pragma unroll 4
      for (std::int64_t row = line; row < rows; row += lines) sum += g(row, column);
    memory.factors.a[line][lane] = sum;
    __syncthreads();
    if (line != 0 || column >= columns) return;
    for (int i = 1; i < lines; ++i) sum += memory.factors.a[i][lane];
    db[column] += sum;
  }
};

template <class Tile>
void backward_as(Stream& stream, const LinearShape& s, GemmOperands dx, GemmOperands dw, const MaskedGradient& g, float* db) {
  using Plan = GemmPlan<Tile>;
  dx.set_strides(false);
  dw.set_strides(true);
  const Plan plan_dx = dx.c != nullptr ? Plan(dx.m, dx.n, dx.k) : Plan(),
             plan_dw = dw.c != nullptr ? Plan(dw.m, dw.n, dw.k) : Plan();
  const std::int64_t workspace = plan_dx.workspace + plan_dw.workspace;
  float* partial = nullptr;
  if (workspace > 0) partial = static_cast<float*>(stream.scratch(static_cast<std::size_t>(workspace) * sizeof(float)));
  std::int32_t* counters = stream.counters();
  static_assert(2 * Plan::enough_blocks <= Stream::counter_count);
  const BiasJob<Tile> bias{s.rows, s.out, g, db};
  const std::int64_t blocks = plan_dx.blocks() + plan_dw.blocks() + (db != nullptr ? ceil_div(s.out, 32) : 0);
  if (blocks == 0) return;
  launch_jobs<Tile>(
      stream, "linear.backward", blocks, GemmJob<Tile, DenseProblem<false, false>>{{dx}, plan_dx.grid(partial, counters)},
      GemmJob<Tile, DenseProblem<true, false>>{{dw}, plan_dw.grid(partial + plan_dx.workspace, counters + Plan::enough_blocks)},
      bias);
}

void linear_backward(Stream& stream, const LinearShape& s, const float* x, const float* w, const float* y, const float* dy,
                     float* dx, float beta, float* dw, float* db) {
  const float* mask = s.activation == Activation::relu ? y : nullptr;
  const MaskedGradient g{dy, mask, s.out};
  if (s.rows * s.in == 0) dx = nullptr;  // nothing to write
  if (s.out * s.in == 0) dw = nullptr;
  if (db != nullptr && s.rows > column_sum_rows) {  // too many for one pass
    if (s.out > 0) column_sum(stream, "linear.backward", s.rows, s.out, g, true, db);
    db = nullptr;
  }
  with_tile(stream, [&](auto* tile) {
    backward_as<std::remove_pointer_t<decltype(tile)>>(
        stream, s, {.m = s.rows, .n = s.in, .k = s.out, .a = dy, .b = w, .mask = mask, .c = dx},
        {.m = s.out, .n = s.in, .k = s.rows, .a = dy, .b = x, .mask = mask, .beta = beta, .c = dw}, g, db);
  });
}

void matmul(Stream& stream, const MatmulShape& s, const float* a, const float* b, float beta, float* c) {
  gemm(stream, "matmul.forward", s.transpose_a, s.transpose_b,
       {.m = s.m, .n = s.n, .k = s.k, .a = a, .b = b, .beta = beta, .c = c});
}

}  // namespace

template <>
void register_linear<this_device>() {
  KernelTable<LinearKernels>::instance().add(this_device, "cuda", 10, {linear_forward, linear_backward});
  KernelTable<MatmulKernels>::instance().add(this_device, "cuda", 10, {matmul});
}

}  // namespace retort
