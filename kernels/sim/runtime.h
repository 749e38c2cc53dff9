// Runs a kernel launch on the host: threads of a block are fibres, blocks are spread over a team of host threads.
#pragma once

#include "retort/kernels/sim/cuda_runtime.h"

namespace retort {
class ThreadTeam;
}

namespace retort::sim {

class HazardCheck;

constexpr std::size_t shared_capacity = 227 * 1024;  ///< bytes of shared memory that a block may ask for, as on sm_90

/// One launch. `body(arguments)` is one thread's work; threadIdx and the others are set around it.
struct Launch {
  const char* name;  ///< the kernel, for messages
  dim3 grid, block;
  std::size_t shared_bytes = 0;
  void (*body)(const void* arguments) = nullptr;
  const void* arguments = nullptr;
  HazardCheck* hazards = nullptr;  ///< is told what global memory the kernel touches; null: nobody is
};

/// Returns when every block is done. Throws DeviceError, naming kernel, block and thread, for a launch that CUDA would refuse, a
/// barrier that not all threads reach, a warp operation with an absent lane, or (where built in) a shared-memory race.
void run(ThreadTeam& team, const Launch& launch);

/// True when kernels were compiled with the access checker (RETORT_SIM_CHECK): races and uninitialised shared memory are found.
bool checks_accesses();

}  // namespace retort::sim
