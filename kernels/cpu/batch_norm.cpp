// Batch normalisation, one task a channel: its rows (one a sample) are read for the mean, read again for the variance about that
// mean, and a third time to be normalised; a channel of MTL-net fits in the L1 or L2 cache.
#include "retort/kernels/batch_norm.h"

#include "retort/kernels/cpu/batch_norm_channel.h"
#include "retort/kernels/cpu/register.h"
#include "retort/kernels/thread_team.h"

namespace retort::eigen {
namespace {

void normalize(const BatchNormShape& z, std::int64_t c, const float* x, float mean, float scale, float beta, float* y) {
  for_each_row(z, c, [&](std::int64_t at) { normalize_row(z.spatial, z.activation, x + at, mean, scale, beta, y + at); });
}

void forward_train(Stream& stream, const BatchNormShape& z, const float* x, const float* gamma, const float* beta,
                   float* running_mean, float* running_var, float* mean, float* invstd, float* y) {
  stream.threads().run(z.c, [&](std::int64_t c, int) {
    channel_statistics(z, c, x, running_mean, running_var, mean, invstd);
    normalize(z, c, x, mean[c], gamma[c] * invstd[c], beta[c], y);
  });
}

float inverse_deviation(const BatchNormShape& z, float variance) {
  return static_cast<float>(1 / std::sqrt(static_cast<double>(variance) + static_cast<double>(z.eps)));
}

void forward_eval(Stream& stream, const BatchNormShape& z, const float* x, const float* gamma, const float* beta,
                  const float* running_mean, const float* running_var, float* y) {
  stream.threads().run(z.c, [&](std::int64_t c, int) {
    normalize(z, c, x, running_mean[c], gamma[c] * inverse_deviation(z, running_var[c]), beta[c], y);
  });
}

template <bool relu>
void backward_channel(const BatchNormShape& z, bool train, std::int64_t c, float mean, float invstd, const float* x,
                      const float* gamma, const float* y, const float* dy, float* dx, float* dgamma, float* dbeta) {
  GradientSums sums;
  for_each_row(z, c, [&](std::int64_t at) { sums.add_row<relu>(z.spatial, x + at, mean, relu ? y + at : nullptr, dy + at); });
  if (dbeta != nullptr) dbeta[c] += static_cast<float>(sums.sum);
  if (dgamma != nullptr) dgamma[c] += static_cast<float>(sums.dot * invstd);
  if (dx == nullptr) return;
  const InputGradient gradient(z, train, sums, mean, gamma[c], invstd);
  for_each_row(z, c,
               [&](std::int64_t at) { gradient.write_row<relu>(z.spatial, x + at, relu ? y + at : nullptr, dy + at, dx + at); });
}

void backward_train(Stream& stream, const BatchNormShape& z, const float* x, const float* gamma, const float* mean,
                    const float* invstd, const float* y, const float* dy, float* dx, float* dgamma, float* dbeta) {
  const auto channel = z.activation == Activation::relu ? backward_channel<true> : backward_channel<false>;
  stream.threads().run(z.c,
                       [&](std::int64_t c, int) { channel(z, true, c, mean[c], invstd[c], x, gamma, y, dy, dx, dgamma, dbeta); });
}

void backward_eval(Stream& stream, const BatchNormShape& z, const float* x, const float* gamma, const float* running_mean,
                   const float* running_var, const float* y, const float* dy, float* dx, float* dgamma, float* dbeta) {
  const auto channel = z.activation == Activation::relu ? backward_channel<true> : backward_channel<false>;
  stream.threads().run(z.c, [&](std::int64_t c, int) {
    channel(z, false, c, running_mean[c], inverse_deviation(z, running_var[c]), x, gamma, y, dy, dx, dgamma, dbeta);
  });
}

}  // namespace

void register_batch_norm() { add(BatchNormKernels{forward_train, forward_eval, backward_train, backward_eval}); }

}  // namespace retort::eigen
