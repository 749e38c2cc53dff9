// Batch normalisation, ReLU and pooling over pairs (pairs-inl.h) for training, one task a channel: batch_norm-inl.h says how a
// channel is read. After the statistics, forward takes the pairs from the cache and writes only their larger elements. Backward
// works out twice who won each pair: for the sums over the channel, and to write dx. All other shapes go to the Eigen kernels.
#include "retort/kernels/batch_norm_pool.h"

#include "retort/kernels/simd/register.h"
#include "retort/kernels/simd/targets.h"
#include "retort/kernels/thread_team.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "retort/kernels/simd/batch_norm_pool.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "retort/kernels/simd/batch_norm-inl.h"
#include "retort/kernels/simd/pairs-inl.h"

HWY_BEFORE_NAMESPACE();
namespace retort::simd {
namespace HWY_NAMESPACE {

#if HWY_TARGET == HWY_SCALAR || HWY_TARGET == HWY_EMU128
BatchNormPoolKernels batch_norm_pool_kernels() { return {}; }
#else

/// One channel: its planes, and its pooled planes.
struct PooledChannel {
  PooledChannel(const BatchNormPoolShape& z, std::int64_t c)
      : in(z.norm(), c),
        out({z.pool.n, z.pool.c, z.pool.oh() * z.pool.ow()}, c),
        oh(z.pool.oh()),
        ow(z.pool.ow()),
        h(z.pool.h),
        w(z.pool.w),
        stride_h(z.pool.stride_h) {}

  /// Positions of a pooled row and of the row that it comes from.
  std::int64_t out_row(std::int64_t n, std::int64_t o) const { return out.first + n * out.stride + o * ow; }
  std::int64_t in_row(std::int64_t n, std::int64_t o) const { return in.first + n * in.stride + o * stride_h * w; }

  Channel in, out;
  std::int64_t oh, ow, h, w, stride_h;
};

/// A vector of pairs: distances from the mean, and who has won with which value. v = (x - mean) * scale + beta.
struct Affine {
  Affine(float mean, float scale, float beta)
      : center(hn::Set(D(), mean)), factor(hn::Set(D(), scale)), offset(hn::Set(D(), beta)) {}
  V center, factor, offset;
};

struct Pairs {
  HWY_INLINE Pairs(const float* x, const Affine& a) {
    hn::LoadInterleaved2(D(), x, even, odd);
    even = hn::Sub(even, a.center);
    odd = hn::Sub(odd, a.center);
    const V first = hn::MulAdd(even, a.factor, a.offset), other = hn::MulAdd(odd, a.factor, a.offset);
    second = second_wins(first, other);
    best = hn::IfThenElse(second, other, first);
  }

  /// The gradient that reaches the winner.
  HWY_INLINE V gradient(const float* dy, bool relu) const {
    const V g = hn::LoadU(D(), dy);
    return relu ? hn::IfThenElseZero(hn::Gt(best, hn::Zero(D())), g) : g;
  }

  V even, odd, best;
  hn::Mask<D> second;
};

void forward_channel(const BatchNormPoolShape& z, std::int64_t c, const float* x, float mean, float scale, float beta, float* y) {
  const PooledChannel at(z, c);
  const Affine affine(mean, scale, beta);
  const bool relu = z.activation == Activation::relu;
  for (std::int64_t n = 0; n < at.in.rows; ++n)
    for (std::int64_t o = 0; o < at.oh; ++o) {
      const float* from = x + at.in_row(n, o);
      float* to = y + at.out_row(n, o);
      cover(at.ow, [&](std::int64_t j, std::int64_t) HWY_ATTR {
        const V best = Pairs(from + 2 * j, affine).best;
        hn::StoreU(relu ? Relu()(D(), best) : best, D(), to + j);
      });
    }
}

void forward_train(Stream& stream, const BatchNormPoolShape& z, const float* x, const float* gamma, const float* beta,
                   float* running_mean, float* running_var, float* mean, float* invstd, float* y) {
  if (!pools_pairs(z.pool))
    return fallback<BatchNormPoolKernels>().forward_train(stream, z, x, gamma, beta, running_mean, running_var, mean, invstd, y);
  const BatchNormShape norm = z.norm();
  stream.threads().run(norm.c, [&](std::int64_t c, int) {
    channel_statistics(Channel(norm, c), norm, c, x, running_mean, running_var, mean, invstd);
    forward_channel(z, c, x, mean[c], gamma[c] * invstd[c], beta[c], y);
  });
}

/// Sums over the channel of g, and of g * (x - mean).
void gradient_sums(const PooledChannel& at, const Affine& affine, bool relu, const float* x, const float* dy, double& sum,
                   double& dot) {
  const D d;
  const std::int64_t step = rows_per_flush(at.out);
  Sum sums, dots;
  for (std::int64_t r = 0; r < at.in.rows; r += step) {
    V part[4] = {hn::Zero(d), hn::Zero(d), hn::Zero(d), hn::Zero(d)};
    V product[4] = {hn::Zero(d), hn::Zero(d), hn::Zero(d), hn::Zero(d)};
    for (std::int64_t n = r; n < std::min(r + step, at.in.rows); ++n) {
      at.in.prefetch(n, x);
      at.out.prefetch(n, dy);
      for (std::int64_t o = 0; o < at.oh; ++o) {
        const float *from = x + at.in_row(n, o), *gradient = dy + at.out_row(n, o);
        cover(at.ow, [&](std::int64_t j, std::int64_t seen) HWY_ATTR {
          const Pairs pairs(from + 2 * j, affine);
          V g = pairs.gradient(gradient + j, relu);
          const int slot = seen != 0 ? 1 : 0;
          if (seen != 0) g = hn::IfThenZeroElse(hn::FirstN(d, static_cast<std::size_t>(seen)), g);
          part[slot] = hn::Add(part[slot], g);
          product[slot] = hn::MulAdd(g, hn::IfThenElse(pairs.second, pairs.odd, pairs.even), product[slot]);
        });
      }
    }
    sums.flush(part);
    dots.flush(product);
  }
  sum = sums.total();
  dot = dots.total();
}

/// dx from what reaches an element, and from the statistics: scale * (g - offset - slope * (x - mean)).
class DistributeGradient {
 public:
  DistributeGradient(const Affine& affine, const InputGradient& through)
      : affine_(affine),
        scale_(hn::Set(D(), through.scale)),
        offset_(hn::Set(D(), through.offset)),
        slope_(hn::Set(D(), through.slope)) {}

  HWY_INLINE V element(V g, V distance) const { return hn::Mul(scale_, hn::NegMulAdd(slope_, distance, hn::Sub(g, offset_))); }

  /// A row that windows cover, but for what is behind the last of them.
  HWY_INLINE void pairs(const float* x, const float* dy, bool relu, std::int64_t ow, float* dx) const {
    const D d;
    cover(ow, [&](std::int64_t j, std::int64_t) HWY_ATTR {
      const Pairs pairs(x + 2 * j, affine_);
      const V g = pairs.gradient(dy + j, relu);
      hn::StoreInterleaved2(element(hn::IfThenZeroElse(pairs.second, g), pairs.even),
                            element(hn::IfThenElseZero(pairs.second, g), pairs.odd), d, dx + 2 * j);
    });
  }

  /// Elements that no window covers.
  HWY_INLINE void rest(const float* x, std::int64_t n, float* dx) const {
    for (std::int64_t i = 0; i < n; i += lanes) {
      const std::int64_t used = std::min(lanes, n - i);
      store(element(hn::Zero(D()), hn::Sub(load(x + i, used), affine_.center)), dx + i, used);
    }
  }

 private:
  const Affine& affine_;
  V scale_, offset_, slope_;
};

void backward_channel(const BatchNormPoolShape& z, std::int64_t c, const float* x, const float* gamma, const float* beta,
                      float mean, float invstd, const float* dy, float* dx, float* dgamma, float* dbeta) {
  const PooledChannel at(z, c);
  const Affine affine(mean, gamma[c] * invstd, beta[c]);
  const bool relu = z.activation == Activation::relu;
  double sum, dot;
  gradient_sums(at, affine, relu, x, dy, sum, dot);
  if (dbeta != nullptr) dbeta[c] += static_cast<float>(sum);
  if (dgamma != nullptr) dgamma[c] += static_cast<float>(dot * invstd);
  if (dx == nullptr) return;
  const DistributeGradient distribute(affine, InputGradient(at.in, true, sum, dot, gamma[c], invstd));
  for (std::int64_t n = 0; n < at.in.rows; ++n)
    for (std::int64_t h = 0; h < at.h; ++h) {
      const std::int64_t row = at.in.first + n * at.in.stride + h * at.w, o = h / at.stride_h;
      const std::int64_t covered = h % at.stride_h == 0 && o < at.oh ? 2 * at.ow : 0;
      if (covered != 0) distribute.pairs(x + row, dy + at.out_row(n, o), relu, at.ow, dx + row);
      distribute.rest(x + row + covered, at.w - covered, dx + row + covered);
    }
}

void backward_train(Stream& stream, const BatchNormPoolShape& z, const float* x, const float* gamma, const float* beta,
                    const float* mean, const float* invstd, const float* dy, float* dx, float* dgamma, float* dbeta) {
  if (!pools_pairs(z.pool))
    return fallback<BatchNormPoolKernels>().backward_train(stream, z, x, gamma, beta, mean, invstd, dy, dx, dgamma, dbeta);
  stream.threads().run(
      z.pool.c, [&](std::int64_t c, int) { backward_channel(z, c, x, gamma, beta, mean[c], invstd[c], dy, dx, dgamma, dbeta); });
}

BatchNormPoolKernels batch_norm_pool_kernels() { return {forward_train, backward_train}; }

#endif

}  // namespace HWY_NAMESPACE
}  // namespace retort::simd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace retort::simd {

HWY_EXPORT(batch_norm_pool_kernels);
void register_batch_norm_pool() { add(HWY_DYNAMIC_DISPATCH(batch_norm_pool_kernels)()); }

}  // namespace retort::simd
#endif
