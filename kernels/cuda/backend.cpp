// Device::cuda: the first visible GPU. Everything is ordered on the calling host thread's stream (cudaStreamPerThread), which can
// be captured; memory comes from the driver's stream-ordered pool, which is told to keep what it has.
#include "retort/kernels/backends.h"
#include "retort/kernels/cuda/all.h"
#include "retort/kernels/cuda/handles.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace retort {
namespace {

constexpr double mib = 1 << 20;
constexpr std::size_t staging_bytes = std::size_t{1} << 20;

/// Looks for a GPU once.
struct Found {
  std::string problem;  // empty: there is a GPU
  bool has_pool = false;
};

Found look() {
  Found found;
  int devices = 0;
  cudaError_t result = cudaGetDeviceCount(&devices);
  if (result == cudaSuccess && devices > 0) result = cudaSetDevice(0);
  if (result != cudaSuccess || devices == 0) {
    static_cast<void>(cudaGetLastError());
    found.problem = fmt::format("no GPU answers ({})", result == cudaSuccess ? "none is visible" : cudaGetErrorString(result));
    if (result == cudaErrorInsufficientDriver) found.problem += "; install or update the NVIDIA driver";
    return found;
  }
  int pools = 0;
  if (cudaDeviceGetAttribute(&pools, cudaDevAttrMemoryPoolsSupported, 0) != cudaSuccess || pools == 0) return found;
  cudaMemPool_t pool = nullptr;
  std::uint64_t keep = UINT64_MAX;
  found.has_pool = cudaDeviceGetDefaultMemPool(&pool, 0) == cudaSuccess &&
                   cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &keep) == cudaSuccess;
  return found;
}

const Found& found() {
  static const Found result = look();
  return result;
}

void* allocate(std::size_t bytes) {
  void* pointer = nullptr;
  const std::size_t asked = std::max<std::size_t>(bytes, 1);
  const cudaError_t result =
      found().has_pool ? cudaMallocAsync(&pointer, asked, cudaStreamPerThread) : cudaMalloc(&pointer, asked);
  if (result == cudaErrorMemoryAllocation) {
    static_cast<void>(cudaGetLastError());
    std::size_t free = 0, total = 0;
    static_cast<void>(cudaMemGetInfo(&free, &total));
    fail<DeviceError>(
        "cuda: out of memory: {} bytes ({:.1f} MiB) were asked for, {:.1f} of the GPU's {:.1f} MiB are free; use a smaller "
        "batch or end other programs on this GPU",
        bytes, static_cast<double>(bytes) / mib, static_cast<double>(free) / mib, static_cast<double>(total) / mib);
  }
  cuda_check(result, "cudaMallocAsync");
  return pointer;
}

// At the program's end the driver may already be gone; the memory is gone with it then.
void release(void* pointer) noexcept {
  static_cast<void>(found().has_pool ? cudaFreeAsync(pointer, cudaStreamPerThread) : cudaFree(pointer));
}

void fill_zero(void* pointer, std::size_t bytes) {
  if (bytes > 0) cuda_check(cudaMemsetAsync(pointer, 0, bytes, cudaStreamPerThread), "cudaMemsetAsync");
}

void copy(void* to, const void* from, std::size_t bytes) {
  if (bytes > 0) cuda_check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, cudaStreamPerThread), "cudaMemcpyAsync");
}

// From ordinary host memory the driver has read all bytes when this returns.
void copy_from_host(void* to, const void* from, std::size_t bytes) {
  if (bytes > 0)
    cuda_check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, cudaStreamPerThread), "cudaMemcpyAsync",
               "host to device");
}

void synchronize() { cuda_check(cudaStreamSynchronize(cudaStreamPerThread), "cudaStreamSynchronize"); }

void copy_to_host(void* to, const void* from, std::size_t bytes) {
  if (bytes == 0) return;
  const bool staged = bytes <= staging_bytes;  // losses and counters: through page-locked memory, which the GPU writes directly
  static thread_local PinnedMemory staging = make_pinned(staging_bytes);
  cuda_check(cudaMemcpyAsync(staged ? staging.get() : to, from, bytes, cudaMemcpyDeviceToHost, cudaStreamPerThread),
             "cudaMemcpyAsync", "device to host");
  synchronize();
  if (staged) std::memcpy(to, staging.get(), bytes);
}

}  // namespace

bool cuda_available() { return found().problem.empty(); }

std::string cuda_describe() {
  if (!cuda_available()) return "cuda: in this build, but " + found().problem;
  cudaDeviceProp gpu{};
  int driver = 0;
  if (cudaGetDeviceProperties(&gpu, 0) != cudaSuccess || cudaDriverGetVersion(&driver) != cudaSuccess)
    return "cuda: a GPU that tells nothing";
  return fmt::format("cuda: {}, compute capability {}.{}, {} multiprocessors, {:.0f} MiB, driver for CUDA {}.{}", gpu.name,
                     gpu.major, gpu.minor, gpu.multiProcessorCount, static_cast<double>(gpu.totalGlobalMem) / mib, driver / 1000,
                     driver % 100 / 10);
}

const DeviceMemory& cuda_memory() {
  check<DeviceError>(cuda_available(), "cuda: {}", found().problem);
  static constexpr DeviceMemory table{allocate, release, fill_zero, copy, copy_from_host, copy_to_host, synchronize};
  return table;
}

void register_cuda_kernels() { register_gpu_kernels<Device::cuda>(); }

}  // namespace retort
