// Energy that the hardware counted while a run trained. Processors: the package domains of RAPL, which Linux shows (often to root
// only) as /sys/class/powercap/intel-rapl:<n>/energy_uj, AMD's too. The GPU: NVML's counter. Both count everything that the chip
// does, other programs included, and nothing else of the machine.
#pragma once

#include "retort/core/device.h"
#include "retort/distill/json_fields.h"

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace retort {

struct Energy {
  double joules = 0;
  std::string source;  ///< "RAPL (2 packages)", "NVML", "NVML + RAPL (1 package)"
};

/// Counts from its construction on. Counters that cannot be read are left out; when none can, nothing is measured, and that is no
/// error. On a GPU the processors are counted as well, where they can be.
class EnergyMeter {
 public:
  explicit EnergyMeter(Device device, const std::filesystem::path& powercap = "/sys/class/powercap");

  /// To be called more often than a counter wraps around (RAPL's go round in some 20 minutes of a busy socket); reads at most
  /// once in `period_seconds`.
  void tick();
  /// What was used since the last lap. Nothing when there is no counter, or when one failed meanwhile.
  std::optional<Energy> lap();

  double period_seconds = 30;

 private:
  struct Package {
    std::filesystem::path counter;
    std::uint64_t range = 0;  ///< the counter goes from 0 to this, in µJ
    std::uint64_t last = 0;
  };
  void read();
  Device device_;
  std::vector<Package> packages_;
  std::optional<double> gpu_last_;  ///< joules
  double joules_ = 0;
  bool failed_ = false;
  std::chrono::steady_clock::time_point read_at_;
};

/// Two stretches of one run. Nothing when either was not measured: a part would look like the whole.
std::optional<Energy> joined(const std::optional<Energy>& a, const std::optional<Energy>& b);

template <FieldsOf<Energy> S, class V>
void visit_fields(S& e, V& visit) {
  visit("joules", e.joules), visit("source", e.source);
}

}  // namespace retort
