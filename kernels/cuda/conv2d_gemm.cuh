// Convolution as matrix products whose factors are gathered from the image while they are fetched ("implicit GEMM"), for the
// tensor cores: any kernel size, stride and padding. Problems as gemm.cuh wants them; a row or column of them is taken apart with
// 32-bit divisions.
#pragma once

#include "retort/kernels/cuda/gemm.cuh"

namespace retort {
namespace {

struct ConvShape {
  std::int64_t n, c, h, w, k, r, s, stride_h, stride_w, pad_h, pad_w, oh, ow;
};

/// Place in an image (of outputs or inputs): sample, line, position.
struct ImagePlace {
  __device__ ImagePlace(std::int64_t at, std::int64_t height, std::int64_t width) {
    const auto i = static_cast<std::uint32_t>(at), in_line = static_cast<std::uint32_t>(width),
               lines = static_cast<std::uint32_t>(height);
    x = i % in_line, y = i / in_line % lines, sample = i / in_line / lines;
  }
  std::int64_t sample, y, x;
};

/// Place in the weights of one output channel, or of one input channel: channel, line, position.
struct WeightPlace {
  __device__ WeightPlace(const ConvShape& p, std::int64_t at) {
    const auto i = static_cast<std::uint32_t>(at), in_line = static_cast<std::uint32_t>(p.s),
               lines = static_cast<std::uint32_t>(p.r);
    s = i % in_line, r = i / in_line % lines, channel = i / in_line / lines;
  }
  std::int64_t channel, r, s;
};

/// What an output sees of x: zero outside.
__device__ inline float seen(const ConvShape& p, const float* x, const ImagePlace& out, const WeightPlace& tap) {
  const std::int64_t h = out.y * p.stride_h - p.pad_h + tap.r, i = out.x * p.stride_w - p.pad_w + tap.s;
  if (h < 0 || h >= p.h || i < 0 || i >= p.w) return 0.0f;
  return x[((out.sample * p.c + tap.channel) * p.h + h) * p.w + i];
}

/// Operands of a problem whose load_a(row, k) and load_b(k, column) look an element up.
template <class Problem>
struct OperandA {
  Problem p;
  __device__ float operator()(std::int64_t row, std::int64_t k) const { return p.load_a(row, k); }
};
template <class Problem>
struct OperandB {
  Problem p;
  __device__ float operator()(std::int64_t column, std::int64_t k) const { return p.load_b(k, column); }
};

/// y: rows are output channels, columns places of the outputs, k taps (c, r, s).
struct ConvForward {
  static constexpr bool a_along_k = true, b_along_k = false;
  ConvShape p;
  const float *x, *w, *bias;
  float* y;
  std::int64_t m, n, k;

  template <class Loader>
  using FetchA = LookUpFetch<Loader, OperandA<ConvForward>>;
  template <class Loader>
  using FetchB = LookUpFetch<Loader, OperandB<ConvForward>>;

  __device__ OperandA<ConvForward> operand_a() const { return {*this}; }
  __device__ OperandB<ConvForward> operand_b() const { return {*this}; }
  __device__ float load_a(std::int64_t row, std::int64_t tap) const { return w[row * k + tap]; }
  __device__ float load_b(std::int64_t tap, std::int64_t place) const {
    return seen(p, x, ImagePlace(place, p.oh, p.ow), WeightPlace(p, tap));
  }
  __device__ void store(std::int64_t row, std::int64_t place, float sum) const {
    const ImagePlace at(place, p.oh, p.ow);
    y[((at.sample * p.k + row) * p.oh + at.y) * p.ow + at.x] = bias == nullptr ? sum : sum + bias[row];
  }
};

/// dx: rows are input channels, columns places of the inputs, k taps (output channel, r, s).
struct ConvInputGradient {
  static constexpr bool a_along_k = true, b_along_k = false;
  ConvShape p;
  const float *w, *dy;
  float* dx;
  std::int64_t m, n, k;

  template <class Loader>
  using FetchA = LookUpFetch<Loader, OperandA<ConvInputGradient>>;
  template <class Loader>
  using FetchB = LookUpFetch<Loader, OperandB<ConvInputGradient>>;

  __device__ OperandA<ConvInputGradient> operand_a() const { return {*this}; }
  __device__ OperandB<ConvInputGradient> operand_b() const { return {*this}; }
  __device__ float load_a(std::int64_t row, std::int64_t tap) const {
    const WeightPlace at(p, tap);
    return w[((at.channel * p.c + row) * p.r + at.r) * p.s + at.s];
  }
  __device__ float load_b(std::int64_t tap, std::int64_t place) const {
    const WeightPlace t(p, tap);
    const ImagePlace at(place, p.h, p.w);
    const std::int64_t up = at.y + p.pad_h - t.r, left = at.x + p.pad_w - t.s;
    if (up < 0 || up % p.stride_h != 0 || left < 0 || left % p.stride_w != 0) return 0.0f;
    const std::int64_t oh = up / p.stride_h, ow = left / p.stride_w;
    return oh < p.oh && ow < p.ow ? dy[((at.sample * p.k + t.channel) * p.oh + oh) * p.ow + ow] : 0.0f;
  }
  __device__ void store(std::int64_t row, std::int64_t place, float sum) const {
    const ImagePlace at(place, p.h, p.w);
    dx[((at.sample * p.c + row) * p.h + at.y) * p.w + at.x] = sum;
  }
};

/// dw += : rows are output channels, columns taps (c, r, s), k places of the outputs.
struct ConvWeightGradient {
  static constexpr bool a_along_k = true, b_along_k = true;
  ConvShape p;
  const float *x, *dy;
  float* dw;
  std::int64_t m, n, k;

  template <class Loader>
  using FetchA = LookUpFetch<Loader, OperandA<ConvWeightGradient>>;
  template <class Loader>
  using FetchB = LookUpFetch<Loader, OperandB<ConvWeightGradient>>;

  __device__ OperandA<ConvWeightGradient> operand_a() const { return {*this}; }
  __device__ OperandB<ConvWeightGradient> operand_b() const { return {*this}; }
  __device__ float load_a(std::int64_t row, std::int64_t place) const {
    const ImagePlace at(place, p.oh, p.ow);
    return dy[((at.sample * p.k + row) * p.oh + at.y) * p.ow + at.x];
  }
  __device__ float load_b(std::int64_t place, std::int64_t tap) const {
    return seen(p, x, ImagePlace(place, p.oh, p.ow), WeightPlace(p, tap));
  }
  __device__ void store(std::int64_t row, std::int64_t tap, float sum) const { dw[row * n + tap] += sum; }
};

/// Whether places and taps can be counted in 32 bits.
inline bool fits_implicit_gemm(const ConvShape& p) {
  constexpr std::int64_t most = (std::int64_t{1} << 31) - 1;
  return p.n * p.h * p.w <= most && p.n * p.oh * p.ow <= most && p.k * p.r * p.s <= most && p.c * p.r * p.s <= most;
}

}  // namespace
}  // namespace retort
