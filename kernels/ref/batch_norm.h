// The formulas of kernels/batch_norm.h as loops (Ioffe & Szegedy 2015). Sums are taken in double whatever T is.
#pragma once

#include "retort/kernels/batch_norm.h"

#include <cmath>

namespace retort::ref {

template <class T>
void batch_norm_apply(const BatchNormShape& z, std::int64_t c, double mean, double invstd, const T* x, const T* gamma,
                      const T* beta, T* y) {
  for (std::int64_t n = 0; n < z.n; ++n)
    for (std::int64_t i = 0; i < z.spatial; ++i) {
      const std::int64_t at = (n * z.c + c) * z.spatial + i;
      const double value = gamma[c] * (x[at] - mean) * invstd + beta[c];
      y[at] = T(z.activation == Activation::relu && !(value > 0) ? (value != value ? value : 0.0) : value);
    }
}

template <class T>
void batch_norm_forward_train(Stream&, const BatchNormShape& z, const T* x, const T* gamma, const T* beta, T* running_mean,
                              T* running_var, T* mean, T* invstd, T* y) {
  const double count = double(z.n * z.spatial);
  for (std::int64_t c = 0; c < z.c; ++c) {
    double sum = 0, squares = 0;
    for (std::int64_t n = 0; n < z.n; ++n)
      for (std::int64_t i = 0; i < z.spatial; ++i) sum += x[(n * z.c + c) * z.spatial + i];
    const double average = sum / count;
    for (std::int64_t n = 0; n < z.n; ++n)
      for (std::int64_t i = 0; i < z.spatial; ++i) {
        const double d = x[(n * z.c + c) * z.spatial + i] - average;
        squares += d * d;
      }
    const double scale = 1 / std::sqrt(squares / count + double(z.eps));
    mean[c] = T(average);
    invstd[c] = T(scale);
    if (running_mean != nullptr) {
      const double m = double(z.momentum);
      running_mean[c] = T((1 - m) * running_mean[c] + m * average);
      running_var[c] = T((1 - m) * running_var[c] + m * squares / (count - 1));
    }
    batch_norm_apply(z, c, average, scale, x, gamma, beta, y);
  }
}

template <class T>
void batch_norm_forward_eval(Stream&, const BatchNormShape& z, const T* x, const T* gamma, const T* beta, const T* running_mean,
                             const T* running_var, T* y) {
  for (std::int64_t c = 0; c < z.c; ++c)
    batch_norm_apply(z, c, running_mean[c], 1 / std::sqrt(running_var[c] + double(z.eps)), x, gamma, beta, y);
}

/// Both backward passes. With g = dy where the ReLU let through (else 0) and xh = (x - mean) * invstd:
///   dbeta = sum g,  dgamma = sum g xh,  dx = gamma invstd (g - [train] (dbeta + xh dgamma) / count)
template <class T>
void batch_norm_backward_channel(const BatchNormShape& z, bool train, std::int64_t c, double mean, double invstd, const T* x,
                                 const T* gamma, const T* y, const T* dy, T* dx, T* dgamma, T* dbeta) {
  const auto passed = [&](std::int64_t at) { return z.activation == Activation::relu && !(y[at] > 0) ? 0.0 : double(dy[at]); };
  const double count = double(z.n * z.spatial);
  double sum = 0, dot = 0;
  for (std::int64_t n = 0; n < z.n; ++n)
    for (std::int64_t i = 0; i < z.spatial; ++i) {
      const std::int64_t at = (n * z.c + c) * z.spatial + i;
      sum += passed(at);
      dot += passed(at) * (x[at] - mean) * invstd;
    }
  if (dbeta != nullptr) dbeta[c] = T(dbeta[c] + sum);
  if (dgamma != nullptr) dgamma[c] = T(dgamma[c] + dot);
  if (dx == nullptr) return;
  for (std::int64_t n = 0; n < z.n; ++n)
    for (std::int64_t i = 0; i < z.spatial; ++i) {
      const std::int64_t at = (n * z.c + c) * z.spatial + i;
      const double through_statistics = train ? (sum + (x[at] - mean) * invstd * dot) / count : 0.0;
      dx[at] = T(gamma[c] * invstd * (passed(at) - through_statistics));
    }
}

template <class T>
void batch_norm_backward_train(Stream&, const BatchNormShape& z, const T* x, const T* gamma, const T* mean, const T* invstd,
                               const T* y, const T* dy, T* dx, T* dgamma, T* dbeta) {
  for (std::int64_t c = 0; c < z.c; ++c)
    batch_norm_backward_channel(z, true, c, mean[c], invstd[c], x, gamma, y, dy, dx, dgamma, dbeta);
}

template <class T>
void batch_norm_backward_eval(Stream&, const BatchNormShape& z, const T* x, const T* gamma, const T* running_mean,
                              const T* running_var, const T* y, const T* dy, T* dx, T* dgamma, T* dbeta) {
  for (std::int64_t c = 0; c < z.c; ++c)
    batch_norm_backward_channel(z, false, c, running_mean[c], 1 / std::sqrt(running_var[c] + double(z.eps)), x, gamma, y, dy, dx,
                                dgamma, dbeta);
}

}  // namespace retort::ref
