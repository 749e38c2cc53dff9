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
  float value, x;  // normalised, and as it was
};

__device__ inline int smaller(int a, int b) { return a < b ? a : b; }

/// Kernel: the window's size where the compiler knows it ((1, 2), MTL-net's), else 0.
template <int KernelH, int KernelW>
struct Windows {
  PoolShape s;
  NormAffine affine;

  __device__ int height() const { return KernelH != 0 ? KernelH : s.kernel_h; }
  /// No two windows share an element.
  __device__ bool apart() const { return height() <= s.stride_h && width() <= s.stride_w && s.oh > 0 && s.ow > 0; }
  __device__ int width() const { return KernelW != 0 ? KernelW : s.kernel_w; }

  __device__ Winner winner(const float* plane, int oh, int ow) const {
    const int top = oh * s.stride_h * s.w + ow * s.stride_w;
    Winner best{top, affine(plane[top]), plane[top]};
    for (int r = 0; r < height(); ++r)
      for (int c = 0; c < width(); ++c) {
        const int i = top + r * s.w + c;
        const float value = affine(plane[i]);
        const bool first_nan = value != value && best.value == best.value;
        if (value > best.value || first_nan) best = {i, value, plane[i]};
      }
    return best;
  }

  /// What reaches element i of the plane; dy: the pooled plane's gradient.
  template <bool are_apart>
  __device__ float gradient(const float* plane, const float* dy, int i, bool relu) const {
    const int h = i / s.w, w = i % s.w;
    if constexpr (are_apart) {  // the nearest window wins i or another, without branches
      const int oh = smaller(h / s.stride_h, s.oh - 1), ow = smaller(w / s.stride_w, s.ow - 1);
      const Winner best = winner(plane, oh, ow);
      const float g = dy[oh * s.ow + ow];
      return best.index == i && (!relu || best.value > 0.0f) ? g : 0.0f;
    }
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
  for_each_of(
      ChannelWalk(s.n, s.c, pool.oh * pool.ow, channel),
      [&](const ChannelWalk& at) {
        const int i = static_cast<int>(at.inner());
        return windows.winner(x + (at.sample() * s.c + channel) * s.spatial, i / pool.ow, i % pool.ow).value;
      },
      [&](std::int64_t index, float value) { y[index] = activate(value, s.relu); });
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
  for_each_of(
      ChannelWalk(s.n, s.c, outputs, channel),
      [&](const ChannelWalk& at) {
        const int i = static_cast<int>(at.inner());
        const float* plane = x + (at.sample() * s.c + channel) * s.spatial;
        const float g = dy[at.index];
        const Winner best = windows.winner(plane, i / pool.ow, i % pool.ow);
        return make_float2(s.relu && !(best.value > 0.0f) ? 0.0f : g, best.x);
      },
      [&](std::int64_t, const float2& of_window) {
        sum_g += of_window.x;
        sum_gx = fmaf(of_window.x, (of_window.y - center) * inverse, sum_gx);
      });
  sum_g = block_sum(sum_g, sums[0]);
  sum_gx = block_sum(sum_gx, sums[1]);
  if (threadIdx.x == 0) {
    if (dbeta != nullptr) dbeta[channel] += sum_g;
    if (dgamma != nullptr) dgamma[channel] += sum_gx;
  }
  if (dx == nullptr) return;
  const float m = s.count(), mean_g = sum_g / m, mean_gx = sum_gx / m;
  const auto write_dx = [&](auto are_apart) {
    for_each_of(
        s.walk(channel),
        [&](const ChannelWalk& at) {
          const std::int64_t plane = at.sample() * s.c + channel;
          const int i = static_cast<int>(at.inner());
          const float g = windows.template gradient<are_apart>(x + plane * s.spatial, dy + plane * outputs, i, s.relu);
          return g - mean_g - (x[at.index] - center) * inverse * mean_gx;
        },
        [&](std::int64_t index, float value) { dx[index] = windows.affine.scale * value; });
  };
  if (windows.apart())
    write_dx(std::true_type{});
  else
    write_dx(std::false_type{});
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
