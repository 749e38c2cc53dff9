// Batch normalisation, one task a channel. A channel's rows (one a sample) lie far apart, so the first pass over them asks for
// the rows ahead; what it brought is in the L1 or L2 cache for the passes that follow: the variance about the mean (not the
// difference of two large sums) and the result. Lanes are added up in float over a few hundred elements, beyond that in double.
#include "retort/kernels/batch_norm.h"

#include "retort/kernels/simd/register.h"
#include "retort/kernels/simd/targets.h"
#include "retort/kernels/thread_team.h"

#include <cmath>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "retort/kernels/simd/batch_norm.cpp"
#include <hwy/cache_control.h>
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "retort/kernels/simd/tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace retort::simd {
namespace HWY_NAMESPACE {

#if HWY_TARGET == HWY_SCALAR || HWY_TARGET == HWY_EMU128
BatchNormKernels batch_norm_kernels() { return {}; }
#else

/// One channel: where its rows are and how to read them.
struct Channel {
  Channel(const BatchNormShape& z, std::int64_t c)
      : rows(z.n), length(z.spatial), stride(z.c * z.spatial), first(c * z.spatial) {}

  double count() const { return static_cast<double>(rows * length); }

  /// body(position, lanes used, slot) for every vector of row r; slots 0 to 3 take turns, so that four sums are under way at
  /// once.
  template <class Body>
  HWY_INLINE void row(std::int64_t r, Body&& body) const {
    std::int64_t p = first + r * stride;
    const std::int64_t end = p + length;
    for (; p + 4 * lanes <= end; p += 4 * lanes) {
      body(p, lanes, 0);
      body(p + lanes, lanes, 1);
      body(p + 2 * lanes, lanes, 2);
      body(p + 3 * lanes, lanes, 3);
    }
    if (p + 2 * lanes <= end) {
      body(p, lanes, 0);
      body(p + lanes, lanes, 1);
      p += 2 * lanes;
    }
    if (p + lanes <= end) {
      body(p, lanes, 2);
      p += lanes;
    }
    if (p < end) body(p, end - p, 3);
  }

  template <class Body>
  HWY_INLINE void all(Body&& body) const {
    for (std::int64_t r = 0; r < rows; ++r) row(r, body);
  }

  void prefetch(std::int64_t r, const float* data) const {
    constexpr std::int64_t ahead = 4, line = 16;
    if (r + ahead >= rows) return;
    const float* at = data + first + (r + ahead) * stride;
    for (std::int64_t j = 0; j < length; j += line) hwy::Prefetch(at + j);
  }

  std::int64_t rows, length, stride, first;
};

HWY_INLINE V load(const float* p, std::int64_t n) {
  const D d;
  return n == lanes ? hn::LoadU(d, p) : load_first(d, p, n);
}

HWY_INLINE void store(V v, float* p, std::int64_t n) {
  const D d;
  if (n == lanes)
    hn::StoreU(v, d, p);
  else
    store_first(v, d, p, n);
}

/// Sums of many vectors: in float lanes over some rows, then in double.
class Sum {
 public:
  HWY_INLINE void flush(const V (&part)[4]) {
    const V sum = hn::Add(hn::Add(part[0], part[1]), hn::Add(part[2], part[3]));
    total_ += static_cast<double>(hn::GetLane(hn::SumOfLanes(D(), sum)));
  }
  double total() const { return total_; }

 private:
  double total_ = 0;
};

/// Rows after which the float sums are emptied: about 64 vectors.
std::int64_t rows_per_flush(const Channel& at) { return std::max<std::int64_t>(1, 64 * lanes / at.length); }

double channel_mean(const Channel& at, const float* x) {
  const D d;
  const std::int64_t step = rows_per_flush(at);
  Sum sum;
  for (std::int64_t r = 0; r < at.rows; r += step) {
    V part[4] = {hn::Zero(d), hn::Zero(d), hn::Zero(d), hn::Zero(d)};
    for (std::int64_t i = r; i < std::min(r + step, at.rows); ++i) {
      at.prefetch(i, x);
      at.row(i, [&](std::int64_t p, std::int64_t n, int slot) HWY_ATTR { part[slot] = hn::Add(part[slot], load(x + p, n)); });
    }
    sum.flush(part);
  }
  return sum.total() / at.count();
}

double squares_about(const Channel& at, const float* x, float mean) {
  const D d;
  const V center = hn::Set(d, mean);
  const std::int64_t step = rows_per_flush(at);
  Sum sum;
  for (std::int64_t r = 0; r < at.rows; r += step) {
    V part[4] = {hn::Zero(d), hn::Zero(d), hn::Zero(d), hn::Zero(d)};
    for (std::int64_t i = r; i < std::min(r + step, at.rows); ++i)
      at.row(i, [&](std::int64_t p, std::int64_t n, int slot) HWY_ATTR {
        V off = hn::Sub(load(x + p, n), center);
        if (n < lanes) off = hn::IfThenElseZero(hn::FirstN(d, static_cast<std::size_t>(n)), off);
        part[slot] = hn::MulAdd(off, off, part[slot]);
      });
    sum.flush(part);
  }
  return sum.total();
}

/// y = f((x - mean) * scale + beta): subtracting the mean first keeps the digits when it is large.
void normalize(const Channel& at, bool relu, const float* x, float mean, float scale, float beta, float* y, bool prefetch) {
  const D d;
  const V center = hn::Set(d, mean), factor = hn::Set(d, scale), offset = hn::Set(d, beta);
  for (std::int64_t r = 0; r < at.rows; ++r) {
    if (prefetch) at.prefetch(r, x);
    at.row(r, [&](std::int64_t p, std::int64_t n, int) HWY_ATTR {
      const V value = hn::MulAdd(hn::Sub(load(x + p, n), center), factor, offset);
      store(relu ? Relu()(d, value) : value, y + p, n);
    });
  }
}

float inverse_deviation(double variance, float eps) {
  return static_cast<float>(1 / std::sqrt(variance + static_cast<double>(eps)));
}

void forward_train(Stream& stream, const BatchNormShape& z, const float* x, const float* gamma, const float* beta,
                   float* running_mean, float* running_var, float* mean, float* invstd, float* y) {
  const double momentum = z.momentum;
  stream.threads().run(z.c, [&](std::int64_t c, int) {
    const Channel at(z, c);
    const double average = channel_mean(at, x), squares = squares_about(at, x, static_cast<float>(average));
    mean[c] = static_cast<float>(average);
    invstd[c] = inverse_deviation(squares / at.count(), z.eps);
    if (running_mean != nullptr) {
      running_mean[c] = static_cast<float>((1 - momentum) * running_mean[c] + momentum * average);
      running_var[c] = static_cast<float>((1 - momentum) * running_var[c] + momentum * squares / (at.count() - 1));
    }
    normalize(at, z.activation == Activation::relu, x, mean[c], gamma[c] * invstd[c], beta[c], y, false);
  });
}

void forward_eval(Stream& stream, const BatchNormShape& z, const float* x, const float* gamma, const float* beta,
                  const float* running_mean, const float* running_var, float* y) {
  stream.threads().run(z.c, [&](std::int64_t c, int) {
    normalize(Channel(z, c), z.activation == Activation::relu, x, running_mean[c],
              gamma[c] * inverse_deviation(running_var[c], z.eps), beta[c], y, true);
  });
}

/// What the backward pass reads; y is null without a ReLU.
struct BackwardInputs {
  const float *x, *y, *dy;

  /// dy where the ReLU let through.
  HWY_INLINE V gradient(std::int64_t p, std::int64_t n) const {
    const D d;
    const V g = load(dy + p, n);
    return y == nullptr ? g : hn::IfThenElseZero(hn::Gt(load(y + p, n), hn::Zero(d)), g);
  }
};

/// The sums over a channel that both backward passes need: of g and of g * (x - mean).
void gradient_sums(const Channel& at, const BackwardInputs& in, float mean, double& sum, double& dot) {
  const D d;
  const V center = hn::Set(d, mean);
  const std::int64_t step = rows_per_flush(at);
  Sum sums, dots;
  for (std::int64_t r = 0; r < at.rows; r += step) {
    V part[4] = {hn::Zero(d), hn::Zero(d), hn::Zero(d), hn::Zero(d)};
    V product[4] = {hn::Zero(d), hn::Zero(d), hn::Zero(d), hn::Zero(d)};
    for (std::int64_t i = r; i < std::min(r + step, at.rows); ++i) {
      at.prefetch(i, in.x);
      at.prefetch(i, in.dy);
      if (in.y != nullptr) at.prefetch(i, in.y);
      at.row(i, [&](std::int64_t p, std::int64_t n, int slot) HWY_ATTR {
        const V g = in.gradient(p, n);
        part[slot] = hn::Add(part[slot], g);
        product[slot] = hn::MulAdd(g, hn::Sub(load(in.x + p, n), center), product[slot]);
      });
    }
    sums.flush(part);
    dots.flush(product);
  }
  sum = sums.total();
  dot = dots.total();
}

/// dx = scale * (g - offset - slope * (x - mean)).
void input_gradient(const Channel& at, const BackwardInputs& in, float mean, float scale, float offset, float slope, float* dx) {
  const D d;
  const V center = hn::Set(d, mean), factor = hn::Set(d, scale), shift = hn::Set(d, offset), tilt = hn::Set(d, slope);
  at.all([&](std::int64_t p, std::int64_t n, int) HWY_ATTR {
    const V rest = hn::NegMulAdd(tilt, hn::Sub(load(in.x + p, n), center), hn::Sub(in.gradient(p, n), shift));
    store(hn::Mul(factor, rest), dx + p, n);
  });
}

void backward_channel(const BatchNormShape& z, bool train, std::int64_t c, float mean, float invstd, const float* x,
                      const float* gamma, const float* y, const float* dy, float* dx, float* dgamma, float* dbeta) {
  const Channel at(z, c);
  const BackwardInputs in{x, z.activation == Activation::relu ? y : nullptr, dy};
  double sum, dot;
  gradient_sums(at, in, mean, sum, dot);
  if (dbeta != nullptr) dbeta[c] += static_cast<float>(sum);
  if (dgamma != nullptr) dgamma[c] += static_cast<float>(dot * invstd);
  if (dx == nullptr) return;
  const double slope = dot * invstd * invstd / at.count();
  input_gradient(at, in, mean, gamma[c] * invstd, train ? static_cast<float>(sum / at.count()) : 0.0f,
                 train ? static_cast<float>(slope) : 0.0f, dx);
}

void backward_train(Stream& stream, const BatchNormShape& z, const float* x, const float* gamma, const float* mean,
                    const float* invstd, const float* y, const float* dy, float* dx, float* dgamma, float* dbeta) {
  stream.threads().run(
      z.c, [&](std::int64_t c, int) { backward_channel(z, true, c, mean[c], invstd[c], x, gamma, y, dy, dx, dgamma, dbeta); });
}

void backward_eval(Stream& stream, const BatchNormShape& z, const float* x, const float* gamma, const float* running_mean,
                   const float* running_var, const float* y, const float* dy, float* dx, float* dgamma, float* dbeta) {
  stream.threads().run(z.c, [&](std::int64_t c, int) {
    backward_channel(z, false, c, running_mean[c], inverse_deviation(running_var[c], z.eps), x, gamma, y, dy, dx, dgamma, dbeta);
  });
}

BatchNormKernels batch_norm_kernels() { return {forward_train, forward_eval, backward_train, backward_eval}; }

#endif

}  // namespace HWY_NAMESPACE
}  // namespace retort::simd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace retort::simd {

HWY_EXPORT(batch_norm_kernels);
void register_batch_norm() { add(HWY_DYNAMIC_DISPATCH(batch_norm_kernels)()); }

}  // namespace retort::simd
#endif
