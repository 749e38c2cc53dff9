// The simulator's queues. Work is done at once, unless it is captured: then each launch, copy and fill is kept with its
// arguments, and done at every launch of the graph.
#pragma once

#include "retort/kernels/queue.h"
#include "retort/kernels/sim/runtime.h"

#include <memory>

namespace retort::sim {

std::unique_ptr<Queue> make_queue();

/// Whether launches on this queue are to be kept instead of run.
bool is_captured(const Queue& queue);

/// Keeps a launch; `arguments` owns what launch.arguments points to.
void keep(Queue& queue, ThreadTeam& team, const Launch& launch, std::shared_ptr<const void> arguments);

}  // namespace retort::sim
