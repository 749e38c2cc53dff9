// What batch normalisation does to one channel with one block of threads: each thread runs Welford's update over its share, the
// pairs (mean, M2) are merged by Chan's formula across the warp and then across the warps. Contract: kernels/batch_norm.h.
#pragma once

#include "retort/kernels/batch_norm.h"

#include "retort/kernels/cuda/block.cuh"

namespace retort {
namespace {

constexpr int norm_threads = 512;
constexpr int norm_warps = norm_threads / 32;

struct NormShape {
  std::int64_t n, c, spatial;
  float eps, momentum;
  bool relu;

  __device__ ChannelWalk walk(std::int64_t channel) const { return ChannelWalk(n, c, spatial, channel); }
  __device__ float count() const { return static_cast<float>(n * spatial); }
};

inline NormShape norm_shape(const BatchNormShape& s) {
  return {s.n, s.c, s.spatial, s.eps, s.momentum, s.activation == Activation::relu};
}

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

/// y = x * scale + shift. In one place, so that backward finds the forward's bits again.
struct NormAffine {
  __device__ NormAffine(float gamma, float beta, float mean, float inverse)
      : scale(gamma * inverse), shift(fmaf(-mean, gamma * inverse, beta)) {}
  __device__ float operator()(float x) const { return fmaf(x, scale, shift); }
  float scale, shift;
};

/// The batch's statistics of a channel, which thread 0 also writes down, and the running ones. All threads of the block call it
/// and get (mean, 1 / deviation).
__device__ inline float2 channel_statistics(const NormShape& s, std::int64_t channel, const float* x, float* running_mean,
                                            float* running_var, float* mean, float* invstd) {
  __shared__ Moments of_warp[norm_warps];
  __shared__ float2 result;
  Moments mine{};
  for_each_of(
      s.walk(channel), [&](const ChannelWalk& at) { return x[at.index]; },
      [&](std::int64_t, float value) {
        const float delta = value - mine.mean;
        mine.count += 1.0f;
        mine.mean += delta / mine.count;
        mine.m2 = fmaf(delta, value - mine.mean, mine.m2);
      });
  merge_warp(mine);
  if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = mine;
  __syncthreads();
  if (threadIdx.x < 32) {
    mine = threadIdx.x < norm_warps ? of_warp[threadIdx.x] : Moments{};
    merge_warp(mine);
    if (threadIdx.x == 0) {
      const float m = s.count(), inverse = 1.0f / sqrtf(mine.m2 / m + s.eps);
      mean[channel] = mine.mean;
      invstd[channel] = inverse;
      result = make_float2(mine.mean, inverse);
      if (running_mean != nullptr) {
        running_mean[channel] = (1.0f - s.momentum) * running_mean[channel] + s.momentum * mine.mean;
        running_var[channel] = (1.0f - s.momentum) * running_var[channel] + s.momentum * (mine.m2 / (m - 1.0f));
      }
    }
  }
  __syncthreads();
  return result;
}

}  // namespace
}  // namespace retort
