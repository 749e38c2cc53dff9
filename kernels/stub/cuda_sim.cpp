// Linked when the kernel simulator is not built.
#include "retort/kernels/backends.h"
#include "retort/kernels/check.h"

namespace retort {

bool cuda_sim_available() { return false; }

std::string cuda_sim_describe() { return "cuda_sim: not in this build (configure with -DRETORT_SIM=ON)"; }

const DeviceMemory& cuda_sim_memory() { fail<DeviceError>("built without the kernel simulator: configure with -DRETORT_SIM=ON"); }

std::unique_ptr<Queue> make_cuda_sim_queue() {
  fail<DeviceError>("built without the kernel simulator: configure with -DRETORT_SIM=ON");
}

void register_cuda_sim_kernels() {}

}  // namespace retort
