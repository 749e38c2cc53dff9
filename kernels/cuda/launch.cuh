// The one way to launch a kernel. The same file is compiled by nvcc for Device::cuda and by the host compiler, with the run-time
// of kernels/sim, for Device::cuda_sim; `this_device` says which one this is.
//
// Everything here and in the other .cuh files sits in an unnamed namespace: the two compilations give the same names different
// bodies, and the linker must not choose between them.
#pragma once

#include "retort/kernels/check.h"
#include "retort/kernels/stream.h"

#if defined(__CUDACC__)
#include "retort/kernels/cuda/handles.h"

#include <cuda_runtime.h>
#else
#include "retort/kernels/sim/queue.h"
#include "retort/kernels/sim/runtime.h"
#endif

#include <algorithm>
#include <cstdint>
#include <tuple>

namespace retort {
namespace {

#if defined(__CUDACC__)
constexpr Device this_device = Device::cuda;
#else
constexpr Device this_device = Device::cuda_sim;
#endif

struct LaunchConfig {
  Stream& stream;
  const char* name;  // op and function, for messages: "conv2d.forward"
  dim3 grid;
  dim3 block;
  std::size_t shared_bytes = 0;
};

/// Bytes of shared memory that one block may ask for.
inline std::size_t shared_capacity() {
#if defined(__CUDACC__)
  static const std::size_t bytes = [] {
    int device = 0, most = 0;
    cuda_check(cudaGetDevice(&device), "cudaGetDevice");
    cuda_check(cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, device), "cudaDeviceGetAttribute");
    return static_cast<std::size_t>(most);
  }();
  return bytes;
#else
  return sim::shared_capacity;
#endif
}

#if defined(__CUDACC__)
/// Lets `kernel` have all the shared memory that a block may ask for. Never less: the limit is the kernel's, not the launch's,
/// and a captured launch or one of another host thread may need more than the present one.
inline void allow_shared(const void* kernel, const char* name) {
  cudaFuncAttributes now{};
  cuda_check(cudaFuncGetAttributes(&now, kernel), "cudaFuncGetAttributes", name);
  const int most = static_cast<int>(shared_capacity() - now.sharedSizeBytes);
  if (now.maxDynamicSharedSizeBytes < most)
    cuda_check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, most), "cudaFuncSetAttribute", name);
}
#endif

/// Runs `kernel` with `arguments`, converted to its parameters' types. Throws DeviceError when the launch is refused.
template <class... Parameters, class... Arguments>
void launch(const LaunchConfig& config, void (*kernel)(Parameters...), Arguments... arguments) {
#if defined(__CUDACC__)
  std::tuple<Parameters...> values(static_cast<Parameters>(arguments)...);
  const auto entry = reinterpret_cast<const void*>(kernel);
  const OpRange range(config.name);
  if (config.shared_bytes > 48 * 1024) allow_shared(entry, config.name);
  const cudaError_t result = std::apply(
      [&](Parameters&... value) {
        void* pointers[] = {&value...};
        return cudaLaunchKernel(entry, config.grid, config.block, pointers, config.shared_bytes, cuda_stream(config.stream));
      },
      values);
  cuda_check(result, "cudaLaunchKernel", config.name);
#else
  struct Call {
    void (*kernel)(Parameters...);
    std::tuple<Parameters...> values;
  };
  const Call call{kernel, {static_cast<Parameters>(arguments)...}};
  const auto body = [](const void* pointer) {
    const Call& in = *static_cast<const Call*>(pointer);
    std::apply(in.kernel, in.values);
  };
  sim::Launch job{config.name, config.grid, config.block, config.shared_bytes, body, &call};
  if (!sim::is_captured(config.stream.queue())) {
    sim::run(config.stream.threads(), job);
    return;
  }
  const auto kept = std::make_shared<const Call>(call);
  job.arguments = kept.get();
  sim::keep(config.stream.queue(), config.stream.threads(), job, kept);
#endif
}

/// The block's dynamic shared memory, 16-byte aligned.
template <class T>
__device__ inline T* dynamic_shared() {
#if defined(__CUDACC__)
  extern __shared__ __align__(16) unsigned char retort_dynamic_shared[];
  return reinterpret_cast<T*>(retort_dynamic_shared);
#else
  return static_cast<T*>(sim::dynamic_shared());
#endif
}

inline std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

/// As a grid or block size.
inline unsigned count(std::int64_t n) { return static_cast<unsigned>(n); }

/// Calls launch_it with an index type that counts to n: 32 bits when they do, because on a GPU a 64-bit division is a routine of
/// a hundred instructions.
template <class LaunchIt>
void with_index(std::int64_t n, LaunchIt&& launch_it) {
  if (n < (std::int64_t{1} << 31))
    launch_it(std::uint32_t{});
  else
    launch_it(std::int64_t{});
}

inline bool aligned16(const void* pointer) { return reinterpret_cast<std::uintptr_t>(pointer) % 16 == 0; }

}  // namespace
}  // namespace retort
