// Device::cuda_sim: host memory, and the kernels of kernels/cuda compiled for the host.
#include "retort/kernels/backends.h"
#include "retort/kernels/check.h"
#include "retort/kernels/cuda/all.h"
#include "retort/kernels/sim/runtime.h"
#include "retort/kernels/thread_team.h"

namespace retort {

bool cuda_sim_available() { return true; }

std::string cuda_sim_describe() {
  const int threads = ThreadTeam::available();
  return fmt::format("cuda_sim: the CUDA kernels on {} host thread{}{}", threads, threads == 1 ? "" : "s",
                     sim::checks_accesses() ? ", shared-memory accesses checked" : "");
}

const DeviceMemory& cuda_sim_memory() { return host_memory(); }

void register_cuda_sim_kernels() { register_gpu_kernels<Device::cuda_sim>(); }

}  // namespace retort
