// Element-wise maps: y = f(x), y = a (op) b, y = alpha x + beta y, and their derivatives. Contract: kernels/elementwise.h.
// One or two operations an element: the memory's speed is the limit (map.cuh). With b repeated over the rows, db is a sum over
// rows (block.cuh).
#include "retort/kernels/elementwise.h"

#include "retort/kernels/cuda/all.h"
#include "retort/kernels/cuda/block.cuh"
#include "retort/kernels/cuda/map.cuh"
#include "retort/kernels/registry.h"

namespace retort {
namespace {

// ---- y = f(x): `a` is x; backward: `a` is y (x for log), `b` is dy

template <Unary f>
struct UnaryForward {
  __device__ float operator()(const MapValues& v) const {
    if constexpr (f == Unary::relu) return v.a < 0.0f ? 0.0f : v.a;  // keeps NaN
    if constexpr (f == Unary::exp) return expf(v.a);
    if constexpr (f == Unary::log) return logf(v.a);
    if constexpr (f == Unary::tanh) return tanhf(v.a);
    if constexpr (f == Unary::sigmoid) return 1.0f / (1.0f + expf(-v.a));
  }
};

template <Unary f>
struct UnaryBackward {
  __device__ float operator()(const MapValues& v) const {
    if constexpr (f == Unary::relu) return v.a > 0.0f ? v.b : 0.0f;
    if constexpr (f == Unary::exp) return v.b * v.a;
    if constexpr (f == Unary::log) return v.b / v.a;
    if constexpr (f == Unary::tanh) return v.b * (1.0f - v.a * v.a);
    if constexpr (f == Unary::sigmoid) return v.b * v.a * (1.0f - v.a);
  }
};

template <template <Unary> class Function>
void map_unary(Stream& stream, const char* name, Unary f, std::int64_t n, const MapInputs& in, float* y) {
  switch (f) {
    case Unary::relu:
      return map(stream, name, n, in, y, Function<Unary::relu>{});
    case Unary::exp:
      return map(stream, name, n, in, y, Function<Unary::exp>{});
    case Unary::log:
      return map(stream, name, n, in, y, Function<Unary::log>{});
    case Unary::tanh:
      return map(stream, name, n, in, y, Function<Unary::tanh>{});
    case Unary::sigmoid:
      return map(stream, name, n, in, y, Function<Unary::sigmoid>{});
  }
}

void unary_forward(Stream& stream, Unary f, std::int64_t n, const float* x, float* y) {
  map_unary<UnaryForward>(stream, "unary.forward", f, n, {x}, y);
}

void unary_backward(Stream& stream, Unary f, std::int64_t n, const float* x, const float* y, const float* dy, float* dx) {
  map_unary<UnaryBackward>(stream, "unary.backward", f, n, {f == Unary::log ? x : y, dy}, dx);
}

// ---- y = a (op) b

template <Binary f>
__device__ float combine(float a, float b) {
  if constexpr (f == Binary::add) return a + b;
  if constexpr (f == Binary::sub) return a - b;
  if constexpr (f == Binary::mul) return a * b;
}

template <Binary f>
struct BinaryForward {
  __device__ float operator()(const MapValues& v) const { return combine<f>(v.a, v.b); }
};

/// The same with b: (columns), repeated over the rows.
template <Binary f, class Index>
__global__ void __launch_bounds__(map_block)
    repeated_kernel(std::int64_t n, Index columns, const float* a, const float* b, float* y) {
  const std::int64_t i = global_thread();
  if (i < n) y[i] = combine<f>(a[i], b[static_cast<Index>(i) % columns]);
}

template <Binary f>
void binary_forward_as(Stream& stream, const BinaryShape& s, const float* a, const float* b, float* y) {
  const std::int64_t n = s.rows * s.columns;
  if (n == 0) return;
  if (s.b_rows == s.rows) return map(stream, "binary.forward", n, {a, b}, y, BinaryForward<f>{});
  with_index(n, [&](auto index) {
    launch({stream, "binary.forward", dim3(count(ceil_div(n, map_block))), dim3(map_block)}, repeated_kernel<f, decltype(index)>,
           n, s.columns, a, b, y);
  });
}

void binary_forward(Stream& stream, Binary f, const BinaryShape& s, const float* a, const float* b, float* y) {
  switch (f) {
    case Binary::add:
      return binary_forward_as<Binary::add>(stream, s, a, b, y);
    case Binary::sub:
      return binary_forward_as<Binary::sub>(stream, s, a, b, y);
    case Binary::mul:
      return binary_forward_as<Binary::mul>(stream, s, a, b, y);
  }
}

struct Times {
  float factor;
  __device__ float operator()(const MapValues& v) const { return factor * v.a; }
};

/// sign * dy (add, sub: a is null) or a * dy (mul) of one row and column.
struct RepeatedGradient {
  const float *dy, *a;
  std::int64_t columns;
  float sign;
  __device__ float operator()(std::int64_t row, std::int64_t column) const {
    const std::int64_t i = row * columns + column;
    return a == nullptr ? sign * dy[i] : a[i] * dy[i];
  }
};

void binary_backward(Stream& stream, Binary f, const BinaryShape& s, const float* a, const float* b, const float* dy, float* da,
                     float* db) {
  const std::int64_t n = s.rows * s.columns;
  const bool repeated = s.b_rows != s.rows;
  const char* name = "binary.backward";
  if (da != nullptr && n > 0) {
    if (f != Binary::mul)
      map(stream, name, n, {dy}, da, Times{1.0f});
    else
      binary_forward_as<Binary::mul>(stream, s, dy, b, da);
  }
  if (db == nullptr || s.columns == 0) return;
  const float sign = f == Binary::sub ? -1.0f : 1.0f;
  if (repeated)
    column_sum(stream, name, s.rows, s.columns, RepeatedGradient{dy, f == Binary::mul ? a : nullptr, s.columns, sign}, false, db);
  else if (f == Binary::mul)
    map(stream, name, n, {dy, a}, db, BinaryForward<Binary::mul>{});
  else
    map(stream, name, n, {dy}, db, Times{sign});
}

// ---- y = alpha x + beta y

struct Scale {
  float alpha, beta;
  __device__ float operator()(const MapValues& v) const { return fmaf(alpha, v.a, beta * v.b); }
};

void scale(Stream& stream, std::int64_t n, float alpha, const float* x, float beta, float* y) {
  if (beta == 0.0f)
    map(stream, "scale.forward", n, {x}, y, Times{alpha});
  else
    map(stream, "scale.forward", n, {x, y}, y, Scale{alpha, beta});
}

}  // namespace

template <>
void register_elementwise<this_device>() {
  KernelTable<UnaryKernels>::instance().add(this_device, "cuda", 10, {unary_forward, unary_backward});
  KernelTable<BinaryKernels>::instance().add(this_device, "cuda", 10, {binary_forward, binary_backward});
  KernelTable<ScaleKernels>::instance().add(this_device, "cuda", 10, {scale});
}

}  // namespace retort
