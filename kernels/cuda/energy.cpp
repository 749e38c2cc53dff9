// The GPU's energy counter. NVML comes with the driver, not with the toolkit, so it is opened when it is first asked for: a
// program linked with it would not start on a machine without a driver.
#include "retort/kernels/energy.h"

#include <cuda_runtime_api.h>
#include <dlfcn.h>

namespace retort {
namespace {

/// The three functions that are needed, as nvml.h declares them (0 is success); stable since NVML 8.
struct Nvml {
  using Device = void*;
  int (*total_energy)(Device, unsigned long long* millijoules) = nullptr;
  Device device = nullptr;

  Nvml() {
    void* library = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);  // for as long as the program runs
    if (!library) return;
    const auto init = reinterpret_cast<int (*)()>(dlsym(library, "nvmlInit_v2"));
    const auto by_bus = reinterpret_cast<int (*)(const char*, Device*)>(dlsym(library, "nvmlDeviceGetHandleByPciBusId_v2"));
    const auto energy = reinterpret_cast<decltype(total_energy)>(dlsym(library, "nvmlDeviceGetTotalEnergyConsumption"));
    char bus[32] = {};  // CUDA counts visible devices, NVML all of them
    if (init && by_bus && energy && cudaDeviceGetPCIBusId(bus, sizeof bus, 0) == cudaSuccess && init() == 0 &&
        by_bus(bus, &device) == 0)
      total_energy = energy;
  }
};

}  // namespace

std::optional<double> gpu_joules() {
  static const Nvml nvml;
  unsigned long long millijoules = 0;
  if (!nvml.total_energy || nvml.total_energy(nvml.device, &millijoules) != 0) return std::nullopt;
  return 1e-3 * static_cast<double>(millijoules);
}

}  // namespace retort
