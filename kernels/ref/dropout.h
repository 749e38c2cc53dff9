// The mask of kernels/dropout.h, element by element.
#pragma once

#include "retort/kernels/dropout.h"

namespace retort::ref {

template <class T>
void dropout_mask(Stream&, std::int64_t n, float p, const PhiloxKey& key, T* mask) {
  float u[4];
  for (std::int64_t i = 0; i < n; ++i) {
    if (i % 4 == 0) philox_uniform4(key, static_cast<std::uint64_t>(i / 4), u);
    mask[i] = u[i % 4] >= p ? T(1.0f / (1.0f - p)) : T(0);
  }
}

template <class T>
void dropout_apply(Stream&, std::int64_t n, float p, const PhiloxKey& key, const T* x, T* y) {
  float u[4];
  for (std::int64_t i = 0; i < n; ++i) {
    if (i % 4 == 0) philox_uniform4(key, static_cast<std::uint64_t>(i / 4), u);
    y[i] = (u[i % 4] >= p ? T(1.0f / (1.0f - p)) : T(0)) * x[i];
  }
}

}  // namespace retort::ref
