// Batch normalisation, ReLU and max pooling for training. Contract: kernels/batch_norm_pool.h.
//
// One block a channel. Forward: statistics as batch_norm.cuh takes them, then one output a thread. Backward, with g = dy at the
// element that won the window (0 where the ReLU was off), xhat = (x - mean) invstd and m = N H W:
//   dbeta = sum g, dgamma = sum g xhat, dx = gamma invstd (g - dbeta / m - xhat dgamma / m)
// The sums take one window a thread. dx takes one element a thread and gathers from the windows that hold it, so overlapping
// windows need no atomics. The second pass finds x in the cache.
#include "retort/kernels/batch_norm_pool.h"

#include "retort/kernels/cuda/all.h"
#include "retort/kernels/cuda/batch_norm.cuh"
#include "retort/kernels/registry.h"

namespace retort {
namespace {

struct PoolShape {
  int h, w, kernel_h, kernel_w, stride_h, stride_w, oh, ow;
};

/// Element of a plane with the window's largest normalised value.
struct Winner {
  int index;
  float value;
};

/// Kernel: the window's size where the compiler knows it ((1, 2), MTL-net's), else 0.
template <int KernelH, int KernelW>
struct Windows {
  PoolShape s;
  NormAffine affine;

  __device__ int height() const { return KernelH != 0 ? KernelH : s.kernel_h; }
  __device__ int width() const { return KernelW != 0 ? KernelW : s.kernel_w; }

  __device__ Winner winner(const float* plane, int oh, int ow) const {
    const int top = oh * s.stride_h * s.w + ow * s.stride_w;
    Winner best{top, affine(plane[top])};
    for (int r = 0; r < height(); ++r)
      for (int c = 0; c < width(); ++c) {
        const int i = top + r * s.w + c;
        const float value = affine(plane[i]);
        const bool first_nan = value != value && best.value == best.value;
        if (value > best.value || first_nan) best = {i, value};
      }
    return best;
  }

  /// What reaches element i of the plane; dy: the pooled plane's gradient.
  __device__ float gradient(const float* plane, const float* dy, int i, bool relu) const {
    const int h = i / s.w, w = i % s.w;
    // Windows oh with oh * stride <= h < oh * stride + kernel.
    const int first_h = h < height() ? 0 : (h - height()) / s.stride_h + 1;
    const int first_w = w < width() ? 0 : (w - width()) / s.stride_w + 1;
    float sum = 0.0f;
    for (int oh = first_h; oh < s.oh && oh * s.stride_h <= h; ++oh)
      for (int ow = first_w; ow < s.ow && ow * s.stride_w <= w; ++ow) {
        const Winner best = winner(plane, oh, ow);
        if (best.index == i && (!relu || best.value > 0.0f)) sum += dy[oh * s.ow + ow];
      }
    return sum;
  }
};

template <int KernelH, int KernelW>
__global__ void __launch_bounds__(norm_threads)
    forward_kernel(const NormShape s, const PoolShape pool, const float* x, const float* gamma, const float* beta,
                   float* running_mean, float* running_var, float* mean, float* invstd, float* y) {
  const std::int64_t channel = blockIdx.x;
  const float2 statistics = channel_statistics(s, channel, x, running_mean, running_var, mean, invstd);
  const Windows<KernelH, KernelW> windows{pool, NormAffine(gamma[channel], beta[channel], statistics.x, statistics.y)};
  for (ChannelWalk at(s.n, s.c, pool.oh * pool.ow, channel); at.inside(); at.next()) {
    const int i = static_cast<int>(at.inner());
    const float* plane = x + (at.sample() * s.c + channel) * s.spatial;
    y[at.index] = activate(windows.winner(plane, i / pool.ow, i % pool.ow).value, s.relu);
  }
}

template <int KernelH, int KernelW>
__global__ void __launch_bounds__(norm_threads)
    backward_kernel(const NormShape s, const PoolShape pool, const float* x, const float* gamma, const float* beta,
                    const float* mean, const float* invstd, const float* dy, float* dx, float* dgamma, float* dbeta) {
  __shared__ float sums[2][norm_warps];
  const std::int64_t channel = blockIdx.x;
  const float center = mean[channel], inverse = invstd[channel];
  const Windows<KernelH, KernelW> windows{pool, NormAffine(gamma[channel], beta[channel], center, inverse)};
  const std::int64_t outputs = pool.oh * pool.ow;
  float sum_g = 0.0f, sum_gx = 0.0f;
  for (ChannelWalk at(s.n, s.c, outputs, channel); at.inside(); at.next()) {
    const int i = static_cast<int>(at.inner());
    const float* plane = x + (at.sample() * s.c + channel) * s.spatial;
    const Winner best = windows.winner(plane, i / pool.ow, i % pool.ow);
    const float g = s.relu && !(best.value > 0.0f) ? 0.0f : dy[at.index];
    sum_g += g;
    sum_gx = fmaf(g, (plane[best.index] - center) * inverse, sum_gx);
  }
  sum_g = block_sum(sum_g, sums[0]);
  sum_gx = block_sum(sum_gx, sums[1]);
  if (threadIdx.x == 0) {
    if (dbeta != nullptr) dbeta[channel] += sum_g;
    if (dgamma != nullptr) dgamma[channel] += sum_gx;
  }
  if (dx == nullptr) return;
  const float m = s.count(), mean_g = sum_g / m, mean_gx = sum_gx / m;
  for (ChannelWalk at = s.walk(channel); at.inside(); at.next()) {
    const int i = static_cast<int>(at.inner());
    const std::int64_t plane = at.sample() * s.c + channel;
    const float g = windows.gradient(x + plane * s.spatial, dy + plane * outputs, i, s.relu);
    dx[at.index] = windows.affine.scale * (g - mean_g - (x[at.index] - center) * inverse * mean_gx);
  }
}

PoolShape pool_shape(const MaxPool2dShape& s) {
  check(s.h * s.w < (std::int64_t{1} << 31), "batch_norm_pool: a plane of {} x {} has more than 2^31 elements", s.h, s.w);
  const auto as = [](std::int64_t i) { return static_cast<int>(i); };
  return {as(s.h), as(s.w), as(s.kernel_h), as(s.kernel_w), as(s.stride_h), as(s.stride_w), as(s.oh()), as(s.ow())};
}

bool is_pair(const MaxPool2dShape& s) { return s.kernel_h == 1 && s.kernel_w == 2; }

void forward_train(Stream& stream, const BatchNormPoolShape& z, const float* x, const float* gamma, const float* beta,
                   float* running_mean, float* running_var, float* mean, float* invstd, float* y) {
  if (z.pool.c == 0) return;
  const auto kernel = is_pair(z.pool) ? forward_kernel<1, 2> : forward_kernel<0, 0>;
  launch({stream, "batch_norm_pool.forward_train", dim3(count(z.pool.c)), dim3(norm_threads)}, kernel, norm_shape(z.norm()),
         pool_shape(z.pool), x, gamma, beta, running_mean, running_var, mean, invstd, y);
}

void backward_train(Stream& stream, const BatchNormPoolShape& z, const float* x, const float* gamma, const float* beta,
                    const float* mean, const float* invstd, const float* dy, float* dx, float* dgamma, float* dbeta) {
  if (z.pool.c == 0) return;
  const auto kernel = is_pair(z.pool) ? backward_kernel<1, 2> : backward_kernel<0, 0>;
  launch({stream, "batch_norm_pool.backward_train", dim3(count(z.pool.c)), dim3(norm_threads)}, kernel, norm_shape(z.norm()),
         pool_shape(z.pool), x, gamma, beta, mean, invstd, dy, dx, dgamma, dbeta);
}

}  // namespace

template <>
void register_batch_norm_pool<this_device>() {
  KernelTable<BatchNormPoolKernels>::instance().add(this_device, "cuda", 10, {forward_train, backward_train});
}

}  // namespace retort
