// What training several runs side by side gains, as `retort train --ensemble` does it, over one run after the other.
#pragma once

#include "retort/bench/suite/step_runner.h"

#include <vector>

namespace retort::bench {

struct ReplicaTimes {
  int together = 0, threads = 0;  ///< runs that train at a time, and host threads of each
  /// Milliseconds a step, one value a round: of one run that has all threads, and of the runs side by side, divided by how many
  /// they are.
  std::vector<double> alone, side_by_side;
};

/// Rounds of both in turns. `threads`: 0 for all there are. Throws what building or stepping a run throws.
ReplicaTimes time_replicas(Device device, bool tf32, const StepSpec& spec, int replicas, int threads, int steps, int warm_up,
                           int rounds);

}  // namespace retort::bench
