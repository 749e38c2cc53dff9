// Batch normalisation, fused with ReLU. Contract and formulas: kernels/batch_norm.h.
//
// One block a channel. Training forward: each thread runs Welford's update over its share, the pairs (mean, M2) are merged by
// Chan's formula across the warp and then across the warps, and the second pass over the channel, which is still in the cache,
// writes y. Backward in training, with g = dy (0 where the ReLU was off), xhat = (x - mean) invstd and m = N * spatial:
//   dbeta = sum g, dgamma = sum g xhat, dx = gamma invstd (g - dbeta / m - xhat dgamma / m)
#include "retort/kernels/batch_norm.h"

#include "retort/kernels/cuda/all.h"
#include "retort/kernels/cuda/block.cuh"
#include "retort/kernels/registry.h"

namespace retort {
namespace {

constexpr int threads = 512;
constexpr int warps = threads / 32;

struct Shape {
  std::int64_t n, c, spatial;
  float eps, momentum;
  bool relu;

  __device__ ChannelWalk walk(std::int64_t channel) const { return ChannelWalk(n, c, spatial, channel); }
};

Shape shape_of(const BatchNormShape& s) { return {s.n, s.c, s.spatial, s.eps, s.momentum, s.activation == Activation::relu}; }

struct Moments {
  float count, mean, m2;  // m2: sum of squared distances from the mean
};

__device__ inline void merge(Moments& a, const Moments& b) {
  const float total = a.count + b.count;
  if (b.count == 0.0f) return;
  const float delta = b.mean - a.mean, share = b.count / total;
  a.mean = fmaf(delta, share, a.mean);
  a.m2 += b.m2 + delta * delta * a.count * share;
  a.count = total;
}

/// Lane 0 of the warp gets the warp's moments.
__device__ inline void merge_warp(Moments& mine) {
  for (int distance = 16; distance > 0; distance /= 2) {
    const Moments other{__shfl_down_sync(full_warp, mine.count, distance), __shfl_down_sync(full_warp, mine.mean, distance),
                        __shfl_down_sync(full_warp, mine.m2, distance)};
    merge(mine, other);
  }
}

__device__ inline float activate(float y, bool relu) { return relu && y < 0.0f ? 0.0f : y; }

__global__ void __launch_bounds__(threads)
    train_forward_kernel(const Shape s, const float* x, const float* gamma, const float* beta, float* running_mean,
                         float* running_var, float* mean, float* invstd, float* y) {
  __shared__ Moments of_warp[warps];
  __shared__ float scale, shift;
  const std::int64_t channel = blockIdx.x, count = s.n * s.spatial;
  Moments mine{};
  for (ChannelWalk at = s.walk(channel); at.inside(); at.next()) {
    const float value = x[at.index], delta = value - mine.mean;
    mine.count += 1.0f;
    mine.mean += delta / mine.count;
    mine.m2 = fmaf(delta, value - mine.mean, mine.m2);
  }
  merge_warp(mine);
  if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = mine;
  __syncthreads();
  if (threadIdx.x < 32) {
    mine = threadIdx.x < warps ? of_warp[threadIdx.x] : Moments{};
    merge_warp(mine);
    if (threadIdx.x == 0) {
      const float m = static_cast<float>(count), inverse = 1.0f / sqrtf(mine.m2 / m + s.eps);
      mean[channel] = mine.mean;
      invstd[channel] = inverse;
      scale = gamma[channel] * inverse;
      shift = fmaf(-mine.mean, gamma[channel] * inverse, beta[channel]);
      if (running_mean != nullptr) {
        running_mean[channel] = (1.0f - s.momentum) * running_mean[channel] + s.momentum * mine.mean;
        running_var[channel] = (1.0f - s.momentum) * running_var[channel] + s.momentum * (mine.m2 / (m - 1.0f));
      }
    }
  }
  __syncthreads();
  for (ChannelWalk at = s.walk(channel); at.inside(); at.next()) {
    const std::int64_t i = at.index;
    y[i] = activate(fmaf(x[i], scale, shift), s.relu);
  }
}

/// One value a thread.
template <class Index>
__global__ void __launch_bounds__(256) eval_forward_kernel(const Shape s, const float* x, const float* gamma, const float* beta,
                                                           const float* running_mean, const float* running_var, float* y) {
  const std::int64_t i = global_thread();
  if (i >= s.n * s.c * s.spatial) return;
  const Index channel = static_cast<Index>(i) / static_cast<Index>(s.spatial) % static_cast<Index>(s.c);
  const float scale = gamma[channel] / sqrtf(running_var[channel] + s.eps);
  y[i] = activate(fmaf(x[i] - running_mean[channel], scale, beta[channel]), s.relu);
}

/// `training`: mean and spread are the batch's mean and invstd, on which dx depends; else running_mean and running_var,
/// constants.
template <bool training>
__global__ void __launch_bounds__(threads)
    backward_kernel(const Shape s, const float* x, const float* gamma, const float* mean, const float* spread, const float* y,
                    const float* dy, float* dx, float* dgamma, float* dbeta) {
  __shared__ float sums[2][warps];
  const std::int64_t channel = blockIdx.x, count = s.n * s.spatial;
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
  const float m = static_cast<float>(count), scale = gamma[channel] * inverse;
  const float mean_g = training ? sum_g / m : 0.0f, mean_gx = training ? sum_gx / m : 0.0f;
  for (ChannelWalk at = s.walk(channel); at.inside(); at.next()) {
    const std::int64_t i = at.index;
    dx[i] = scale * (gradient(i) - mean_g - (x[i] - center) * inverse * mean_gx);
  }
}

void forward_train(Stream& stream, const BatchNormShape& s, const float* x, const float* gamma, const float* beta,
                   float* running_mean, float* running_var, float* mean, float* invstd, float* y) {
  if (s.c == 0) return;
  launch({stream, "batch_norm.forward_train", dim3(count(s.c)), dim3(threads)}, train_forward_kernel, shape_of(s), x, gamma, beta,
         running_mean, running_var, mean, invstd, y);
}

void forward_eval(Stream& stream, const BatchNormShape& s, const float* x, const float* gamma, const float* beta,
                  const float* running_mean, const float* running_var, float* y) {
  const std::int64_t n = s.n * s.c * s.spatial;
  if (n == 0) return;
  with_index(n, [&](auto index) {
    launch({stream, "batch_norm.forward_eval", dim3(count(ceil_div(n, 256))), dim3(256)}, eval_forward_kernel<decltype(index)>,
           shape_of(s), x, gamma, beta, running_mean, running_var, y);
  });
}

void backward_train(Stream& stream, const BatchNormShape& s, const float* x, const float* gamma, const float* mean,
                    const float* invstd, const float* y, const float* dy, float* dx, float* dgamma, float* dbeta) {
  if (s.c == 0) return;
  launch({stream, "batch_norm.backward_train", dim3(count(s.c)), dim3(threads)}, backward_kernel<true>, shape_of(s), x, gamma,
         mean, invstd, y, dy, dx, dgamma, dbeta);
}

void backward_eval(Stream& stream, const BatchNormShape& s, const float* x, const float* gamma, const float* running_mean,
                   const float* running_var, const float* y, const float* dy, float* dx, float* dgamma, float* dbeta) {
  if (s.c == 0) return;
  launch({stream, "batch_norm.backward_eval", dim3(count(s.c)), dim3(threads)}, backward_kernel<false>, shape_of(s), x, gamma,
         running_mean, running_var, y, dy, dx, dgamma, dbeta);
}

}  // namespace

template <>
void register_batch_norm<this_device>() {
  KernelTable<BatchNormKernels>::instance().add(this_device, "cuda", 10,
                                                {forward_train, forward_eval, backward_train, backward_eval});
}

}  // namespace retort
