// Device::cuda: the first visible GPU. A Stream's work is ordered on the calling host thread's CUDA stream (cudaStreamPerThread),
// which can be captured; work beside it has a CUDA stream of its own. Memory comes from the driver's stream-ordered pool, which
// is told to keep what it has.
#include "retort/kernels/backends.h"
#include "retort/kernels/cuda/all.h"
#include "retort/kernels/cuda/handles.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace retort {
namespace {

constexpr double mib = 1 << 20;

// ---- is there a GPU?

/// Looks for a GPU once.
struct Found {
  std::string problem;  // empty: there is a GPU, and this build has code for it
  bool has_pool = false;
  cudaMemPool_t pool = nullptr;
};

std::string no_gpu(cudaError_t result) {
  if (result == cudaErrorInsufficientDriver)
    return fmt::format("no NVIDIA driver, or one older than CUDA {}.{}, which this build needs: install or update it",
                       CUDART_VERSION / 1000, CUDART_VERSION % 100 / 10);
  return fmt::format("no GPU answers ({})", result == cudaSuccess ? "none is visible" : cudaGetErrorString(result));
}

/// The reason why no kernel of this build can run on the GPU; empty when they can.
std::string no_code() {
  cudaFuncAttributes attributes{};
  const cudaError_t result = cudaFuncGetAttributes(&attributes, some_kernel<Device::cuda>());
  if (result == cudaSuccess) return {};
  static_cast<void>(cudaGetLastError());
  const bool other_code = result == cudaErrorNoKernelImageForDevice || result == cudaErrorInvalidDeviceFunction ||
                          result == cudaErrorUnsupportedPtxVersion;
  cudaDeviceProp gpu{};
  if (!other_code || cudaGetDeviceProperties(&gpu, 0) != cudaSuccess) return no_gpu(result);
  return fmt::format(
      "this build has no code for {} of compute capability {}.{} ({}): configure with "
      "-DRETORT_CUDA_ARCHITECTURES={}{}",
      gpu.name, gpu.major, gpu.minor, cudaGetErrorString(result), gpu.major, gpu.minor);
}

Found look() {
  Found found;
  int devices = 0;
  cudaError_t result = cudaGetDeviceCount(&devices);
  if (result == cudaSuccess && devices > 0) result = cudaSetDevice(0);
  if (result != cudaSuccess || devices == 0) {
    static_cast<void>(cudaGetLastError());
    found.problem = no_gpu(result);
    return found;
  }
  found.problem = no_code();
  int pools = 0;
  if (cudaDeviceGetAttribute(&pools, cudaDevAttrMemoryPoolsSupported, 0) != cudaSuccess || pools == 0) return found;
  // Virtual GPUs and sandboxes may promise a pool and refuse what is asked of it.
  std::uint64_t keep = UINT64_MAX;
  void* probe = nullptr;
  found.has_pool = cudaDeviceGetDefaultMemPool(&found.pool, 0) == cudaSuccess &&
                   cudaMemPoolSetAttribute(found.pool, cudaMemPoolAttrReleaseThreshold, &keep) == cudaSuccess &&
                   cudaMallocAsync(&probe, 1, cudaStreamPerThread) == cudaSuccess &&
                   cudaFreeAsync(probe, cudaStreamPerThread) == cudaSuccess &&
                   cudaStreamSynchronize(cudaStreamPerThread) == cudaSuccess;
  if (!found.has_pool) static_cast<void>(cudaGetLastError());
  return found;
}

const Found& found() {
  static const Found result = look();
  return result;
}

// ---- memory

// The host waits, so that every stream may use the memory. It is rare: tensors come from arenas that keep what they get.
void* allocate(std::size_t bytes) {
  void* pointer = nullptr;
  const std::size_t asked = std::max<std::size_t>(bytes, 1);
  const auto ask = [&] {
    return found().has_pool ? cudaMallocAsync(&pointer, asked, cudaStreamPerThread) : cudaMalloc(&pointer, asked);
  };
  cudaError_t result = ask();
  if (result == cudaErrorMemoryAllocation) {
    static_cast<void>(cudaGetLastError());
    // Not the device: other host threads may be capturing, which waiting for all streams would spoil.
    static_cast<void>(cudaStreamSynchronize(cudaStreamPerThread));
    if (found().has_pool) {  // what the pool keeps may lie in pieces, and is free memory that cudaMemGetInfo does not count
      static_cast<void>(cudaMemPoolTrimTo(found().pool, 0));
      result = ask();
    }
  }
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
  cuda_check(cudaStreamSynchronize(cudaStreamPerThread), "cudaStreamSynchronize", "after cudaMallocAsync");
  return pointer;
}

// Work beside the main stream that used the memory has been waited for by then (core/branch.h). At the program's end, and after a
// kernel has failed, the driver gives errors here; the memory is gone with the program then.
void release(void* pointer) noexcept {
  if (pointer == nullptr) return;
  static_cast<void>(found().has_pool ? cudaFreeAsync(pointer, cudaStreamPerThread) : cudaFree(pointer));
}

// ---- copies

/// Page-locked memory that copies from and to the host go through, in pieces: the GPU reads one half while the host fills the
/// other. One a host thread.
class Staging {
 public:
  static Staging& mine() {
    static thread_local Staging staging;
    return staging;
  }

  void upload(void* to, const void* from, std::size_t bytes, cudaStream_t stream) {
    for (std::size_t at = 0; at < bytes; at += half_bytes, next_ = 1 - next_) {
      const std::size_t size = std::min(half_bytes, bytes - at);
      cuda_check(cudaEventSynchronize(free_[next_].get()), "cudaEventSynchronize", "host to device");
      std::memcpy(half(next_), static_cast<const char*>(from) + at, size);
      cuda_check(cudaMemcpyAsync(static_cast<char*>(to) + at, half(next_), size, cudaMemcpyHostToDevice, stream),
                 "cudaMemcpyAsync", "host to device");
      cuda_check(cudaEventRecord(free_[next_].get(), stream), "cudaEventRecord", "host to device");
    }
  }

  void download(void* to, const void* from, std::size_t bytes, cudaStream_t stream) {
    for (std::size_t at = 0; at < bytes; at += half_bytes, next_ = 1 - next_) {
      const std::size_t size = std::min(half_bytes, bytes - at);
      cuda_check(cudaEventSynchronize(free_[next_].get()), "cudaEventSynchronize", "device to host");
      cuda_check(cudaMemcpyAsync(half(next_), static_cast<const char*>(from) + at, size, cudaMemcpyDeviceToHost, stream),
                 "cudaMemcpyAsync", "device to host");
      cuda_check(cudaStreamSynchronize(stream), "cudaStreamSynchronize", "device to host");
      std::memcpy(static_cast<char*>(to) + at, half(next_), size);
    }
  }

 private:
  static constexpr std::size_t half_bytes = std::size_t{1} << 20;
  char* half(int i) const { return static_cast<char*>(memory_.get()) + static_cast<std::size_t>(i) * half_bytes; }

  PinnedMemory memory_ = make_pinned(2 * half_bytes);
  CudaEvent free_[2] = {make_event(), make_event()};  // when the GPU has read the half
  int next_ = 0;
};

void fill_zero_on(cudaStream_t stream, void* pointer, std::size_t bytes) {
  if (bytes > 0) cuda_check(cudaMemsetAsync(pointer, 0, bytes, stream), "cudaMemsetAsync");
}
void copy_on(cudaStream_t stream, void* to, const void* from, std::size_t bytes) {
  if (bytes > 0) cuda_check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream), "cudaMemcpyAsync");
}
void synchronize_on(cudaStream_t stream) { cuda_check(cudaStreamSynchronize(stream), "cudaStreamSynchronize"); }

void fill_zero(void* pointer, std::size_t bytes) { fill_zero_on(cudaStreamPerThread, pointer, bytes); }
void copy(void* to, const void* from, std::size_t bytes) { copy_on(cudaStreamPerThread, to, from, bytes); }
void synchronize() { synchronize_on(cudaStreamPerThread); }
void copy_from_host(void* to, const void* from, std::size_t bytes) {
  if (bytes > 0) Staging::mine().upload(to, from, bytes, cudaStreamPerThread);
}
void copy_to_host(void* to, const void* from, std::size_t bytes) {
  if (bytes > 0) Staging::mine().download(to, from, bytes, cudaStreamPerThread);
}

// ---- queues

class CudaWorkGraph final : public WorkGraph {
 public:
  explicit CudaWorkGraph(const CudaGraph& graph) {
    cuda_check(cudaGraphGetNodes(graph.get(), nullptr, &size_), "cudaGraphGetNodes");
    cudaGraphExec_t exec = nullptr;
    cuda_check(cudaGraphInstantiate(&exec, graph.get(), 0), "cudaGraphInstantiate", "the captured step");
    exec_ = CudaGraphExec(exec);
  }
  std::size_t size() const override { return size_; }
  cudaGraphExec_t get() const { return exec_.get(); }

 private:
  std::size_t size_ = 0;
  CudaGraphExec exec_;
};

class CudaQueue final : public Queue {
 public:
  CudaQueue() : Queue(Device::cuda), stream_(cudaStreamPerThread) {}
  explicit CudaQueue(CudaQueue& main) : Queue(Device::cuda), main_(&main) {
    cuda_check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
    own_ = CudaStream(stream_);
  }

  void fill_zero(void* pointer, std::size_t bytes) override { fill_zero_on(stream_, pointer, bytes); }
  void copy(void* to, const void* from, std::size_t bytes) override { copy_on(stream_, to, from, bytes); }
  void copy_from_host(void* to, const void* from, std::size_t bytes) override {
    if (bytes > 0) Staging::mine().upload(to, from, bytes, stream_);
  }
  void copy_to_host(void* to, const void* from, std::size_t bytes) override {
    if (bytes > 0) Staging::mine().download(to, from, bytes, stream_);
  }
  void synchronize() override { synchronize_on(stream_); }

  std::unique_ptr<Queue> beside() override { return std::make_unique<CudaQueue>(main_ != nullptr ? *main_ : *this); }
  void wait_for(Queue& other) override {
    auto& queue = static_cast<CudaQueue&>(other);
    cuda_check(cudaEventRecord(queue.event_.get(), queue.stream_), "cudaEventRecord");
    cuda_check(cudaStreamWaitEvent(stream_, queue.event_.get(), 0), "cudaStreamWaitEvent");
  }

  bool can_capture() const override { return main_ == nullptr; }
  bool capturing() const override { return main_ != nullptr ? main_->capturing_ : capturing_; }
  void begin_capture() override {
    // Other host threads may go on with their own work meanwhile.
    cuda_check(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
    capturing_ = true;
  }
  std::unique_ptr<WorkGraph> end_capture() override {
    cudaGraph_t graph = nullptr;
    capturing_ = false;
    cuda_check(cudaStreamEndCapture(stream_, &graph), "cudaStreamEndCapture");
    return std::make_unique<CudaWorkGraph>(CudaGraph(graph));
  }
  void abandon_capture() noexcept override {
    if (!capturing_) return;
    capturing_ = false;
    cudaGraph_t graph = nullptr;
    static_cast<void>(cudaStreamEndCapture(stream_, &graph));
    const CudaGraph dropped(graph);
    static_cast<void>(cudaGetLastError());  // an error of the capture is not one of what comes next
  }
  void launch(const WorkGraph& graph) override {
    cuda_check(cudaGraphLaunch(static_cast<const CudaWorkGraph&>(graph).get(), stream_), "cudaGraphLaunch", "the captured step");
  }

  void* native() const override { return stream_; }

 private:
  CudaQueue* main_ = nullptr;  // of a queue beside it
  CudaStream own_;
  cudaStream_t stream_ = nullptr;
  CudaEvent event_ = make_event();
  bool capturing_ = false;
};

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

std::unique_ptr<Queue> make_cuda_queue() { return std::make_unique<CudaQueue>(); }

void register_cuda_kernels() { register_gpu_kernels<Device::cuda>(); }

}  // namespace retort
