// Linked when the CUDA backend is not built.
#include "retort/kernels/backends.h"
#include "retort/kernels/check.h"
#include "retort/kernels/energy.h"

namespace retort {

bool cuda_available() { return false; }

std::string cuda_describe() { return "cuda: not in this build (configure with -DRETORT_CUDA=ON)"; }

const DeviceMemory& cuda_memory() { fail<DeviceError>("built without CUDA: configure with -DRETORT_CUDA=ON"); }

std::unique_ptr<Queue> make_cuda_queue() { fail<DeviceError>("built without CUDA: configure with -DRETORT_CUDA=ON"); }

void register_cuda_kernels() {}

std::optional<double> gpu_joules() { return std::nullopt; }

}  // namespace retort
