// Linear layers and matrix products. The output is cut into column blocks; each block is one single-threaded GEMM with the bias
// and the ReLU applied while it is still in the cache.
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

void forward(Stream& stream, const LinearShape& z, const float* x, const float* w, const float* b, float* y) {
  stream.threads().for_ranges(z.out, block, [&](std::int64_t begin, std::int64_t end) {
    gemm(z.rows, end - begin, z.in, {x, z.in}, {w + begin * z.in, z.in, true}, y + begin, z.out, Write::overwrite);
    add_bias_and_activate(z, begin, end - begin, b, y);
  });
}

/// g = dy where the ReLU let through, else 0.
void mask_gradient(Stream& stream, const LinearShape& z, const float* y, const float* dy, float* g) {
  stream.threads().for_ranges(z.rows * z.out, grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) g[i] = y[i] > 0 ? dy[i] : 0.0f;
  });
}

void backward(Stream& stream, const LinearShape& z, const float* x, const float* w, const float* y, const float* dy, float* dx,
              float beta, float* dw, float* db) {
  const float* g = dy;
  if (z.activation == Activation::relu) {
    auto* masked = static_cast<float*>(stream.scratch(static_cast<std::size_t>(z.rows * z.out) * sizeof(float)));
    mask_gradient(stream, z, y, dy, masked);
    g = masked;
  }
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
    if (dw != nullptr) gemm(width, z.in, z.rows, {g + begin, z.out, true}, {x, z.in}, dw + begin * z.in, z.in, write);
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
