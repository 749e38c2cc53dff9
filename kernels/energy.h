// The GPU's energy counter: kernels/cuda/energy.cpp, or kernels/stub/cuda.cpp.
#pragma once

#include <optional>

namespace retort {

/// Joules that the first visible GPU has used since its driver was loaded. Nothing without the CUDA backend, and where NVML, the
/// driver's library, is missing or does not tell.
std::optional<double> gpu_joules();

}  // namespace retort
