// The formula of kernels/conv2d.h as loops. Sums are taken in double whatever T is.
#pragma once

#include "retort/kernels/conv2d.h"

namespace retort::ref {

template <class T>
void conv2d_forward(Stream&, const Conv2dShape& z, const T* x, const T* w, const T* b, T* y) {
  for (std::int64_t n = 0; n < z.n; ++n)
    for (std::int64_t k = 0; k < z.k; ++k)
      for (std::int64_t oh = 0; oh < z.oh(); ++oh)
        for (std::int64_t ow = 0; ow < z.ow(); ++ow) {
          double sum = b != nullptr ? b[k] : 0.0;
          for (std::int64_t c = 0; c < z.c; ++c)
            for (std::int64_t r = 0; r < z.r; ++r)
              for (std::int64_t s = 0; s < z.s; ++s) {
                const std::int64_t ih = oh * z.stride_h - z.pad_h + r, iw = ow * z.stride_w - z.pad_w + s;
                if (ih < 0 || ih >= z.h || iw < 0 || iw >= z.w) continue;
                sum += double(x[((n * z.c + c) * z.h + ih) * z.w + iw]) * w[((k * z.c + c) * z.r + r) * z.s + s];
              }
          y[((n * z.k + k) * z.oh() + oh) * z.ow() + ow] = T(sum);
        }
}

/// dx[n,c,ih,iw] = sum of dy[n,k,oh,ow] * w[k,c,r,s] over all (k, oh, ow, r, s) whose window met that input element.
template <class T>
void conv2d_backward_input(const Conv2dShape& z, const T* w, const T* dy, T* dx) {
  for (std::int64_t n = 0; n < z.n; ++n)
    for (std::int64_t c = 0; c < z.c; ++c)
      for (std::int64_t ih = 0; ih < z.h; ++ih)
        for (std::int64_t iw = 0; iw < z.w; ++iw) {
          double sum = 0;
          for (std::int64_t r = 0; r < z.r; ++r)
            for (std::int64_t s = 0; s < z.s; ++s) {
              const std::int64_t top = ih + z.pad_h - r, left = iw + z.pad_w - s;  // oh * stride_h, ow * stride_w
              if (top < 0 || left < 0 || top % z.stride_h != 0 || left % z.stride_w != 0) continue;
              const std::int64_t oh = top / z.stride_h, ow = left / z.stride_w;
              if (oh >= z.oh() || ow >= z.ow()) continue;
              for (std::int64_t k = 0; k < z.k; ++k)
                sum += double(dy[((n * z.k + k) * z.oh() + oh) * z.ow() + ow]) * w[((k * z.c + c) * z.r + r) * z.s + s];
            }
          dx[((n * z.c + c) * z.h + ih) * z.w + iw] = T(sum);
        }
}

/// dw[k,c,r,s] += sum over samples and outputs of dy * the input under that tap.
template <class T>
void conv2d_backward_weight(const Conv2dShape& z, const T* x, const T* dy, T* dw) {
  for (std::int64_t k = 0; k < z.k; ++k)
    for (std::int64_t c = 0; c < z.c; ++c)
      for (std::int64_t r = 0; r < z.r; ++r)
        for (std::int64_t s = 0; s < z.s; ++s) {
          double sum = 0;
          for (std::int64_t n = 0; n < z.n; ++n)
            for (std::int64_t oh = 0; oh < z.oh(); ++oh)
              for (std::int64_t ow = 0; ow < z.ow(); ++ow) {
                const std::int64_t ih = oh * z.stride_h - z.pad_h + r, iw = ow * z.stride_w - z.pad_w + s;
                if (ih < 0 || ih >= z.h || iw < 0 || iw >= z.w) continue;
                sum += double(dy[((n * z.k + k) * z.oh() + oh) * z.ow() + ow]) * x[((n * z.c + c) * z.h + ih) * z.w + iw];
              }
          T& out = dw[((k * z.c + c) * z.r + r) * z.s + s];
          out = T(out + sum);
        }
}

template <class T>
void conv2d_backward(Stream&, const Conv2dShape& z, const T* x, const T* w, const T* dy, T* dx, T* dw, T* db) {
  if (dx != nullptr) conv2d_backward_input(z, w, dy, dx);
  if (dw != nullptr) conv2d_backward_weight(z, x, dy, dw);
  if (db != nullptr)
    for (std::int64_t k = 0; k < z.k; ++k) {
      double sum = 0;
      for (std::int64_t n = 0; n < z.n; ++n)
        for (std::int64_t i = 0; i < z.oh() * z.ow(); ++i) sum += dy[(n * z.k + k) * z.oh() * z.ow() + i];
      db[k] = T(db[k] + sum);
    }
}

}  // namespace retort::ref
