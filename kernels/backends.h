// What each backend gives to the rest of the room. A backend that is not built is replaced by the file of the same name in
// kernels/stub, so nothing outside this header and CMakeLists.txt knows which ones are in the program.
#pragma once

#include "retort/kernels/device.h"
#include "retort/kernels/queue.h"

#include <memory>
#include <string>

namespace retort {

/// Aligned host memory: what Device::cpu uses, and cuda_sim too.
const DeviceMemory& host_memory();

// kernels/cuda, or kernels/stub/cuda.cpp
bool cuda_available();
std::string cuda_describe();
const DeviceMemory& cuda_memory();  ///< throws DeviceError when not available
std::unique_ptr<Queue> make_cuda_queue();
void register_cuda_kernels();  ///< only called when available

// kernels/vendor, or kernels/stub/cudnn.cpp and cublas.cpp. Registration is only called after register_cuda_kernels.
std::string cudnn_describe();  ///< e.g. "cuDNN 9.19.0", "no cuDNN"
std::string cublas_describe();
void register_cudnn_kernels();
void register_cublas_kernels();

// kernels/sim, or kernels/stub/cuda_sim.cpp
bool cuda_sim_available();
std::string cuda_sim_describe();
const DeviceMemory& cuda_sim_memory();
std::unique_ptr<Queue> make_cuda_sim_queue();
void register_cuda_sim_kernels();

// Implementations for Device::cpu
void register_ref_kernels();    ///< kernels/ref: "ref", preference 0
void register_eigen_kernels();  ///< kernels/cpu: "eigen", preference 10
void register_simd_kernels();   ///< kernels/simd: "simd", preference 20; or kernels/stub/simd.cpp

}  // namespace retort
