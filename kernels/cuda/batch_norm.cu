// Batch normalisation, fused with ReLU. Contract and formulas: kernels/batch_norm.h.
//
// One block a channel. Training forward: statistics as batch_norm.cuh takes them, and a second pass over the channel, which is
// still in the cache, writes y. Backward in training, with g = dy (0 where the ReLU was off), xhat = (x - mean) invstd and m = N
// * spatial:
//   dbeta = sum g, dgamma = sum g xhat, dx = gamma invstd (g - dbeta / m - xhat dgamma / m)
#include "retort/kernels/batch_norm.h"

#include "retort/kernels/cuda/all.h"
#include "retort/kernels/cuda/batch_norm.cuh"
#include "retort/kernels/registry.h"

namespace retort {
namespace {

__global__ void __launch_bounds__(norm_threads)
    train_forward_kernel(const NormShape s, const float* x, const float* gamma, const float* beta, float* running_mean,
                         float* running_var, float* mean, float* invstd, float* y) {
  const std::int64_t channel = blockIdx.x;
  const float2 statistics = channel_statistics(s, channel, x, running_mean, running_var, mean, invstd);
  const NormAffine affine(gamma[channel], beta[channel], statistics.x, statistics.y);
  for (ChannelWalk at = s.walk(channel); at.inside(); at.next()) {
    const std::int64_t i = at.index;
    y[i] = activate(affine(x[i]), s.relu);
  }
}

/// One value a thread.
template <class Index>
__global__ void __launch_bounds__(256)
    eval_forward_kernel(const NormShape s, const float* x, const float* gamma, const float* beta, const float* running_mean,
                        const float* running_var, float* y) {
  const std::int64_t i = global_thread();
  if (i >= s.n * s.c * s.spatial) return;
  const Index channel = static_cast<Index>(i) / static_cast<Index>(s.spatial) % static_cast<Index>(s.c);
  const float scale = gamma[channel] / sqrtf(running_var[channel] + s.eps);
  y[i] = activate(fmaf(x[i] - running_mean[channel], scale, beta[channel]), s.relu);
}

/// `training`: mean and spread are the batch's mean and invstd, on which dx depends; else running_mean and running_var,
/// constants.
template <bool training>
__global__ void __launch_bounds__(norm_threads)
    backward_kernel(const NormShape s, const float* x, const float* gamma, const float* mean, const float* spread, const float* y,
                    const float* dy, float* dx, float* dgamma, float* dbeta) {
  __shared__ float sums[2][norm_warps];
  const std::int64_t channel = blockIdx.x;
  const float center = mean[channel], inverse = training ? spread[channel] : 1.0f / sqrtf(spread[channel] + s.eps);
  const auto gradient = [&](std::int64_t i) { return s.relu && !(y[i] > 0.0f) ? 0.0f : dy[i]; };
  float sum_g = 0.0f, sum_gx = 0.0f;
  for (ChannelWalk at = s.walk(channel); at.inside(); at.next()) {
    const std::int64_t i = at.index;
    const float g = gradient(i);
    sum_g += g;
    sum_gx = fmaf(g, (x[i] - center) * inverse, sum_gx);
  }
  sum_g = block_sum(sum_g, sums[0]);
  sum_gx = block_sum(sum_gx, sums[1]);
  if (threadIdx.x == 0) {
    if (dbeta != nullptr) dbeta[channel] += sum_g;
    if (dgamma != nullptr) dgamma[channel] += sum_gx;
  }
  if (dx == nullptr) return;
  const float m = s.count(), scale = gamma[channel] * inverse;
  const float mean_g = training ? sum_g / m : 0.0f, mean_gx = training ? sum_gx / m : 0.0f;
  for (ChannelWalk at = s.walk(channel); at.inside(); at.next()) {
    const std::int64_t i = at.index;
    dx[i] = scale * (gradient(i) - mean_g - (x[i] - center) * inverse * mean_gx);
  }
}

void forward_train(Stream& stream, const BatchNormShape& s, const float* x, const float* gamma, const float* beta,
                   float* running_mean, float* running_var, float* mean, float* invstd, float* y) {
  if (s.c == 0) return;
  launch({stream, "batch_norm.forward_train", dim3(count(s.c)), dim3(norm_threads)}, train_forward_kernel, norm_shape(s), x,
         gamma, beta, running_mean, running_var, mean, invstd, y);
}

void forward_eval(Stream& stream, const BatchNormShape& s, const float* x, const float* gamma, const float* beta,
                  const float* running_mean, const float* running_var, float* y) {
  const std::int64_t n = s.n * s.c * s.spatial;
  if (n == 0) return;
  with_index(n, [&](auto index) {
    launch({stream, "batch_norm.forward_eval", dim3(count(ceil_div(n, 256))), dim3(256)}, eval_forward_kernel<decltype(index)>,
           norm_shape(s), x, gamma, beta, running_mean, running_var, y);
  });
}

void backward_train(Stream& stream, const BatchNormShape& s, const float* x, const float* gamma, const float* mean,
                    const float* invstd, const float* y, const float* dy, float* dx, float* dgamma, float* dbeta) {
  if (s.c == 0) return;
  launch({stream, "batch_norm.backward_train", dim3(count(s.c)), dim3(norm_threads)}, backward_kernel<true>, norm_shape(s), x,
         gamma, mean, invstd, y, dy, dx, dgamma, dbeta);
}

void backward_eval(Stream& stream, const BatchNormShape& s, const float* x, const float* gamma, const float* running_mean,
                   const float* running_var, const float* y, const float* dy, float* dx, float* dgamma, float* dbeta) {
  if (s.n * s.c * s.spatial == 0) return;  // no dx, and nothing to add
  launch({stream, "batch_norm.backward_eval", dim3(count(s.c)), dim3(norm_threads)}, backward_kernel<false>, norm_shape(s), x,
         gamma, running_mean, running_var, y, dy, dx, dgamma, dbeta);
}

}  // namespace

template <>
void register_batch_norm<this_device>() {
  KernelTable<BatchNormKernels>::instance().add(this_device, "cuda", 10,
                                                {forward_train, forward_eval, backward_train, backward_eval});
}

}  // namespace retort
