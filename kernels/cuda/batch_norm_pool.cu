// Batch normalisation, ReLU and max pooling for training. Contract: kernels/batch_norm_pool.h.
//
// One block a channel. Backward, with g = dy at the element that won the window (0 where the ReLU was off), xhat = (x - mean)
// invstd and m = N H W:
//   dbeta = sum g, dgamma = sum g xhat, dx = gamma invstd (g - dbeta / m - xhat dgamma / m)
//
// MTL-net's planes are lines cut into pairs. A thread keeps its pairs of the channel in registers, so memory is read once and the
// passes over the channel (mean, variance, outputs; sums, dx) are passes over registers.
//
// Planes and windows of any size, and channels too large for that: forward takes the statistics as batch_norm.cuh does, then one
// output a thread. Backward's sums take one window a thread; dx takes one element a thread and gathers from the windows that hold
// it, so overlapping windows need no atomics. The second pass finds x in the cache.
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
  __device__ int width() const { return KernelW != 0 ? KernelW : s.kernel_w; }
  /// No two windows share an element.
  __device__ bool apart() const { return height() <= s.stride_h && width() <= s.stride_w && s.oh > 0 && s.ow > 0; }

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

// ---- lines cut into pairs

/// A thread's pairs of one channel of an (n, channels, pairs of a line) array, one after another; as ChannelWalk, in 32 bits:
///   PairWalk at(s, channel); for (int i = 0; i < kept_pairs; ++i, at.next()) if (at.inside()) ... x[at.index()] ...
class PairWalk {
 public:
  __device__ PairWalk(const NormShape& s, int channel)
      : pairs_(static_cast<unsigned>(s.spatial) / 2),
        left_(static_cast<int>(static_cast<unsigned>(s.n) * pairs_) - static_cast<int>(threadIdx.x)),
        inner_(threadIdx.x % pairs_),
        step_inner_(norm_threads % pairs_) {
    const unsigned of_sample = static_cast<unsigned>(s.c) * pairs_;
    index_ = threadIdx.x / pairs_ * of_sample + static_cast<unsigned>(channel) * pairs_ + inner_;
    step_ = norm_threads / pairs_ * of_sample + step_inner_, wrap_ = of_sample - pairs_;
  }
  __device__ bool inside() const { return left_ > 0; }
  __device__ unsigned index() const { return index_; }
  __device__ void next() {
    left_ -= norm_threads;
    index_ += step_, inner_ += step_inner_;
    if (inner_ >= pairs_) inner_ -= pairs_, index_ += wrap_;
  }

 private:
  unsigned pairs_;               // of a line
  int left_;                     // of the channel, from this one on
  unsigned inner_, step_inner_;  // within the line
  unsigned index_, step_, wrap_;
};

/// The second of a pair wins over the first.
__device__ inline bool second_wins(float first, float second) { return second > first || (second != second && first == first); }

/// Two block_sums for the barrier of one. `shared`: norm_warps of them.
__device__ inline float2 block_sums(float a, float b, float2* shared) {
  for (int distance = 16; distance > 0; distance /= 2) {
    a += __shfl_xor_sync(full_warp, a, distance);
    b += __shfl_xor_sync(full_warp, b, distance);
  }
  if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = make_float2(a, b);
  __syncthreads();
  const float2 of_warp = shared[threadIdx.x % norm_warps];
  a = of_warp.x, b = of_warp.y;
  for (int distance = norm_warps / 2; distance > 0; distance /= 2) {
    a += __shfl_xor_sync(full_warp, a, distance);
    b += __shfl_xor_sync(full_warp, b, distance);
  }
  return make_float2(a, b);
}

/// `kept_pairs`: of a thread, at most. mean = sum x / m, variance = sum (x - mean)^2 / m. x: (n, channels, pairs of a line), y
/// the same.
template <int kept_pairs>
__global__ void __launch_bounds__(norm_threads)
    pairs_forward_kernel(const NormShape s, const float2* x, const float* gamma, const float* beta, float* running_mean,
                         float* running_var, float* mean, float* invstd, float* y) {
  __shared__ float warps[2][norm_warps];
  const int channel = static_cast<int>(blockIdx.x);
  const bool writes = threadIdx.x == 0, tracked = writes && running_mean != nullptr;
  const float scale = gamma[channel], shift = beta[channel];
  const float mean_before = tracked ? running_mean[channel] : 0.0f, var_before = tracked ? running_var[channel] : 0.0f;
  float2 value[kept_pairs];
  const PairWalk begin(s, channel);
  PairWalk at = begin;
#pragma unroll
  for (int i = 0; i < kept_pairs; ++i, at.next()) value[i] = at.inside() ? x[at.index()] : make_float2(0.0f, 0.0f);
  float sum = 0.0f;
#pragma unroll
  for (int i = 0; i < kept_pairs; ++i) sum += value[i].x + value[i].y;
  const float m = s.count(), center = block_sum(sum, warps[0]) / m;
  float squares = 0.0f;
  at = begin;
#pragma unroll
  for (int i = 0; i < kept_pairs; ++i, at.next()) {
    const float first = value[i].x - center, second = value[i].y - center;
    if (at.inside()) squares = fmaf(first, first, fmaf(second, second, squares));
  }
  squares = block_sum(squares, warps[1]);
  const float inverse = 1.0f / sqrtf(squares / m + s.eps);
  const NormAffine affine(scale, shift, center, inverse);
  at = begin;
#pragma unroll
  for (int i = 0; i < kept_pairs; ++i, at.next()) {
    const float first = affine(value[i].x), second = affine(value[i].y);
    if (at.inside()) y[at.index()] = activate(second_wins(first, second) ? second : first, s.relu);
  }
  if (!writes) return;
  mean[channel] = center;
  invstd[channel] = inverse;
  if (!tracked) return;
  running_mean[channel] = (1.0f - s.momentum) * mean_before + s.momentum * center;
  running_var[channel] = (1.0f - s.momentum) * var_before + s.momentum * (squares / (m - 1.0f));
}

/// The gradients above; x, dx: (n, channels, pairs of a line), dy the same.
template <int kept_pairs>
__global__ void __launch_bounds__(norm_threads)
    pairs_backward_kernel(const NormShape s, const float2* x, const float* gamma, const float* beta, const float* mean,
                          const float* invstd, const float* dy, float2* dx, float* dgamma, float* dbeta) {
  __shared__ float2 warps[norm_warps];
  const int channel = static_cast<int>(blockIdx.x);
  const bool writes = threadIdx.x == 0;
  const float gamma_before = writes && dgamma != nullptr ? dgamma[channel] : 0.0f,
              beta_before = writes && dbeta != nullptr ? dbeta[channel] : 0.0f;
  const float center = mean[channel], inverse = invstd[channel];
  const NormAffine affine(gamma[channel], beta[channel], center, inverse);
  float2 value[kept_pairs];
  float g[kept_pairs];
  const PairWalk begin(s, channel);
  PairWalk at = begin;
#pragma unroll
  for (int i = 0; i < kept_pairs; ++i, at.next()) {
    value[i] = at.inside() ? x[at.index()] : make_float2(0.0f, 0.0f);
    g[i] = at.inside() ? dy[at.index()] : 0.0f;
  }
  float sum_g = 0.0f, sum_gx = 0.0f;
#pragma unroll
  for (int i = 0; i < kept_pairs; ++i) {
    const float first = affine(value[i].x), second = affine(value[i].y);
    const bool wins = second_wins(first, second);
    if (s.relu && !((wins ? second : first) > 0.0f)) g[i] = 0.0f;
    sum_g += g[i];
    sum_gx = fmaf(g[i], ((wins ? value[i].y : value[i].x) - center) * inverse, sum_gx);
  }
  const float2 sums = block_sums(sum_g, sum_gx, warps);
  if (dx != nullptr) {
    const float m = s.count(), mean_g = sums.x / m, mean_gx = sums.y / m;
    at = begin;
#pragma unroll
    for (int i = 0; i < kept_pairs; ++i, at.next()) {
      const bool wins = second_wins(affine(value[i].x), affine(value[i].y));
      const float first = (wins ? 0.0f : g[i]) - mean_g - (value[i].x - center) * inverse * mean_gx,
                  second = (wins ? g[i] : 0.0f) - mean_g - (value[i].y - center) * inverse * mean_gx;
      if (at.inside()) dx[at.index()] = make_float2(affine.scale * first, affine.scale * second);
    }
  }
  if (writes && dgamma != nullptr) dgamma[channel] = gamma_before + sums.y;
  if (writes && dbeta != nullptr) dbeta[channel] = beta_before + sums.x;
}

bool is_pair(const MaxPool2dShape& s) { return s.kernel_h == 1 && s.kernel_w == 2; }

/// How many pairs a thread keeps if the kernels above take these planes, else 0. x and dx (or null) must be aligned for pairs.
int pairs_to_keep(const MaxPool2dShape& s, const float* x, const float* dx) {
  const auto in_pairs = [](const float* data) { return reinterpret_cast<std::uintptr_t>(data) % 8 == 0; };
  const bool pairs_of_lines = s.h == 1 && s.w % 2 == 0 && is_pair(s) && s.stride_w == 2 && s.n * s.w > 0;
  if (!pairs_of_lines || !in_pairs(x) || !in_pairs(dx) || s.n * s.c * s.w >= (std::int64_t{1} << 32)) return 0;
  const std::int64_t pairs = ceil_div(s.n * s.w / 2, norm_threads);
  return pairs <= 3 ? 3 : pairs <= 6 ? 6 : pairs <= 12 ? 12 : 0;
}

/// Calls use with std::integral_constant<int, kept>; false if kept is 0.
template <class Use>
bool with_kept_pairs(int kept, Use&& use) {
  if (kept == 3) use(std::integral_constant<int, 3>());
  if (kept == 6) use(std::integral_constant<int, 6>());
  if (kept == 12) use(std::integral_constant<int, 12>());
  return kept != 0;
}

PoolShape pool_shape(const MaxPool2dShape& s) {
  check(s.h * s.w < (std::int64_t{1} << 31), "batch_norm_pool: a plane of {} x {} has more than 2^31 elements", s.h, s.w);
  const auto as = [](std::int64_t i) { return static_cast<int>(i); };
  return {as(s.h), as(s.w), as(s.kernel_h), as(s.kernel_w), as(s.stride_h), as(s.stride_w), as(s.oh()), as(s.ow())};
}

void forward_train(Stream& stream, const BatchNormPoolShape& z, const float* x, const float* gamma, const float* beta,
                   float* running_mean, float* running_var, float* mean, float* invstd, float* y) {
  if (z.pool.c == 0) return;
  const LaunchConfig config{stream, "batch_norm_pool.forward_train", dim3(count(z.pool.c)), dim3(norm_threads)};
  if (with_kept_pairs(pairs_to_keep(z.pool, x, nullptr), [&](auto kept) {
        launch(config, pairs_forward_kernel<kept>, norm_shape(z.norm()), reinterpret_cast<const float2*>(x), gamma, beta,
               running_mean, running_var, mean, invstd, y);
      }))
    return;
  const auto kernel = is_pair(z.pool) ? forward_kernel<1, 2> : forward_kernel<0, 0>;
  launch(config, kernel, norm_shape(z.norm()), pool_shape(z.pool), x, gamma, beta, running_mean, running_var, mean, invstd, y);
}

void backward_train(Stream& stream, const BatchNormPoolShape& z, const float* x, const float* gamma, const float* beta,
                    const float* mean, const float* invstd, const float* dy, float* dx, float* dgamma, float* dbeta) {
  if (z.pool.c == 0) return;
  const LaunchConfig config{stream, "batch_norm_pool.backward_train", dim3(count(z.pool.c)), dim3(norm_threads)};
  if (with_kept_pairs(pairs_to_keep(z.pool, x, dx), [&](auto kept) {
        launch(config, pairs_backward_kernel<kept>, norm_shape(z.norm()), reinterpret_cast<const float2*>(x), gamma, beta, mean,
               invstd, dy, reinterpret_cast<float2*>(dx), dgamma, dbeta);
      }))
    return;
  const auto kernel = is_pair(z.pool) ? backward_kernel<1, 2> : backward_kernel<0, 0>;
  launch(config, kernel, norm_shape(z.norm()), pool_shape(z.pool), x, gamma, beta, mean, invstd, dy, dx, dgamma, dbeta);
}

}  // namespace

template <>
void register_batch_norm_pool<this_device>() {
  KernelTable<BatchNormPoolKernels>::instance().add(this_device, "cuda", 10, {forward_train, backward_train});
}

}  // namespace retort
