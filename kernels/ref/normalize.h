// The formulas of kernels/normalize.h as loops, summed in double.
#pragma once

#include "retort/kernels/normalize.h"

#include <algorithm>
#include <cmath>

namespace retort::ref {

template <class T>
void l2_normalize_forward(Stream&, std::int64_t rows, std::int64_t columns, const T* x, T* norm, T* y) {
  for (std::int64_t i = 0; i < rows; ++i) {
    double squares = 0;
    for (std::int64_t j = 0; j < columns; ++j) squares += double(x[i * columns + j]) * x[i * columns + j];
    const double length = std::max(std::sqrt(squares), double(l2_normalize_eps));
    norm[i] = T(length);
    for (std::int64_t j = 0; j < columns; ++j) y[i * columns + j] = T(x[i * columns + j] / length);
  }
}

template <class T>
void l2_normalize_backward(Stream&, std::int64_t rows, std::int64_t columns, const T* norm, const T* y, const T* dy, T* dx) {
  for (std::int64_t i = 0; i < rows; ++i) {
    double dot = 0;
    if (norm[i] > T(l2_normalize_eps))
      for (std::int64_t j = 0; j < columns; ++j) dot += double(y[i * columns + j]) * dy[i * columns + j];
    for (std::int64_t j = 0; j < columns; ++j)
      dx[i * columns + j] = T((dy[i * columns + j] - y[i * columns + j] * dot) / norm[i]);
  }
}

}  // namespace retort::ref
