// Where tensors live and kernels run. Devices are an enum, not a class hierarchy: there are three, and each has one table of
// memory functions (DeviceMemory) and one row of kernels in the registry.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace retort {

enum class Device {
  cpu,       ///< the host, kernels from kernels/cpu (and kernels/ref, by name)
  cuda,      ///< the first visible NVIDIA GPU, kernels from kernels/cuda
  cuda_sim,  ///< the same .cu files, run on the host by kernels/sim
};
inline constexpr int device_count = 3;

std::string_view name(Device device);

/// Parses "cpu", "cuda" or "cuda_sim"; throws InputError that lists them otherwise.
Device parse_device(std::string_view text);

/// True when kernels for this device are linked in and the hardware answers. Never throws.
bool is_available(Device device);

/// One line for `retort info` and the first line of a run, e.g. "cpu: AMD EPYC, 2 threads, AVX-512". Never throws.
std::string describe(Device device);

/// Raw memory of one device. Pointers are at least 64-byte aligned. Functions throw DeviceError; `copy` and `fill_zero` are
/// ordered on the device's default stream, `copy_to_host` returns when the bytes are there.
struct DeviceMemory {
  void* (*allocate)(std::size_t bytes);
  void (*release)(void* pointer) noexcept;
  void (*fill_zero)(void* pointer, std::size_t bytes);
  void (*copy)(void* to, const void* from, std::size_t bytes);  ///< device to device
  void (*copy_from_host)(void* to, const void* from, std::size_t bytes);
  void (*copy_to_host)(void* to, const void* from, std::size_t bytes);
  void (*synchronize)();
};

/// Throws DeviceError when the device is not available, saying what to do ("built without CUDA: configure with -DRETORT_CUDA=ON").
const DeviceMemory& memory(Device device);

}  // namespace retort
