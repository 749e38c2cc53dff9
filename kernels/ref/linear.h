// The formulas of kernels/linear.h as loops. Sums are taken in double whatever T is.
#pragma once

#include "retort/kernels/linear.h"

namespace retort::ref {

template <class T>
void linear_forward(Stream&, const LinearShape& z, const T* x, const T* w, const T* b, T* y) {
  for (std::int64_t i = 0; i < z.rows; ++i)
    for (std::int64_t o = 0; o < z.out; ++o) {
      double sum = b != nullptr ? b[o] : 0.0;
      for (std::int64_t k = 0; k < z.in; ++k) sum += double(x[i * z.in + k]) * w[o * z.in + k];
      y[i * z.out + o] = T(z.activation == Activation::relu && sum < 0 ? 0.0 : sum);
    }
}

/// With g = dy where the ReLU let through (else 0): dx = g W, dw = beta dw + g^T x, db += column sums of g.
template <class T>
void linear_backward(Stream&, const LinearShape& z, const T* x, const T* w, const T* y, const T* dy, T* dx, T beta, T* dw,
                     T* db) {
  const auto g = [&](std::int64_t i, std::int64_t o) {
    return z.activation == Activation::relu && !(y[i * z.out + o] > 0) ? 0.0 : double(dy[i * z.out + o]);
  };
  if (dx != nullptr)
    for (std::int64_t i = 0; i < z.rows; ++i)
      for (std::int64_t k = 0; k < z.in; ++k) {
        double sum = 0;
        for (std::int64_t o = 0; o < z.out; ++o) sum += g(i, o) * w[o * z.in + k];
        dx[i * z.in + k] = T(sum);
      }
  if (dw != nullptr)
    for (std::int64_t o = 0; o < z.out; ++o)
      for (std::int64_t k = 0; k < z.in; ++k) {
        double sum = 0;
        for (std::int64_t i = 0; i < z.rows; ++i) sum += g(i, o) * x[i * z.in + k];
        dw[o * z.in + k] = T(beta == 0 ? sum : dw[o * z.in + k] + sum);
      }
  if (db != nullptr)
    for (std::int64_t o = 0; o < z.out; ++o) {
      double sum = 0;
      for (std::int64_t i = 0; i < z.rows; ++i) sum += g(i, o);
      db[o] = T(db[o] + sum);
    }
}

template <class T>
void matmul_forward(Stream&, const MatmulShape& z, const T* a, const T* b, float beta, T* c) {
  for (std::int64_t i = 0; i < z.m; ++i)
    for (std::int64_t j = 0; j < z.n; ++j) {
      double sum = 0;
      for (std::int64_t k = 0; k < z.k; ++k)
        sum += double(z.transpose_a ? a[k * z.m + i] : a[i * z.k + k]) * (z.transpose_b ? b[j * z.k + k] : b[k * z.n + j]);
      c[i * z.n + j] = T(beta == 0 ? sum : sum + double(beta) * c[i * z.n + j]);
    }
}

}  // namespace retort::ref
