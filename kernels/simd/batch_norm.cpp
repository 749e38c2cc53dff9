// Batch normalisation, channel by channel: batch_norm-inl.h says how one is read.
#include "retort/kernels/batch_norm.h"

#include "retort/kernels/simd/register.h"
#include "retort/kernels/simd/targets.h"
#include "retort/kernels/thread_team.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "retort/kernels/simd/batch_norm.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "retort/kernels/simd/batch_norm-inl.h"

HWY_BEFORE_NAMESPACE();
namespace retort::simd {
namespace HWY_NAMESPACE {

#if HWY_TARGET == HWY_SCALAR || HWY_TARGET == HWY_EMU128
BatchNormKernels batch_norm_kernels() { return {}; }
#else

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

void forward_train(Stream& stream, const BatchNormShape& z, const float* x, const float* gamma, const float* beta,
                   float* running_mean, float* running_var, float* mean, float* invstd, float* y) {
  for_each_channel(stream, z, [&](std::int64_t c) {
    const Channel at(z, c);
    channel_statistics(at, z, c, x, running_mean, running_var, mean, invstd);
    normalize(at, z.activation == Activation::relu, x, mean[c], gamma[c] * invstd[c], beta[c], y, false);
  });
}

void forward_eval(Stream& stream, const BatchNormShape& z, const float* x, const float* gamma, const float* beta,
                  const float* running_mean, const float* running_var, float* y) {
  for_each_channel(stream, z, [&](std::int64_t c) {
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

void input_gradient(const Channel& at, const BackwardInputs& in, float mean, const InputGradient& through, float* dx) {
  const D d;
  const V center = hn::Set(d, mean), factor = hn::Set(d, through.scale), shift = hn::Set(d, through.offset),
          tilt = hn::Set(d, through.slope);
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
  if (dx != nullptr) input_gradient(at, in, mean, InputGradient(at, train, sum, dot, gamma[c], invstd), dx);
}

void backward_train(Stream& stream, const BatchNormShape& z, const float* x, const float* gamma, const float* mean,
                    const float* invstd, const float* y, const float* dy, float* dx, float* dgamma, float* dbeta) {
  for_each_channel(stream, z,
                   [&](std::int64_t c) { backward_channel(z, true, c, mean[c], invstd[c], x, gamma, y, dy, dx, dgamma, dbeta); });
}

void backward_eval(Stream& stream, const BatchNormShape& z, const float* x, const float* gamma, const float* running_mean,
                   const float* running_var, const float* y, const float* dy, float* dx, float* dgamma, float* dbeta) {
  for_each_channel(stream, z, [&](std::int64_t c) {
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
