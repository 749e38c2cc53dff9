// The reductions of kernels/reduce.h as loops, summed in double.
#pragma once

#include "retort/kernels/reduce.h"

#include <cmath>

namespace retort::ref {

template <class T>
void reduce_forward(Stream&, Reduction f, std::int64_t n, const T* x, T* y) {
  double sum = 0;
  for (std::int64_t i = 0; i < n; ++i) sum += f == Reduction::l1 ? std::abs(double(x[i])) : double(x[i]);
  y[0] = T(f == Reduction::mean ? sum / double(n) : sum);
}

template <class T>
void reduce_backward(Stream&, Reduction f, std::int64_t n, const T* x, const T* dy, T* dx) {
  const double g = dy[0];
  for (std::int64_t i = 0; i < n; ++i) switch (f) {
      case Reduction::sum:
        dx[i] = T(g);
        break;
      case Reduction::mean:
        dx[i] = T(g / double(n));
        break;
      case Reduction::l1:
        dx[i] = T(x[i] > 0 ? g : x[i] < 0 ? -g : 0.0);
        break;
    }
}

}  // namespace retort::ref
