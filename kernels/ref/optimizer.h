// The optimisers of kernels/optimizer.h as loops, in double.
#pragma once

#include "retort/kernels/optimizer.h"

#include <cmath>

namespace retort::ref {

template <class T>
void adam_ema(Stream&, std::int64_t n, const AdamHyper& h, const std::int32_t* step, T* p, const T* g, T* m, T* v, T* teacher) {
  const double t = *step + 1.0, b1 = h.beta1, b2 = h.beta2, ema = h.ema;
  const double rate = h.lr / (1 - std::pow(b1, t)), root = std::sqrt(1 - std::pow(b2, t));
  for (std::int64_t i = 0; i < n; ++i) {
    double weight = p[i], gradient = g[i];
    if (h.decoupled)
      weight -= double(h.lr) * h.weight_decay * weight;
    else
      gradient += h.weight_decay * weight;
    const double first = b1 * m[i] + (1 - b1) * gradient, second = b2 * v[i] + (1 - b2) * gradient * gradient;
    weight -= rate * first / (std::sqrt(second) / root + double(h.eps));
    m[i] = T(first);
    v[i] = T(second);
    p[i] = T(weight);
    if (teacher != nullptr) teacher[i] = T(ema * teacher[i] + (1 - ema) * weight);
  }
}

template <class T>
void sgd(Stream&, std::int64_t n, const SgdHyper& h, const std::int32_t* step, T* p, const T* g, T* velocity) {
  for (std::int64_t i = 0; i < n; ++i) {
    double change = g[i] + double(h.weight_decay) * p[i];
    if (velocity != nullptr) {
      if (*step > 0) change += double(h.momentum) * velocity[i];
      velocity[i] = T(change);
    }
    p[i] = T(p[i] - double(h.lr) * change);
  }
}

template <class T>
void ema(Stream&, std::int64_t n, float beta, const T* from, T* to) {
  for (std::int64_t i = 0; i < n; ++i) to[i] = T(double(beta) * to[i] + (1 - double(beta)) * from[i]);
}

inline void advance(Stream&, std::int32_t* step) { ++*step; }

}  // namespace retort::ref
