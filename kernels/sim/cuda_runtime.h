// What a kernel file needs of CUDA when the host compiler reads it: the words of the language, the built-in variables, the
// vector types, and the functions that make threads of a block meet. The meaning of each is CUDA's ("CUDA C++ Programming
// Guide", chapter 10), and where CUDA calls a use undefined the simulator stops with a DeviceError that says which kernel, block
// and thread did it. runtime.cpp does the work; docs/kernel_simulator.md shows how to step through a kernel.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <source_location>
#include <type_traits>

#define __global__
#define __device__
#define __host__
#define __constant__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))

// One host thread runs one block at a time, so a block's shared variable is a static one of that host thread. AddressSanitizer
// puts guards around ordinary statics only, so under it they are ordinary, and blocks run one after the other.
#if defined(__SANITIZE_ADDRESS__)
#define __shared__ static
#else
#define __shared__ static thread_local
#endif

struct uint3 {
  unsigned x, y, z;
};

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
  constexpr unsigned count() const { return x * y * z; }
};

// may_alias: kernels read arrays of float through pointers to float4, which CUDA allows and ISO C++ does not.
struct __attribute__((may_alias, aligned(8))) float2 {
  float x, y;
};
struct __attribute__((may_alias, aligned(16))) float4 {
  float x, y, z, w;
};
struct __attribute__((may_alias, aligned(8))) int2 {
  int x, y;
};
struct __attribute__((may_alias, aligned(16))) int4 {
  int x, y, z, w;
};
struct __attribute__((may_alias, aligned(16))) uint4 {
  unsigned x, y, z, w;
};
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline int2 make_int2(int x, int y) { return {x, y}; }
inline int4 make_int4(int x, int y, int z, int w) { return {x, y, z, w}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

inline constexpr int warpSize = 32;
inline thread_local constinit uint3 threadIdx{};
inline thread_local constinit uint3 blockIdx{};
inline thread_local constinit dim3 blockDim{};
inline thread_local constinit dim3 gridDim{};

namespace retort::sim {

enum class Meeting { syncthreads, syncthreads_count, syncthreads_and, syncthreads_or };
enum class WarpOp { syncwarp, shfl, shfl_up, shfl_down, shfl_xor, ballot, all, any };

/// Waits for every thread of the block; returns what the Meeting's kind makes of all predicates.
int meet(Meeting kind, int predicate, const std::source_location& where);

/// Waits for the lanes in `mask`; returns this lane's result. `value` is the lane's contribution, `argument` the lane, delta or
/// xor mask.
std::uint64_t warp_operation(WarpOp kind, unsigned mask, std::uint64_t value, int argument, int width,
                             const std::source_location& where);

/// The block's dynamic shared memory, filled with NaN when the block starts.
void* dynamic_shared();

template <class T>
T shuffle(WarpOp kind, unsigned mask, T value, int argument, int width, const std::source_location& where) {
  static_assert(std::is_trivially_copyable_v<T> && (sizeof(T) == 4 || sizeof(T) == 8), "CUDA shuffles 32 and 64 bits");
  std::uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  bits = warp_operation(kind, mask, bits, argument, width, where);
  std::memcpy(&value, &bits, sizeof(T));
  return value;
}

}  // namespace retort::sim

inline void __syncthreads(std::source_location where = std::source_location::current()) {
  retort::sim::meet(retort::sim::Meeting::syncthreads, 0, where);
}
inline int __syncthreads_count(int predicate, std::source_location where = std::source_location::current()) {
  return retort::sim::meet(retort::sim::Meeting::syncthreads_count, predicate, where);
}
inline int __syncthreads_and(int predicate, std::source_location where = std::source_location::current()) {
  return retort::sim::meet(retort::sim::Meeting::syncthreads_and, predicate, where);
}
inline int __syncthreads_or(int predicate, std::source_location where = std::source_location::current()) {
  return retort::sim::meet(retort::sim::Meeting::syncthreads_or, predicate, where);
}
inline void __syncwarp(unsigned mask = 0xffffffffu, std::source_location where = std::source_location::current()) {
  retort::sim::warp_operation(retort::sim::WarpOp::syncwarp, mask, 0, 0, 32, where);
}
template <class T>
T __shfl_sync(unsigned mask, T value, int lane, int width = 32, std::source_location where = std::source_location::current()) {
  return retort::sim::shuffle(retort::sim::WarpOp::shfl, mask, value, lane, width, where);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32,
                 std::source_location where = std::source_location::current()) {
  return retort::sim::shuffle(retort::sim::WarpOp::shfl_up, mask, value, static_cast<int>(delta), width, where);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32,
                   std::source_location where = std::source_location::current()) {
  return retort::sim::shuffle(retort::sim::WarpOp::shfl_down, mask, value, static_cast<int>(delta), width, where);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = 32,
                  std::source_location where = std::source_location::current()) {
  return retort::sim::shuffle(retort::sim::WarpOp::shfl_xor, mask, value, lane_mask, width, where);
}
inline unsigned __ballot_sync(unsigned mask, int predicate, std::source_location where = std::source_location::current()) {
  return static_cast<unsigned>(retort::sim::warp_operation(retort::sim::WarpOp::ballot, mask, predicate != 0, 0, 32, where));
}
inline int __all_sync(unsigned mask, int predicate, std::source_location where = std::source_location::current()) {
  return static_cast<int>(retort::sim::warp_operation(retort::sim::WarpOp::all, mask, predicate != 0, 0, 32, where));
}
inline int __any_sync(unsigned mask, int predicate, std::source_location where = std::source_location::current()) {
  return static_cast<int>(retort::sim::warp_operation(retort::sim::WarpOp::any, mask, predicate != 0, 0, 32, where));
}

// Atomics work between blocks on different host threads; each returns the old value. Defined in runtime.cpp.
int atomicAdd(int* address, int value);
unsigned atomicAdd(unsigned* address, unsigned value);
unsigned long long atomicAdd(unsigned long long* address, unsigned long long value);
float atomicAdd(float* address, float value);
int atomicMax(int* address, int value);
int atomicMin(int* address, int value);
unsigned atomicOr(unsigned* address, unsigned value);
int atomicExch(int* address, int value);
int atomicCAS(int* address, int compare, int value);
unsigned atomicCAS(unsigned* address, unsigned compare, unsigned value);
void __threadfence();
inline void __threadfence_block() { __threadfence(); }

template <class T>
T __ldg(const T* address) {
  return *address;
}

inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __clz(int x) { return x == 0 ? 32 : __builtin_clz(static_cast<unsigned>(x)); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
inline float __expf(float x) { return std::exp(x); }
inline float __logf(float x) { return std::log(x); }
inline float __fdividef(float x, float y) { return x / y; }
inline float __int_as_float(int x) { return __builtin_bit_cast(float, x); }
inline int __float_as_int(float x) { return __builtin_bit_cast(int, x); }
