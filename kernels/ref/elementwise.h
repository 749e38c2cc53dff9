// The maps of kernels/elementwise.h as loops.
#pragma once

#include "retort/kernels/elementwise.h"

#include <cmath>

namespace retort::ref {

template <class T>
void unary_forward(Stream&, Unary f, std::int64_t n, const T* x, T* y) {
  for (std::int64_t i = 0; i < n; ++i) {
    const double v = x[i];
    switch (f) {
      case Unary::relu:
        y[i] = T(v < 0 ? 0.0 : v);
        break;  // NaN stays NaN
      case Unary::exp:
        y[i] = T(std::exp(v));
        break;
      case Unary::log:
        y[i] = T(std::log(v));
        break;
      case Unary::tanh:
        y[i] = T(std::tanh(v));
        break;
      case Unary::sigmoid:
        y[i] = T(1 / (1 + std::exp(-v)));
        break;
    }
  }
}

template <class T>
void unary_backward(Stream&, Unary f, std::int64_t n, const T* x, const T* y, const T* dy, T* dx) {
  for (std::int64_t i = 0; i < n; ++i) {
    const double g = dy[i];
    switch (f) {
      case Unary::relu:
        dx[i] = T(y[i] > 0 ? g : 0.0);
        break;
      case Unary::exp:
        dx[i] = T(g * y[i]);
        break;
      case Unary::log:
        dx[i] = T(g / x[i]);
        break;
      case Unary::tanh:
        dx[i] = T(g * (1 - double(y[i]) * y[i]));
        break;
      case Unary::sigmoid:
        dx[i] = T(g * y[i] * (1 - double(y[i])));
        break;
    }
  }
}

template <class T>
void binary_forward(Stream&, Binary f, const BinaryShape& z, const T* a, const T* b, T* y) {
  for (std::int64_t i = 0; i < z.rows; ++i)
    for (std::int64_t j = 0; j < z.columns; ++j) {
      const T u = a[i * z.columns + j], v = b[(z.b_rows == 1 ? 0 : i) * z.columns + j];
      y[i * z.columns + j] = f == Binary::add ? u + v : f == Binary::sub ? u - v : u * v;
    }
}

template <class T>
void binary_backward(Stream&, Binary f, const BinaryShape& z, const T* a, const T* b, const T* dy, T* da, T* db) {
  if (da != nullptr)
    for (std::int64_t i = 0; i < z.rows; ++i)
      for (std::int64_t j = 0; j < z.columns; ++j) {
        const T g = dy[i * z.columns + j];
        da[i * z.columns + j] = f == Binary::mul ? g * b[(z.b_rows == 1 ? 0 : i) * z.columns + j] : g;
      }
  if (db == nullptr) return;
  const std::int64_t repeats = z.b_rows == 1 ? z.rows : 1;  // rows of dy that one row of b took part in
  for (std::int64_t i = 0; i < z.b_rows; ++i)
    for (std::int64_t j = 0; j < z.columns; ++j) {
      double sum = 0;
      for (std::int64_t row = i; row < i + repeats; ++row) {
        const double g = dy[row * z.columns + j];
        sum += f == Binary::mul ? g * a[row * z.columns + j] : f == Binary::sub ? -g : g;
      }
      db[i * z.columns + j] = T(sum);
    }
}

template <class T>
void scale_forward(Stream&, std::int64_t n, float alpha, const T* x, float beta, T* y) {
  for (std::int64_t i = 0; i < n; ++i) y[i] = T(beta == 0 ? alpha * x[i] : alpha * x[i] + beta * y[i]);
}

}  // namespace retort::ref
