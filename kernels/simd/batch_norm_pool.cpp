// Batch normalisation, ReLU and pooling over pairs (pairs-inl.h) for training: batch_norm-inl.h says how a channel is read. After
// the statistics, forward takes the pairs from the cache and writes only their larger elements. Backward works out twice who won
// each pair: for the sums over the channel, and to write dx. All other shapes go to the Eigen kernels.
#include "retort/kernels/batch_norm_pool.h"

#include "retort/kernels/simd/register.h"
#include "retort/kernels/simd/targets.h"
#include "retort/kernels/thread_team.h"

#include <cmath>

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
        down(z.pool.stride_h * z.pool.w) {}

  /// visit(i, o) with the positions of each row of sample n that is pooled, and of the row that it becomes.
  template <class Visit>
  HWY_INLINE void sample(std::int64_t n, Visit&& visit) const {
    std::int64_t i = in.first + n * in.stride, o = out.first + n * out.stride;
    for (std::int64_t left = oh; left > 0; --left, i += down, o += ow) visit(i, o);
  }

  Channel in, out;
  std::int64_t oh, ow, down;
};

/// v = (x - mean) * scale + beta.
struct Affine {
  Affine(float mean_of_x, float scale_of_x, float beta_of_x) : mean(mean_of_x), scale(scale_of_x), beta(beta_of_x) {}

  /// Whether a v may be NaN. With statistics of these x it cannot, unless x or the parameters are not finite.
  bool may_be_nan() const { return !(std::isfinite(mean) && std::isfinite(scale) && std::isfinite(beta) && scale != 0.0f); }

  float mean, scale, beta;
};

/// How pairs are compared; the compiler knows it.
template <bool relu_behind, bool with_nan>
struct Pooling {
  static constexpr bool relu = relu_behind, nan = with_nan;
};

/// Calls f(Pooling<...>()) with what the channel needs.
template <class Function>
void with_pooling(Activation activation, const Affine& affine, Function&& f) {
  const bool nan = affine.may_be_nan();
  if (activation == Activation::relu) return nan ? f(Pooling<true, true>()) : f(Pooling<true, false>());
  return nan ? f(Pooling<false, true>()) : f(Pooling<false, false>());
}

/// A vector of pairs: their distances from the mean, and who has won with which v.
template <class Rule>
struct Pairs {
  HWY_INLINE Pairs(const float* x, V mean, V scale, V beta) {
    PairLanes::load(x, even, odd);
    even = hn::Sub(even, mean);
    odd = hn::Sub(odd, mean);
    const V first = hn::MulAdd(even, scale, beta), other = hn::MulAdd(odd, scale, beta);
    if constexpr (Rule::nan) {
      second = second_wins(first, other);
      best = hn::IfThenElse(second, other, first);
    } else {
      second = hn::Gt(other, first);
      best = hn::Max(first, other);
    }
  }

  HWY_INLINE V output() const {
    if constexpr (Rule::relu && Rule::nan) return Relu()(D(), best);
    return Rule::relu ? hn::Max(best, hn::Zero(D())) : best;
  }

  /// The gradient that reaches the winner.
  HWY_INLINE V gradient(const PairLanes& order, const float* dy) const {
    const V g = order.order(hn::LoadU(D(), dy));
    return Rule::relu ? hn::IfThenElseZero(hn::Gt(best, hn::Zero(D())), g) : g;
  }

  V even, odd, best;
  hn::Mask<D> second;
};

template <class Rule>
void forward_channel(const PooledChannel& at, const Affine& affine, const float* x, float* y) {
  const D d;
  const PairLanes order;
  const V mean = hn::Set(d, affine.mean), scale = hn::Set(d, affine.scale), beta = hn::Set(d, affine.beta);
  const std::int64_t ow = at.ow;
  for (std::int64_t n = 0; n < at.in.rows; ++n)
    at.sample(n, [&](std::int64_t i, std::int64_t o) HWY_ATTR {
      cover(ow, [&](std::int64_t j, auto) HWY_ATTR {
        hn::StoreU(order.restore(Pairs<Rule>(x + i + 2 * j, mean, scale, beta).output()), d, y + o + j);
      });
    });
}

void forward_train(Stream& stream, const BatchNormPoolShape& z, const float* x, const float* gamma, const float* beta,
                   float* running_mean, float* running_var, float* mean, float* invstd, float* y) {
  if (!pools_pairs(z.pool))
    return fallback<BatchNormPoolKernels>().forward_train(stream, z, x, gamma, beta, running_mean, running_var, mean, invstd, y);
  const BatchNormShape norm = z.norm();
  for_each_channel(stream, norm, [&](std::int64_t c) {
    const PooledChannel at(z, c);
    channel_statistics(at.in, norm, c, x, running_mean, running_var, mean, invstd);
    const Affine affine(mean[c], gamma[c] * invstd[c], beta[c]);
    with_pooling(z.activation, affine, [&](auto rule) { forward_channel<decltype(rule)>(at, affine, x, y); });
  });
}

struct GradientSums {
  double sum, dot;  ///< of g, and of g * (x - mean)
};

template <class Rule>
GradientSums gradient_sums(const PooledChannel& at, const Affine& affine, const float* x, const float* dy) {
  const D d;
  const PairLanes order;
  const V mean = hn::Set(d, affine.mean), scale = hn::Set(d, affine.scale), beta = hn::Set(d, affine.beta);
  const std::int64_t step = rows_per_flush(at.out), ow = at.ow;
  const hn::Mask<D> fresh = hn::MaskFromVec(order.order(hn::VecFromMask(d, not_seen(ow))));
  Sum sums, dots;
  for (std::int64_t r = 0; r < at.in.rows; r += step) {
    V part[4] = {hn::Zero(d), hn::Zero(d), hn::Zero(d), hn::Zero(d)};
    V product[4] = {hn::Zero(d), hn::Zero(d), hn::Zero(d), hn::Zero(d)};
    for (std::int64_t n = r; n < std::min(r + step, at.in.rows); ++n) {
      at.in.prefetch(n, x);
      at.out.prefetch(n, dy);
      at.sample(n, [&](std::int64_t i, std::int64_t o) HWY_ATTR {
        cover(ow, [&](std::int64_t j, auto overlaps) HWY_ATTR {
          constexpr int slot = overlaps.value ? 1 : 0;  // known to the compiler: sums stay in registers
          const Pairs<Rule> pairs(x + i + 2 * j, mean, scale, beta);
          V g = pairs.gradient(order, dy + o + j);
          if constexpr (overlaps.value) g = hn::IfThenElseZero(fresh, g);
          part[slot] = hn::Add(part[slot], g);
          product[slot] = hn::MulAdd(g, hn::IfThenElse(pairs.second, pairs.odd, pairs.even), product[slot]);
        });
      });
    }
    sums.flush(part);
    dots.flush(product);
  }
  return {sums.total(), dots.total()};
}

/// dx = scale * (g - offset - slope * (x - mean)) with g = 0 for all but the winners, as scale * g + (tilt * (x - mean) + shift).
template <class Rule>
void distribute(const PooledChannel& at, const Affine& affine, const InputGradient& through, const float* x, const float* dy,
                float* dx) {
  const D d;
  const PairLanes order;
  const V mean = hn::Set(d, affine.mean), scale = hn::Set(d, affine.scale), beta = hn::Set(d, affine.beta);
  const V tilt = hn::Set(d, -through.scale * through.slope), shift = hn::Set(d, -through.scale * through.offset);
  const std::int64_t ow = at.ow;
  const auto uncovered = [&](std::int64_t i, std::int64_t end) HWY_ATTR {
    for (; i < end; i += lanes) {
      const std::int64_t used = std::min(lanes, end - i);
      store(hn::MulAdd(tilt, hn::Sub(load(x + i, used), mean), shift), dx + i, used);
    }
  };
  for (std::int64_t n = 0; n < at.in.rows; ++n) {
    at.in.prefetch(n, dx);                               // a line is read before a part of it is written
    std::int64_t done = at.in.first + n * at.in.stride;  // what is before it has been written
    const std::int64_t end = done + at.in.length;
    at.sample(n, [&](std::int64_t i, std::int64_t o) HWY_ATTR {
      uncovered(done, i);
      cover(ow, [&](std::int64_t j, auto) HWY_ATTR {
        const Pairs<Rule> pairs(x + i + 2 * j, mean, scale, beta);
        const V g = hn::Mul(scale, pairs.gradient(order, dy + o + j));
        const V even = hn::MulAdd(tilt, pairs.even, shift), odd = hn::MulAdd(tilt, pairs.odd, shift);
        PairLanes::store(hn::IfThenElse(pairs.second, even, hn::Add(even, g)), hn::IfThenElse(pairs.second, hn::Add(odd, g), odd),
                         dx + i + 2 * j);
      });
      done = i + 2 * ow;
    });
    uncovered(done, end);
  }
}

void backward_channel(const BatchNormPoolShape& z, std::int64_t c, const float* x, const float* gamma, const float* beta,
                      float mean, float invstd, const float* dy, float* dx, float* dgamma, float* dbeta) {
  const PooledChannel at(z, c);
  const Affine affine(mean, gamma[c] * invstd, beta[c]);
  with_pooling(z.activation, affine, [&](auto rule) {
    using Rule = decltype(rule);
    const auto [sum, dot] = gradient_sums<Rule>(at, affine, x, dy);
    if (dbeta != nullptr) dbeta[c] += static_cast<float>(sum);
    if (dgamma != nullptr) dgamma[c] += static_cast<float>(dot * invstd);
    if (dx != nullptr) distribute<Rule>(at, affine, InputGradient(at.in, true, sum, dot, gamma[c], invstd), x, dy, dx);
  });
}

void backward_train(Stream& stream, const BatchNormPoolShape& z, const float* x, const float* gamma, const float* beta,
                    const float* mean, const float* invstd, const float* dy, float* dx, float* dgamma, float* dbeta) {
  if (!pools_pairs(z.pool))
    return fallback<BatchNormPoolKernels>().backward_train(stream, z, x, gamma, beta, mean, invstd, dy, dx, dgamma, dbeta);
  for_each_channel(stream, z.norm(),
                   [&](std::int64_t c) { backward_channel(z, c, x, gamma, beta, mean[c], invstd[c], dy, dx, dgamma, dbeta); });
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
