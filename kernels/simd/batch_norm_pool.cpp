// Batch normalisation, ReLU and pooling over pairs (pairs-inl.h) for training: batch_norm-inl.h says how a channel is read for
// its statistics. Everything else takes a vector of pairs through some samples and then the vector beside it: the numbers of its
// channels stay in registers, and where pairs cover the planes, vectors run across channels, so that no lane idles. Backward
// works out twice who won each pair: for the sums over the channel, and to write dx. All other shapes go to the Eigen kernels.
#include "retort/kernels/batch_norm_pool.h"

#include "retort/kernels/simd/register.h"
#include "retort/kernels/simd/targets.h"
#include "retort/kernels/thread_team.h"

#include <algorithm>
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

/// v = (x - mean) * scale + beta.
struct Affine {
  /// Whether a v may be NaN. With statistics of these x it cannot, unless x or the parameters are not finite.
  bool may_be_nan() const { return !(std::isfinite(mean) && std::isfinite(scale) && std::isfinite(beta) && scale != 0.0f); }

  float mean, scale, beta;
};

/// How pairs are compared; the compiler knows it.
template <bool relu_behind, bool with_nan>
struct Pooling {
  static constexpr bool relu = relu_behind, nan = with_nan;
};

/// Calls f(Pooling<...>()) with what the channels need.
template <class Function>
void with_pooling(Activation activation, const Affine* affine, std::int64_t channels, Function&& f) {
  const bool nan = std::any_of(affine, affine + channels, [](const Affine& a) { return a.may_be_nan(); });
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

/// A vector of pairs of every sample, and whose they are: channel c's in the lanes of `own`, in the others, if any, the next
/// one's. Lanes that are not `fresh` have been in the vector before it. Both in the order of PairLanes.
struct PairVector {
  template <class Numbers>
  HWY_INLINE V of(const Numbers* channels, float Numbers::*number) const {
    return hn::IfThenElse(own, hn::Set(D(), channels[c].*number), hn::Set(D(), channels[next].*number));
  }

  std::int64_t in, out;  ///< of the first sample
  std::int64_t c, next;
  hn::Mask<D> own, fresh;
};

/// The pairs of a group of channels, in lines that are cut into vectors. Where every element is in a pair, a sample's are one
/// line; else each row of a plane is one.
struct PairLines {
  static constexpr std::int64_t block = 8;  ///< samples: few enough that memory is read nearly as it lies
  static constexpr std::int64_t most_channels = group_row / 2 / lanes;  ///< planes have two vectors or more

  PairLines(const BatchNormPoolShape& shape, std::int64_t begin, std::int64_t end)
      : z(shape.pool),
        channels(end - begin),
        in(shape.norm(), begin),
        out({z.n, z.c, z.oh() * z.ow()}, begin),
        whole((z.stride_h == 1 || z.h == 1) && z.w % 2 == 0) {}

  /// visit(vector, first sample, last one's end) for all of them.
  template <class Visit>
  HWY_INLINE void vectors(Visit&& visit) const {
    for (std::int64_t begin = 0; begin < in.rows; begin += block) {
      const auto samples = [&](const PairVector& v) HWY_ATTR { visit(v, begin, std::min(begin + block, in.rows)); };
      if (whole)
        line(0, 0, 0, channels * out.length, out.length, samples);
      else
        for (std::int64_t c = 0; c < channels; ++c)
          for (std::int64_t r = 0; r < z.oh(); ++r) line(gap(r) - 2 * z.ow(), r * z.ow(), c, z.ow(), z.ow(), samples);
    }
  }

  /// Where in a plane row r's pairs end.
  std::int64_t gap(std::int64_t r) const { return r * z.stride_h * z.w + 2 * z.ow(); }

  /// Asks for what will be read, or written, when the next samples' turn has come.
  HWY_INLINE void fetch(const PairVector& v, std::int64_t n, const float* plane, const float* pooled) const {
    n = std::min(n + block, in.rows - 1);
    const float *x = plane + v.in + n * in.stride, *y = pooled + v.out + n * out.stride;
    hwy::Prefetch(x + lanes - 1);
    hwy::Prefetch(x + 2 * lanes - 1);
    hwy::Prefetch(y + lanes - 1);
  }

  const MaxPool2dShape& z;
  std::int64_t channels;
  Channel in, out;  ///< the first channel's planes
  bool whole;
  PairLanes order;

 private:
  /// Pairs of channel c and those after it, of each `plane` pairs.
  template <class Visit>
  HWY_INLINE void line(std::int64_t i, std::int64_t o, std::int64_t c, std::int64_t pairs, std::int64_t plane,
                       Visit&& visit) const {
    const auto ordered = [&](auto mask) HWY_ATTR { return hn::MaskFromVec(order.order(hn::VecFromMask(D(), mask))); };
    const auto first = [&](std::int64_t n) HWY_ATTR { return hn::FirstN(D(), static_cast<std::size_t>(n)); };
    i += in.first + c * in.length, o += out.first + c * out.length;
    cover(pairs, [&](std::int64_t j, auto overlaps) HWY_ATTR {
      const std::int64_t of = c + j / plane, own = std::min((j / plane + 1) * plane - j, lanes);
      visit(PairVector{i + 2 * j, o + j, of, own < lanes ? of + 1 : of, ordered(first(own)),
                       overlaps.value ? ordered(not_seen(pairs)) : first(lanes)});
    });
  }
};

template <class Rule>
void forward_pairs(const PairLines& at, const Affine* affine, const float* x, float* y) {
  const D d;
  at.vectors([&](const PairVector& v, std::int64_t begin, std::int64_t end) HWY_ATTR {
    const V mean = v.of(affine, &Affine::mean), scale = v.of(affine, &Affine::scale), beta = v.of(affine, &Affine::beta);
    for (std::int64_t n = begin; n < end; ++n) {
      const Pairs<Rule> pairs(x + v.in + n * at.in.stride, mean, scale, beta);
      hn::StoreU(at.order.restore(pairs.output()), d, y + v.out + n * at.out.stride);
    }
  });
}

void forward_train(Stream& stream, const BatchNormPoolShape& z, const float* x, const float* gamma, const float* beta,
                   float* running_mean, float* running_var, float* mean, float* invstd, float* y) {
  if (!pools_pairs(z.pool))
    return fallback<BatchNormPoolKernels>().forward_train(stream, z, x, gamma, beta, running_mean, running_var, mean, invstd, y);
  const BatchNormShape norm = z.norm();
  for_each_group(stream, norm, [&](std::int64_t begin, std::int64_t end) {
    Affine affine[PairLines::most_channels];
    for (std::int64_t c = begin; c < end; ++c) {
      channel_statistics(Channel(norm, c), norm, c, x, running_mean, running_var, mean, invstd);
      affine[c - begin] = {mean[c], gamma[c] * invstd[c], beta[c]};
    }
    const PairLines at(z, begin, end);
    with_pooling(z.activation, affine, at.channels, [&](auto rule) { forward_pairs<decltype(rule)>(at, affine, x, y); });
  });
}

struct GradientSums {
  double sum = 0, dot = 0;  ///< of g, and of g * (x - mean)
};

template <class Rule>
void add_gradients(const PairLines& at, const Affine* affine, const float* x, const float* dy, GradientSums* sums) {
  const D d;
  at.vectors([&](const PairVector& v, std::int64_t begin, std::int64_t end) HWY_ATTR {
    const V mean = v.of(affine, &Affine::mean), scale = v.of(affine, &Affine::scale), beta = v.of(affine, &Affine::beta);
    V part = hn::Zero(d), product = hn::Zero(d);
    for (std::int64_t n = begin; n < end; ++n) {
      at.fetch(v, n, x, dy);
      const Pairs<Rule> pairs(x + v.in + n * at.in.stride, mean, scale, beta);
      const V g = pairs.gradient(at.order, dy + v.out + n * at.out.stride);
      part = hn::Add(part, g);
      product = hn::MulAdd(g, hn::IfThenElse(pairs.second, pairs.odd, pairs.even), product);
    }
    const auto add = [&](hn::Mask<D> of, GradientSums& to) HWY_ATTR {
      to.sum += static_cast<double>(hn::GetLane(hn::SumOfLanes(d, hn::IfThenElseZero(of, part))));
      to.dot += static_cast<double>(hn::GetLane(hn::SumOfLanes(d, hn::IfThenElseZero(of, product))));
    };
    add(hn::And(v.own, v.fresh), sums[v.c]);
    if (v.next != v.c) add(hn::AndNot(v.own, v.fresh), sums[v.next]);
  });
}

/// dx = scale * (g - offset - slope * (x - mean)) with g = 0 for all but the winners, as scale * g + (tilt * (x - mean) + shift).
struct Slant {
  float tilt, shift;
};

/// dx of the elements that are in no pair: they are behind those that are.
void fill_gaps(const PairLines& at, const Affine* affine, const Slant* slant, const float* x, float* dx) {
  const D d;
  for (std::int64_t n = 0; n < at.in.rows; ++n)
    for (std::int64_t c = 0; c < at.channels; ++c) {
      const V mean = hn::Set(d, affine[c].mean), tilt = hn::Set(d, slant[c].tilt), shift = hn::Set(d, slant[c].shift);
      const std::int64_t plane = at.in.first + c * at.in.length + n * at.in.stride;
      for (std::int64_t r = 0; r < at.z.oh(); ++r) {
        const std::int64_t end = r + 1 < at.z.oh() ? at.gap(r + 1) - 2 * at.z.ow() : at.in.length;
        for (std::int64_t i = at.gap(r); i < end; i += lanes) {
          const std::int64_t used = std::min(lanes, end - i);
          store(hn::MulAdd(tilt, hn::Sub(load(x + plane + i, used), mean), shift), dx + plane + i, used);
        }
      }
    }
}

template <class Rule>
void distribute(const PairLines& at, const Affine* affine, const Slant* slant, const float* x, const float* dy, float* dx) {
  at.vectors([&](const PairVector& v, std::int64_t begin, std::int64_t end) HWY_ATTR {
    const V mean = v.of(affine, &Affine::mean), scale = v.of(affine, &Affine::scale), beta = v.of(affine, &Affine::beta);
    const V tilt = v.of(slant, &Slant::tilt), shift = v.of(slant, &Slant::shift);
    for (std::int64_t n = begin; n < end; ++n) {
      at.fetch(v, n, dx, dy);  // a line is read before a part of it is written
      const std::int64_t i = v.in + n * at.in.stride;
      const Pairs<Rule> pairs(x + i, mean, scale, beta);
      const V g = hn::Mul(scale, pairs.gradient(at.order, dy + v.out + n * at.out.stride));
      const V even = hn::MulAdd(tilt, pairs.even, shift), odd = hn::MulAdd(tilt, pairs.odd, shift);
      PairLanes::store(hn::IfThenElse(pairs.second, even, hn::Add(even, g)), hn::IfThenElse(pairs.second, hn::Add(odd, g), odd),
                       dx + i);
    }
  });
  if (!at.whole) fill_gaps(at, affine, slant, x, dx);
}

void backward_train(Stream& stream, const BatchNormPoolShape& z, const float* x, const float* gamma, const float* beta,
                    const float* mean, const float* invstd, const float* dy, float* dx, float* dgamma, float* dbeta) {
  if (!pools_pairs(z.pool))
    return fallback<BatchNormPoolKernels>().backward_train(stream, z, x, gamma, beta, mean, invstd, dy, dx, dgamma, dbeta);
  for_each_group(stream, z.norm(), [&](std::int64_t begin, std::int64_t end) {
    const PairLines at(z, begin, end);
    Affine affine[PairLines::most_channels];
    GradientSums sums[PairLines::most_channels];
    Slant slant[PairLines::most_channels];
    for (std::int64_t c = begin; c < end; ++c) affine[c - begin] = {mean[c], gamma[c] * invstd[c], beta[c]};
    with_pooling(z.activation, affine, at.channels, [&](auto rule) {
      add_gradients<decltype(rule)>(at, affine, x, dy, sums);
      for (std::int64_t c = begin; c < end; ++c) {
        const auto [sum, dot] = sums[c - begin];
        if (dbeta != nullptr) dbeta[c] += static_cast<float>(sum);
        if (dgamma != nullptr) dgamma[c] += static_cast<float>(dot * invstd[c]);
        const InputGradient through(at.in, true, sum, dot, gamma[c], invstd[c]);
        slant[c - begin] = {-through.scale * through.slope, -through.scale * through.offset};
      }
      if (dx != nullptr) distribute<decltype(rule)>(at, affine, slant, x, dy, dx);
    });
  });
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
