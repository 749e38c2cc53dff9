// The CUDA run-time with errors that say what failed, and owners of its objects. Host code; kernels/cuda and kernels/vendor only.
#pragma once

#include "retort/kernels/check.h"
#include "retort/kernels/stream.h"

#include <cuda_runtime_api.h>
#include <nvtx3/nvToolsExt.h>

#include <string_view>
#include <utility>

namespace retort {

/// Throws DeviceError unless `result` is success: the call, what it was for, file and line, CUDA's own words, and what to do
/// about it.
inline void cuda_check(cudaError_t result, const char* call, const char* purpose = "", const char* file = __builtin_FILE(),
                       int line = __builtin_LINE()) {
  if (result == cudaSuccess) [[likely]]
    return;
  static_cast<void>(cudaGetLastError());  // an error that does not poison the device is over with this report
  std::string_view path = file;
  path.remove_prefix(path.rfind('/') + 1);
  const char* advice = "";
  if (result == cudaErrorNoKernelImageForDevice || result == cudaErrorInvalidDeviceFunction)
    advice =
        "; this build has no code for this GPU: configure with -DRETORT_CUDA_ARCHITECTURES=<its compute capability, e.g. 90>";
  if (result == cudaErrorInsufficientDriver) advice = "; the NVIDIA driver is older than this build's CUDA: update it";
  if (result == cudaErrorIllegalAddress || result == cudaErrorLaunchFailure || result == cudaErrorMisalignedAddress)
    advice = "; a kernel failed, perhaps an earlier one: run under compute-sanitizer, or with --device cuda_sim";
  fail<DeviceError>("cuda: {}{}{} failed: {} ({}) at {}:{}{}", purpose, *purpose != '\0' ? ": " : "", call,
                    cudaGetErrorString(result), cudaGetErrorName(result), path, line, advice);
}

/// Owns one CUDA object; move-only.
template <class Handle, auto destroy>
class CudaHandle {
 public:
  CudaHandle() = default;
  explicit CudaHandle(Handle handle) : handle_(handle) {}
  CudaHandle(CudaHandle&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  CudaHandle& operator=(CudaHandle&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~CudaHandle() {
    if (handle_ != nullptr) static_cast<void>(destroy(handle_));  // nothing to be done about an error here
  }

  Handle get() const { return handle_; }
  explicit operator bool() const { return handle_ != nullptr; }

 private:
  Handle handle_ = nullptr;
};

using CudaStream = CudaHandle<cudaStream_t, cudaStreamDestroy>;
using CudaEvent = CudaHandle<cudaEvent_t, cudaEventDestroy>;
using CudaGraph = CudaHandle<cudaGraph_t, cudaGraphDestroy>;
using CudaGraphExec = CudaHandle<cudaGraphExec_t, cudaGraphExecDestroy>;
using PinnedMemory = CudaHandle<void*, cudaFreeHost>;  ///< page-locked host memory, for copies

/// For order only; it keeps no time.
inline CudaEvent make_event() {
  cudaEvent_t event = nullptr;
  cuda_check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "cudaEventCreateWithFlags");
  return CudaEvent(event);
}

inline PinnedMemory make_pinned(std::size_t bytes) {
  void* pointer = nullptr;
  cuda_check(cudaMallocHost(&pointer, bytes), "cudaMallocHost", "page-locked staging memory");
  return PinnedMemory(pointer);
}

/// Where kernels and library calls of `stream` go.
inline cudaStream_t cuda_stream(const Stream& stream) { return static_cast<cudaStream_t>(stream.queue().native()); }

/// Names what is launched in its scope for Nsight Systems; without a profiler it is two calls that return at once. In a replayed
/// graph the launches have their own names there.
class OpRange {
 public:
  explicit OpRange(const char* name) { nvtxRangePushA(name); }
  ~OpRange() { nvtxRangePop(); }
  OpRange(const OpRange&) = delete;
  OpRange& operator=(const OpRange&) = delete;
};

}  // namespace retort
