// Log-softmax and cross-entropy, forward and gradient together. Contract and formulas: kernels/softmax.h.
// One warp a row: the maximum, the sum of exponentials and the output each take one pass over the row, which stays in the cache.
#include "retort/kernels/softmax.h"

#include "retort/kernels/cuda/all.h"
#include "retort/kernels/cuda/losses.cuh"
#include "retort/kernels/registry.h"

namespace retort {
namespace {

__global__ void __launch_bounds__(loss_threads)
    log_softmax_forward_kernel(std::int64_t rows, std::int64_t columns, const float* x, float* y) {
  const std::int64_t row = global_thread() / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  if (row >= rows) return;
  const LogSoftmax log_softmax = row_log_softmax(columns, x + row * columns, 1.0f, lane);
  for (std::int64_t j = lane; j < columns; j += 32) y[row * columns + j] = log_softmax(x[row * columns + j]);
}

__global__ void __launch_bounds__(loss_threads)
    log_softmax_backward_kernel(std::int64_t rows, std::int64_t columns, const float* y, const float* dy, float* dx) {
  const std::int64_t row = global_thread() / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  if (row >= rows) return;
  float sum = 0.0f;
  for (std::int64_t j = lane; j < columns; j += 32) sum += dy[row * columns + j];
  sum = warp_sum(sum);
  for (std::int64_t j = lane; j < columns; j += 32) {
    const std::int64_t i = row * columns + j;
    dx[i] = dy[i] - expf(y[i]) * sum;
  }
}

/// logits: (rows, columns), labels: (rows), dlogits: (rows, columns) or null, loss: (1).
__global__ void __launch_bounds__(loss_threads)
    cross_entropy_kernel(std::int64_t rows, std::int64_t columns, const float* logits, const std::int32_t* labels, LossSums sums,
                         float* loss, float* dlogits) {
  const std::int64_t warps = static_cast<std::int64_t>(gridDim.x) * loss_warps;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const float inverse_rows = 1.0f / static_cast<float>(rows);
  float mine[1] = {0.0f};
  for (std::int64_t row = global_thread() / 32; row < rows; row += warps) {
    const float* z = logits + row * columns;
    const std::int32_t label = labels[row];
    const LogSoftmax log_softmax = row_log_softmax(columns, z, 1.0f, lane);
    mine[0] += row_cross_entropy(columns, z, log_softmax, label);
    if (dlogits == nullptr) continue;
    const float scale = label >= 0 && label < columns ? inverse_rows : 0.0f;
    for (std::int64_t j = lane; j < columns; j += 32)
      dlogits[row * columns + j] = scale == 0.0f ? 0.0f : scale * (expf(log_softmax(z[j])) - (j == label ? 1.0f : 0.0f));
  }
  __shared__ float total[1];
  if (add_up(sums, mine, total) && threadIdx.x == 0) *loss = total[0] * inverse_rows;
}

unsigned row_blocks(std::int64_t rows) { return count(ceil_div(rows, loss_warps)); }

void log_softmax_forward(Stream& stream, std::int64_t rows, std::int64_t columns, const float* x, float* y) {
  if (rows == 0) return;
  launch({stream, "log_softmax.forward", dim3(row_blocks(rows)), dim3(loss_threads)}, log_softmax_forward_kernel, rows, columns,
         x, y);
}

void log_softmax_backward(Stream& stream, std::int64_t rows, std::int64_t columns, const float* y, const float* dy, float* dx) {
  if (rows == 0) return;
  launch({stream, "log_softmax.backward", dim3(row_blocks(rows)), dim3(loss_threads)}, log_softmax_backward_kernel, rows, columns,
         y, dy, dx);
}

void cross_entropy(Stream& stream, std::int64_t rows, std::int64_t columns, const float* logits, const std::int32_t* labels,
                   float* loss, float* dlogits) {
  const unsigned blocks = loss_blocks(rows);
  launch({stream, "cross_entropy.forward", dim3(blocks), dim3(loss_threads)}, cross_entropy_kernel, rows, columns, logits, labels,
         loss_sums(stream, blocks, 1), loss, dlogits);
}

}  // namespace

template <>
void register_softmax<this_device>() {
  KernelTable<LogSoftmaxKernels>::instance().add(this_device, "cuda", 10, {log_softmax_forward, log_softmax_backward});
  KernelTable<CrossEntropyKernels>::instance().add(this_device, "cuda", 10, {cross_entropy});
}

}  // namespace retort
