// Batch normalisation, one task a channel: its rows (one a sample) are read for the mean, read again for the variance about that
// mean, and a third time to be normalised; a channel of MTL-net fits in the L1 or L2 cache. Row sums are taken in float (16 or
// more lanes each), the sum over rows in double.
#include "retort/kernels/batch_norm.h"

#include "retort/kernels/cpu/register.h"
#include "retort/kernels/thread_team.h"

#include <cmath>

namespace retort::eigen {
namespace {

/// Calls visit(offset) with the position of each row of channel c.
template <class Visit>
void for_each_row(const BatchNormShape& z, std::int64_t c, Visit&& visit) {
  for (std::int64_t n = 0; n < z.n; ++n) visit((n * z.c + c) * z.spatial);
}

double channel_mean(const BatchNormShape& z, std::int64_t c, const float* x) {
  double total = 0;
  for_each_row(z, c, [&](std::int64_t at) {
    const float* row = x + at;
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (std::int64_t i = 0; i < z.spatial; ++i) sum += row[i];
    total += sum;
  });
  return total / static_cast<double>(z.n * z.spatial);
}

double squares_about(const BatchNormShape& z, std::int64_t c, const float* x, float mean) {
  double total = 0;
  for_each_row(z, c, [&](std::int64_t at) {
    const float* row = x + at;
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (std::int64_t i = 0; i < z.spatial; ++i) sum += (row[i] - mean) * (row[i] - mean);
    total += sum;
  });
  return total;
}

/// y = f((x - mean) * scale + beta): subtracting the mean first keeps the digits when it is large.
void normalize(const BatchNormShape& z, std::int64_t c, const float* x, float mean, float scale, float beta, float* y) {
  const bool relu = z.activation == Activation::relu;
  for_each_row(z, c, [&](std::int64_t at) {
    const float* row = x + at;
    float* out = y + at;
    if (relu)
      for (std::int64_t i = 0; i < z.spatial; ++i) {
        const float value = (row[i] - mean) * scale + beta;
        out[i] = value < 0 ? 0.0f : value;
      }
    else
      for (std::int64_t i = 0; i < z.spatial; ++i) out[i] = (row[i] - mean) * scale + beta;
  });
}

void forward_train(Stream& stream, const BatchNormShape& z, const float* x, const float* gamma, const float* beta,
                   float* running_mean, float* running_var, float* mean, float* invstd, float* y) {
  const double count = static_cast<double>(z.n * z.spatial), momentum = z.momentum;
  stream.threads().run(z.c, [&](std::int64_t c, int) {
    const double average = channel_mean(z, c, x);
    const double squares = squares_about(z, c, x, static_cast<float>(average));
    mean[c] = static_cast<float>(average);
    invstd[c] = static_cast<float>(1 / std::sqrt(squares / count + static_cast<double>(z.eps)));
    if (running_mean != nullptr) {
      running_mean[c] = static_cast<float>((1 - momentum) * running_mean[c] + momentum * average);
      running_var[c] = static_cast<float>((1 - momentum) * running_var[c] + momentum * squares / (count - 1));
    }
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

/// The sums over a channel that both backward passes need, of g = dy where the ReLU let through.
struct GradientSums {
  double sum = 0, dot = 0;  ///< sum g and sum g * (x - mean)
};

template <bool relu>
GradientSums gradient_sums(const BatchNormShape& z, std::int64_t c, const float* x, float mean, const float* y, const float* dy) {
  GradientSums total;
  for_each_row(z, c, [&](std::int64_t at) {
    float sum = 0, dot = 0;
#pragma omp simd reduction(+ : sum, dot)
    for (std::int64_t i = at; i < at + z.spatial; ++i) {
      const float g = !relu || y[i] > 0 ? dy[i] : 0.0f;
      sum += g;
      dot += g * (x[i] - mean);
    }
    total.sum += sum;
    total.dot += dot;
  });
  return total;
}

/// dx = scale * (g - offset - slope * (x - mean)).
template <bool relu>
void input_gradient(const BatchNormShape& z, std::int64_t c, const float* x, float mean, const float* y, const float* dy,
                    float scale, float offset, float slope, float* dx) {
  for_each_row(z, c, [&](std::int64_t at) {
#pragma omp simd
    for (std::int64_t i = at; i < at + z.spatial; ++i) {
      const float g = !relu || y[i] > 0 ? dy[i] : 0.0f;
      dx[i] = scale * (g - offset - slope * (x[i] - mean));
    }
  });
}

template <bool relu>
void backward_channel(const BatchNormShape& z, bool train, std::int64_t c, float mean, float invstd, const float* x,
                      const float* gamma, const float* y, const float* dy, float* dx, float* dgamma, float* dbeta) {
  const GradientSums sums = gradient_sums<relu>(z, c, x, mean, y, dy);
  if (dbeta != nullptr) dbeta[c] += static_cast<float>(sums.sum);
  if (dgamma != nullptr) dgamma[c] += static_cast<float>(sums.dot * invstd);
  if (dx == nullptr) return;
  const double count = static_cast<double>(z.n * z.spatial), variance_part = sums.dot * invstd * invstd / count;
  input_gradient<relu>(z, c, x, mean, y, dy, gamma[c] * invstd, train ? static_cast<float>(sums.sum / count) : 0.0f,
                       train ? static_cast<float>(variance_part) : 0.0f, dx);
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
