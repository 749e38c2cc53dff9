// Linear layers and matrix products. The output is cut into column blocks; each block is one single-threaded GEMM with the bias
// and the ReLU applied while it is still in the cache. Weights are large and batches small: so the factors are arranged for the
// weights to be read in place (gemm.h).
#include "retort/kernels/linear.h"

#include "retort/kernels/cpu/eigen.h"
#include "retort/kernels/cpu/gemm.h"
#include "retort/kernels/cpu/register.h"
#include "retort/kernels/thread_team.h"

#include <algorithm>

namespace retort::eigen {
namespace {

constexpr std::int64_t block = 128;        // columns (or rows of dw) of one task
constexpr std::int64_t matmul_rows = 256;  // rows of one task of a matrix product
constexpr std::int64_t few_rows = 8;
constexpr std::int64_t most_rows = 1024;  // whose x^T is held at once
constexpr std::int64_t row_unit = 16;     // x^T's rows are padded to whole vectors of any machine

std::int64_t blocks(std::int64_t n) { return (n + block - 1) / block; }

void add_bias_and_activate(const LinearShape& z, std::int64_t begin, std::int64_t width, const float* b, float* y) {
  for (std::int64_t i = 0; i < z.rows; ++i) {
    float* row = y + i * z.out + begin;
    if (b != nullptr) array(row, width) += array(b + begin, width);
    // x < 0 ? 0 : x and not max(x, 0): a NaN must stay one.
    if (z.activation == Activation::relu)
      for (std::int64_t j = 0; j < width; ++j) row[j] = row[j] < 0 ? 0.0f : row[j];
  }
}

/// A few rows: a product with a column or little more, which Eigen does best.
void forward_few_rows(Stream& stream, const LinearShape& z, const float* x, const float* w, const float* b, float* y) {
  stream.threads().for_ranges(z.out, block, [&](std::int64_t begin, std::int64_t end) {
    gemm(z.rows, end - begin, z.in, {x, z.in}, {w + begin * z.in, z.in, true}, y + begin, z.out, Write::overwrite);
    add_bias_and_activate(z, begin, end - begin, b, y);
  });
}

/// y^T = W x^T block by block: x, which is small beside W, is transposed, and W's rows are read where they are.
void forward_transposed(Stream& stream, const LinearShape& z, const float* x, const float* w, const float* b, float* y) {
  ThreadTeam& team = stream.threads();
  const std::int64_t width = (z.rows + row_unit - 1) / row_unit * row_unit;
  auto* xt = static_cast<float*>(stream.scratch(static_cast<std::size_t>((z.in + team.size() * block) * width) * sizeof(float)));
  float* results = xt + z.in * width;
  team.for_ranges(z.in, block, [&](std::int64_t begin, std::int64_t end) {
    transpose(z.rows, end - begin, x + begin, z.in, xt + begin * width, width);
    for (std::int64_t i = begin; i < end; ++i) std::fill(xt + i * width + z.rows, xt + (i + 1) * width, 0.0f);
  });
  team.run(blocks(z.out), [&](std::int64_t task, int thread) {
    const std::int64_t begin = task * block, count = std::min(block, z.out - begin);
    float* yt = results + thread * block * width;
    gemm(count, width, z.in, {w + begin * z.in, z.in}, {xt, width}, yt, width, Write::overwrite);
    transpose(count, z.rows, yt, width, y + begin, z.out);
    add_bias_and_activate(z, begin, count, b, y);
  });
}

void forward(Stream& stream, const LinearShape& z, const float* x, const float* w, const float* b, float* y) {
  if (z.rows < few_rows) return forward_few_rows(stream, z, x, w, b, y);
  for (std::int64_t first = 0; first < z.rows; first += most_rows) {
    LinearShape part = z;
    part.rows = std::min(most_rows, z.rows - first);
    forward_transposed(stream, part, x + first * z.in, w, b, y + first * z.out);
  }
}

/// Columns [begin, end) of g = dy where the ReLU let through, else 0.
void mask_gradient(const LinearShape& z, std::int64_t begin, std::int64_t end, const float* y, const float* dy, float* g) {
  for (std::int64_t r = 0; r < z.rows; ++r)
    for (std::int64_t i = r * z.out + begin; i < r * z.out + end; ++i) g[i] = y[i] > 0 ? dy[i] : 0.0f;
}

void backward(Stream& stream, const LinearShape& z, const float* x, const float* w, const float* y, const float* dy, float* dx,
              float beta, float* dw, float* db) {
  const std::int64_t size = z.rows * z.out;
  auto* masked = static_cast<float*>(stream.scratch(static_cast<std::size_t>(2 * size) * sizeof(float)));
  float* transposed = masked + size;  // read along the batch: in g its rows would often share one set of the cache
  const bool relu = z.activation == Activation::relu;
  const float* g = relu ? masked : dy;
  stream.threads().for_ranges(z.out, block, [&](std::int64_t begin, std::int64_t end) {
    if (relu) mask_gradient(z, begin, end, y, dy, masked);
    if (dw != nullptr) transpose(z.rows, end - begin, g + begin, z.out, transposed + begin * z.rows, z.rows);
  });
  const Write write = beta == 0 ? Write::overwrite : Write::accumulate;
  // dx is cut over its columns, dw over its rows; both kinds of task are in one region so that no thread idles between them.
  const std::int64_t dx_tasks = dx != nullptr ? blocks(z.in) : 0, dw_tasks = dw != nullptr || db != nullptr ? blocks(z.out) : 0;
  stream.threads().run(dx_tasks + dw_tasks, [&](std::int64_t task, int) {
    if (task < dx_tasks) {
      const std::int64_t begin = task * block, width = std::min(block, z.in - begin);
      gemm(z.rows, width, z.out, {g, z.out}, {w + begin, z.in}, dx + begin, z.in, Write::overwrite);
      return;
    }
    const std::int64_t begin = (task - dx_tasks) * block, width = std::min(block, z.out - begin);
    if (dw != nullptr)
      gemm(width, z.in, z.rows, {transposed + begin * z.rows, z.rows}, {x, z.in}, dw + begin * z.in, z.in, write);
    if (db != nullptr)
      for (std::int64_t i = 0; i < z.rows; ++i) array(db + begin, width) += array(g + i * z.out + begin, width);
  });
}

void matmul(Stream& stream, const MatmulShape& z, const float* a, const float* b, float beta, float* c) {
  const std::int64_t column_blocks = blocks(z.n), row_blocks = (z.m + matmul_rows - 1) / matmul_rows;
  stream.threads().run(column_blocks * row_blocks, [&](std::int64_t task, int) {
    const std::int64_t row = task / column_blocks * matmul_rows, column = task % column_blocks * block;
    const std::int64_t m = std::min(matmul_rows, z.m - row), n = std::min(block, z.n - column);
    float* out = c + row * z.n + column;
    if (beta != 0 && beta != 1)
      for (std::int64_t i = 0; i < m; ++i) array(out + i * z.n, n) *= beta;
    gemm(m, n, z.k, {z.transpose_a ? a + row : a + row * z.k, z.transpose_a ? z.m : z.k, z.transpose_a},
         {z.transpose_b ? b + column * z.k : b + column, z.transpose_b ? z.k : z.n, z.transpose_b}, out, z.n,
         beta == 0 ? Write::overwrite : Write::accumulate);
  });
}

}  // namespace

void register_linear() {
  add(LinearKernels{forward, backward});
  add(MatmulKernels{matmul});
}

}  // namespace retort::eigen
