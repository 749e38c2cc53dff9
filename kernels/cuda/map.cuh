// y[i] = f(inputs at i): four elements a thread, one 16-byte access an array when all of them are aligned. The traffic is all
// there is to such a kernel, so this is the whole of the optimisation.
#pragma once

#include "retort/kernels/cuda/launch.cuh"

namespace retort {
namespace {

/// What f gets: the i-th element of up to three inputs.
struct MapValues {
  float a = 0.0f, b = 0.0f, c = 0.0f;
};

struct MapInputs {
  const float* a = nullptr;  // null: not read, 0
  const float* b = nullptr;
  const float* c = nullptr;
};

constexpr int map_block = 256;

__device__ inline float4 load4(const float* x, std::int64_t i) {
  return x == nullptr ? make_float4(0.0f, 0.0f, 0.0f, 0.0f) : *reinterpret_cast<const float4*>(x + i);
}

template <class Function>
__global__ void __launch_bounds__(map_block) map_kernel(std::int64_t n, bool vector, MapInputs in, float* y, Function f) {
  const auto single = [&](std::int64_t i) {
    y[i] = f(MapValues{in.a ? in.a[i] : 0.0f, in.b ? in.b[i] : 0.0f, in.c ? in.c[i] : 0.0f});
  };
  const std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * map_block * 4;
  if (!vector) {
    for (std::int64_t j = 0; j < 4; ++j)
      if (const std::int64_t i = first + j * map_block + threadIdx.x; i < n) single(i);
    return;
  }
  const std::int64_t i = first + threadIdx.x * 4;
  if (i + 3 < n) {
    const float4 a = load4(in.a, i), b = load4(in.b, i), c = load4(in.c, i);
    *reinterpret_cast<float4*>(y + i) = make_float4(f(MapValues{a.x, b.x, c.x}), f(MapValues{a.y, b.y, c.y}),
                                                    f(MapValues{a.z, b.z, c.z}), f(MapValues{a.w, b.w, c.w}));
  } else {
    for (std::int64_t j = i; j < n; ++j) single(j);
  }
}

template <class Function>
void map(Stream& stream, const char* name, std::int64_t n, const MapInputs& in, float* y, const Function& f) {
  if (n == 0) return;
  const bool vector = aligned16(in.a) && aligned16(in.b) && aligned16(in.c) && aligned16(y);
  launch({stream, name, dim3(count(ceil_div(n, map_block * 4))), dim3(map_block)}, map_kernel<Function>, n, vector, in, y, f);
}

}  // namespace
}  // namespace retort
