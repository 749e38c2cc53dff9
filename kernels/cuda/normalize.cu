// Rows divided by their Euclidean length. Contract: kernels/normalize.h. One warp a row; lanes stride over the columns.
#include "retort/kernels/normalize.h"

#include "retort/kernels/cuda/all.h"
#include "retort/kernels/cuda/block.cuh"
#include "retort/kernels/registry.h"

namespace retort {
namespace {

constexpr int threads = 128;

__global__ void __launch_bounds__(threads)
    forward_kernel(std::int64_t rows, std::int64_t columns, const float* x, float* norm, float* y) {
  const std::int64_t row = global_thread() / 32, lane = threadIdx.x % 32;
  if (row >= rows) return;
  float sum = 0.0f;
  for (std::int64_t j = lane; j < columns; j += 32) sum = fmaf(x[row * columns + j], x[row * columns + j], sum);
  const float length = sqrtf(warp_sum(sum));
  const float safe = length < l2_normalize_eps ? l2_normalize_eps : length;
  if (lane == 0) norm[row] = safe;
  for (std::int64_t j = lane; j < columns; j += 32) y[row * columns + j] = x[row * columns + j] / safe;
}

/// dx = (dy - y <y, dy>) / norm; a row that was divided by the constant eps has no second term.
__global__ void __launch_bounds__(threads)
    backward_kernel(std::int64_t rows, std::int64_t columns, const float* norm, const float* y, const float* dy, float* dx) {
  const std::int64_t row = global_thread() / 32, lane = threadIdx.x % 32;
  if (row >= rows) return;
  float dot = 0.0f;
  for (std::int64_t j = lane; j < columns; j += 32) dot = fmaf(y[row * columns + j], dy[row * columns + j], dot);
  dot = warp_sum(dot);
  if (norm[row] <= l2_normalize_eps) dot = 0.0f;
  for (std::int64_t j = lane; j < columns; j += 32) {
    const std::int64_t i = row * columns + j;
    dx[i] = (dy[i] - y[i] * dot) / norm[row];
  }
}

void forward(Stream& stream, std::int64_t rows, std::int64_t columns, const float* x, float* norm, float* y) {
  if (rows == 0) return;
  launch({stream, "l2_normalize.forward", dim3(count(ceil_div(rows * 32, threads))), dim3(threads)}, forward_kernel, rows,
         columns, x, norm, y);
}

void backward(Stream& stream, std::int64_t rows, std::int64_t columns, const float* norm, const float* y, const float* dy,
              float* dx) {
  if (rows == 0) return;
  launch({stream, "l2_normalize.backward", dim3(count(ceil_div(rows * 32, threads))), dim3(threads)}, backward_kernel, rows,
         columns, norm, y, dy, dx);
}

}  // namespace

template <>
void register_normalize<this_device>() {
  KernelTable<L2NormalizeKernels>::instance().add(this_device, "cuda", 10, {forward, backward});
}

}  // namespace retort
