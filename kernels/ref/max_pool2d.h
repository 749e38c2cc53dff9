// The formula of kernels/max_pool2d.h as loops.
#pragma once

#include "retort/kernels/max_pool2d.h"

namespace retort::ref {

template <class T>
void max_pool2d_forward(Stream&, const MaxPool2dShape& z, const T* x, T* y, std::int32_t* argmax) {
  for (std::int64_t plane = 0; plane < z.n * z.c; ++plane)
    for (std::int64_t oh = 0; oh < z.oh(); ++oh)
      for (std::int64_t ow = 0; ow < z.ow(); ++ow) {
        std::int64_t winner = oh * z.stride_h * z.w + ow * z.stride_w;
        T best = x[plane * z.h * z.w + winner];
        for (std::int64_t r = 0; r < z.kernel_h; ++r)
          for (std::int64_t s = 0; s < z.kernel_w; ++s) {
            const std::int64_t at = (oh * z.stride_h + r) * z.w + ow * z.stride_w + s;
            const T value = x[plane * z.h * z.w + at];
            if (value > best || (value != value && best == best)) best = value, winner = at;  // value != value: NaN
          }
        const std::int64_t out = (plane * z.oh() + oh) * z.ow() + ow;
        y[out] = best;
        if (argmax != nullptr) argmax[out] = static_cast<std::int32_t>(winner);
      }
}

template <class T>
void max_pool2d_backward(Stream&, const MaxPool2dShape& z, const std::int32_t* argmax, const T* dy, T* dx) {
  for (std::int64_t plane = 0; plane < z.n * z.c; ++plane) {
    for (std::int64_t i = 0; i < z.h * z.w; ++i) dx[plane * z.h * z.w + i] = T(0);
    for (std::int64_t i = 0; i < z.oh() * z.ow(); ++i) {
      const std::int64_t out = plane * z.oh() * z.ow() + i;
      dx[plane * z.h * z.w + argmax[out]] += dy[out];
    }
  }
}

}  // namespace retort::ref
