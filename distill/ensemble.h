// Several runs at the same time in one process: the seeds and folds of one method side by side, so that a net which is too small
// to fill the machine does.
//
// Every replica is a whole run: a host thread with a context, a trainer and random numbers of its own; they share the mapped data
// and the device. On a CPU a replica on one thread needs no barriers; on a GPU each has a stream, and the streams' kernels run
// beside each other. So a replica computes what it computes alone, bit for bit, and no kernel and no method knows of the others.
#pragma once

#include "retort/distill/trainer.h"

#include <functional>
#include <span>

namespace retort {

/// work(0) … work(count - 1), each in a thread of its own. When all have ended the first exception, by number, is thrown on.
void side_by_side(int count, const std::function<void(int)>& work);

/// How many of `replicas` train at a time, and with how many threads each, so that together they use `threads` (0: all there
/// are).
struct EnsembleShare {
  int together = 1, threads = 1;
};
EnsembleShare ensemble_share(Device device, int replicas, int threads);

struct Replica {
  RunConfig config;
  std::filesystem::path directory;
};

struct EnsembleOptions {
  Device device = Device::cpu;
  int threads = 0;      ///< of all replicas together
  bool resume = false;  ///< finished replicas are left alone, begun ones taken up, the others begun; else none may be there
  /// Before a replica's first step, in its thread: what it does with the trainer's observer must be safe beside the others.
  std::function<void(std::size_t replica, Trainer&)> on_start;
};

/// Trains all replicas; `interrupted` when `stop` was set before all had finished. Throws what the first failing replica threw,
/// after the others have ended.
Trainer::End train_ensemble(const WindowSet& windows, std::span<const Replica> replicas, const EnsembleOptions& options,
                            const std::atomic<bool>& stop);

}  // namespace retort
