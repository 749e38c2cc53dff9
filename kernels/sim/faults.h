// Misfortune on demand, so that what follows from it can be tried without a GPU: memory that runs out, and a kernel that fails.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>

namespace retort::sim {

/// Also read, once, from the environment: RETORT_SIM_MEMORY (bytes) and RETORT_SIM_FAULT (launch).
struct Faults {
  std::size_t memory = std::numeric_limits<std::size_t>::max();  ///< bytes the device has
  /// The launch, counted from 1, that fails; from then on every call fails, as after an illegal address on a GPU. 0: none.
  std::int64_t launch = 0;
};

/// From now on these, with a device that works again and launches counted anew.
void inject(const Faults& faults);

/// Kernels launched since the last `inject`, those of a replayed graph too.
std::int64_t launches();

/// The most bytes that were allocated at a time since then.
std::size_t peak_memory();

/// Before a launch of `name`: counts it. Throws DeviceError where `inject` said so.
void count_launch(const char* name);
/// Throws DeviceError when a kernel has failed before.
void expect_working(const char* call);

}  // namespace retort::sim
