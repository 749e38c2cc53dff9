// Batch normalisation, ReLU and max pooling for training, one task a channel: statistics first, then plane by plane. A normalised
// plane lives in the thread's scratch memory and is pooled there. Backward makes it again to find who won each window; the
// gradient in front of the pooling is held in dx, which it becomes.
#include "retort/kernels/batch_norm_pool.h"

#include "retort/kernels/cpu/batch_norm_channel.h"
#include "retort/kernels/cpu/max_pool_plane.h"
#include "retort/kernels/cpu/register.h"
#include "retort/kernels/thread_team.h"

#include <algorithm>

namespace retort::eigen {
namespace {

constexpr std::int64_t round(std::int64_t n) { return (n + 15) / 16 * 16; }

void forward_train(Stream& stream, const BatchNormPoolShape& z, const float* x, const float* gamma, const float* beta,
                   float* running_mean, float* running_var, float* mean, float* invstd, float* y) {
  const BatchNormShape norm = z.norm();
  const std::int64_t outputs = z.pool.oh() * z.pool.ow(), own = round(norm.spatial);
  const auto pool = plane_function<false>(z.pool);
  ThreadTeam& team = stream.threads();
  auto* planes = static_cast<float*>(stream.scratch(static_cast<std::size_t>(team.size() * own) * sizeof(float)));
  team.run(norm.c, [&](std::int64_t c, int thread) {
    channel_statistics(norm, c, x, running_mean, running_var, mean, invstd);
    float* plane = planes + thread * own;
    for_each_row(norm, c, [&](std::int64_t at) {
      normalize_row(norm.spatial, norm.activation, x + at, mean[c], gamma[c] * invstd[c], beta[c], plane);
      pool(z.pool, plane, y + at / norm.spatial * outputs, nullptr);
    });
  });
}

/// A thread's scratch memory in backward: a normalised plane, the gradient in front of the pooling, the pooled plane, who won.
struct Work {
  float *plane, *gradient, *y;
  std::int32_t* argmax;

  static std::int64_t floats(const BatchNormPoolShape& z) {
    return 2 * round(z.pool.h * z.pool.w) + 2 * round(z.pool.oh() * z.pool.ow());
  }
  Work(const BatchNormPoolShape& z, float* memory)
      : plane(memory),
        gradient(plane + round(z.pool.h * z.pool.w)),
        y(gradient + round(z.pool.h * z.pool.w)),
        argmax(reinterpret_cast<std::int32_t*>(y + round(z.pool.oh() * z.pool.ow()))) {}
};

/// The gradient in front of the pooling, of one plane, and what it adds to the sums over the channel.
struct UnpoolPlane {
  const BatchNormPoolShape& z;
  float mean, scale, beta;

  /// Any windows: the plane is normalised and pooled again.
  void operator()(const Work& work, const float* x, const float* dy, float* gradient, GradientSums& sums) const {
    const std::int64_t size = z.pool.h * z.pool.w, outputs = z.pool.oh() * z.pool.ow();
    normalize_row(size, z.activation, x, mean, scale, beta, work.plane);
    plane_function<true>(z.pool)(z.pool, work.plane, work.y, work.argmax);
    std::fill(gradient, gradient + size, 0.0f);
    for (std::int64_t i = 0; i < outputs; ++i)
      if (z.activation == Activation::none || work.y[i] > 0) gradient[work.argmax[i]] += dy[i];
    sums.add_row<false>(size, x, mean, nullptr, gradient);
  }

  /// Windows of two neighbours, side by side: MTL-net's. They need neither a plane nor indices.
  template <bool relu>
  void pairs(const float* x, const float* dy, float* gradient, GradientSums& sums) const {
    const std::int64_t ow = z.pool.ow();
    std::fill(gradient, gradient + z.pool.h * z.pool.w, 0.0f);
    for (std::int64_t o = 0; o < z.pool.oh();
         ++o, x += z.pool.stride_h * z.pool.w, gradient += z.pool.stride_h * z.pool.w, dy += ow) {
      float sum = 0, dot = 0;
#pragma omp simd reduction(+ : sum, dot)
      for (std::int64_t i = 0; i < ow; ++i) {
        const float first = normalized(x[2 * i], mean, scale, beta), second = normalized(x[2 * i + 1], mean, scale, beta);
        const bool later = (second > first) | ((second != second) & (first == first));
        const float g = !relu || (later ? second : first) > 0 ? dy[i] : 0.0f;
        gradient[2 * i] = later ? 0.0f : g;
        gradient[2 * i + 1] = later ? g : 0.0f;
        sum += g;
        dot += g * ((later ? x[2 * i + 1] : x[2 * i]) - mean);
      }
      sums.sum += sum;
      sums.dot += dot;
    }
  }
};

void backward_channel(const BatchNormPoolShape& z, const Work& work, std::int64_t c, const float* x, const float* gamma,
                      const float* beta, float mean, float invstd, const float* dy, float* dx, float* dgamma, float* dbeta) {
  const BatchNormShape norm = z.norm();
  const std::int64_t outputs = z.pool.oh() * z.pool.ow();
  const bool pairs = z.pool.kernel_h == 1 && z.pool.kernel_w == 2 && z.pool.stride_w == 2;
  const UnpoolPlane unpool{z, mean, gamma[c] * invstd, beta[c]};
  GradientSums sums;
  for_each_row(norm, c, [&](std::int64_t at) {
    const float* from = dy + at / norm.spatial * outputs;
    float* gradient = dx != nullptr ? dx + at : work.gradient;
    if (!pairs)
      unpool(work, x + at, from, gradient, sums);
    else if (z.activation == Activation::relu)
      unpool.pairs<true>(x + at, from, gradient, sums);
    else
      unpool.pairs<false>(x + at, from, gradient, sums);
  });
  if (dbeta != nullptr) dbeta[c] += static_cast<float>(sums.sum);
  if (dgamma != nullptr) dgamma[c] += static_cast<float>(sums.dot * invstd);
  if (dx == nullptr) return;
  const InputGradient through(norm, true, sums, mean, gamma[c], invstd);
  for_each_row(norm, c, [&](std::int64_t at) { through.write_row<false>(norm.spatial, x + at, nullptr, dx + at, dx + at); });
}

void backward_train(Stream& stream, const BatchNormPoolShape& z, const float* x, const float* gamma, const float* beta,
                    const float* mean, const float* invstd, const float* dy, float* dx, float* dgamma, float* dbeta) {
  ThreadTeam& team = stream.threads();
  const std::int64_t own = Work::floats(z);
  auto* memory = static_cast<float*>(stream.scratch(static_cast<std::size_t>(team.size() * own) * sizeof(float)));
  team.run(z.pool.c, [&](std::int64_t c, int thread) {
    backward_channel(z, Work(z, memory + thread * own), c, x, gamma, beta, mean[c], invstd[c], dy, dx, dgamma, dbeta);
  });
}

}  // namespace

void register_batch_norm_pool() { add(BatchNormPoolKernels{forward_train, backward_train}); }

}  // namespace retort::eigen
