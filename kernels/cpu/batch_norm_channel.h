// What batch normalisation does to one channel, row by row (a row: one sample's values). Row sums are taken in float (16 or more
// lanes each), the sum over rows in double.
#pragma once

#include "retort/kernels/batch_norm.h"

#include <cmath>
#include <cstdint>

namespace retort::eigen {

/// Calls visit(offset) with the position of each row of channel c.
template <class Visit>
void for_each_row(const BatchNormShape& z, std::int64_t c, Visit&& visit) {
  for (std::int64_t n = 0; n < z.n; ++n) visit((n * z.c + c) * z.spatial);
}

inline double channel_mean(const BatchNormShape& z, std::int64_t c, const float* x) {
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

inline double squares_about(const BatchNormShape& z, std::int64_t c, const float* x, float mean) {
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

/// Channel c's entries of mean, invstd and, unless they are null, of the running statistics.
inline void channel_statistics(const BatchNormShape& z, std::int64_t c, const float* x, float* running_mean, float* running_var,
                               float* mean, float* invstd) {
  const double count = static_cast<double>(z.n * z.spatial), momentum = z.momentum;
  const double average = channel_mean(z, c, x), squares = squares_about(z, c, x, static_cast<float>(average));
  mean[c] = static_cast<float>(average);
  invstd[c] = static_cast<float>(1 / std::sqrt(squares / count + static_cast<double>(z.eps)));
  if (running_mean == nullptr) return;
  running_mean[c] = static_cast<float>((1 - momentum) * running_mean[c] + momentum * average);
  running_var[c] = static_cast<float>((1 - momentum) * running_var[c] + momentum * squares / (count - 1));
}

/// Subtracting the mean first keeps the digits when it is large.
inline float normalized(float x, float mean, float scale, float beta) { return (x - mean) * scale + beta; }

/// y = f(normalized(x)).
inline void normalize_row(std::int64_t n, Activation activation, const float* x, float mean, float scale, float beta, float* y) {
  if (activation == Activation::relu)
    for (std::int64_t i = 0; i < n; ++i) {
      const float value = normalized(x[i], mean, scale, beta);
      y[i] = value < 0 ? 0.0f : value;
    }
  else
    for (std::int64_t i = 0; i < n; ++i) y[i] = normalized(x[i], mean, scale, beta);
}

/// The sums over a channel that all backward passes need, of g = dy where the ReLU let through.
struct GradientSums {
  double sum = 0, dot = 0;  ///< sum g and sum g * (x - mean)

  template <bool relu>
  void add_row(std::int64_t n, const float* x, float mean, const float* y, const float* dy) {
    float row_sum = 0, row_dot = 0;
#pragma omp simd reduction(+ : row_sum, row_dot)
    for (std::int64_t i = 0; i < n; ++i) {
      const float g = !relu || y[i] > 0 ? dy[i] : 0.0f;
      row_sum += g;
      row_dot += g * (x[i] - mean);
    }
    sum += row_sum;
    dot += row_dot;
  }
};

/// dx = scale * (g - offset - slope * (x - mean)); through the statistics (`train`) g's sums come in.
struct InputGradient {
  InputGradient(const BatchNormShape& z, bool train, const GradientSums& sums, float mean_of_x, float gamma, float invstd)
      : mean(mean_of_x), scale(gamma * invstd) {
    if (!train) return;
    const double count = static_cast<double>(z.n * z.spatial);
    offset = static_cast<float>(sums.sum / count);
    slope = static_cast<float>(sums.dot * invstd * invstd / count);
  }

  /// dx may be dy.
  template <bool relu>
  void write_row(std::int64_t n, const float* x, const float* y, const float* dy, float* dx) const {
#pragma omp simd
    for (std::int64_t i = 0; i < n; ++i) {
      const float g = !relu || y[i] > 0 ? dy[i] : 0.0f;
      dx[i] = scale * (g - offset - slope * (x[i] - mean));
    }
  }

  float mean, scale, offset = 0, slope = 0;
};

}  // namespace retort::eigen
