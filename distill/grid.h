// Training the runs of a plan. Any number of processes, on one machine or on several that share a file system, may work on the
// same directory at the same time: a run is done by whoever holds the lock on its directory, and the kernel gives the lock back
// when that process ends, however it ends. What a killed process leaves is taken up from its last checkpoint.
//
// RUNS/<id>/ is a run directory (run_record.h) with, beside it, `lock` (empty), subjects.json when the run is finished, and
// failed.txt when it could not be (its one line says why).
#pragma once

#include "retort/data/windowing.h"
#include "retort/distill/experiment.h"
#include "retort/distill/run_source.h"
#include "retort/distill/trainer.h"

#include <atomic>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace retort {

namespace run_files {
inline constexpr const char* lock = "lock";
inline constexpr const char* subjects = "subjects.json";
inline constexpr const char* failed = "failed.txt";
}  // namespace run_files

/// Correct test windows, subject by subject: what an interval over subjects is made of. The selected weights', as the summary's
/// `best`.
struct SubjectCounts {
  std::vector<std::string> subject;
  std::vector<std::int64_t> windows, correct1, correct2;
};
SubjectCounts read_subjects(const std::filesystem::path& directory);  ///< InputError when it is missing or damaged

/// An exclusive hold on a run directory, until destroyed. flock(2): it ends with the process, and works on NFS (Linux 2.6.12 and
/// later).
class RunLock {
 public:
  /// Makes the directory if need be. Nothing when another process, or another RunLock of this one, has it.
  static std::optional<RunLock> try_acquire(const std::filesystem::path& directory);
  ~RunLock();
  RunLock(RunLock&& other) noexcept;
  RunLock& operator=(RunLock&&) = delete;

 private:
  explicit RunLock(int descriptor) : descriptor_(descriptor) {}
  int descriptor_ = -1;
};

struct GridOptions {
  std::filesystem::path runs;  ///< the directory of the run directories
  Device device = Device::cpu;
  int threads = 0;         ///< of each run; of an ensemble together
  int ensemble = 1;        ///< runs that this process trains side by side (ensemble.h)
  std::int64_t shard = 1;  ///< this process does every `shards`-th run, from the `shard`-th on, counted from 1
  std::int64_t shards = 1;
  bool keep_all = false;      ///< else a finished run keeps its best weights only (a checkpoint is five times as large)
  double poll_seconds = 0.5;  ///< how often runs that others hold are looked at again
  /// Before a run's first step in this process; for tests and progress.
  std::function<void(const PlannedRun&, Trainer&)> on_start;
};

struct GridOutcome {
  bool interrupted = false;
  std::int64_t trained = 0;           ///< finished by this process
  std::vector<std::string> failures;  ///< "ID (title): why", of this process's share
};

/// Whether run `id` is finished: it has its summary and its subjects' counts.
bool run_finished(const std::filesystem::path& runs, const std::string& id);

/// The positions in plan.runs of a share.
std::vector<std::size_t> shard_of(const Plan& plan, std::int64_t shard, std::int64_t shards);

/// Forgets why runs of the plan failed, so that they are tried again. Runs that are being trained are left alone.
void clear_failures(const Plan& plan, const std::filesystem::path& runs);

/// Trains every run of the share that is not finished, takes up what was interrupted, and then waits for those that other
/// processes hold (and takes over from one that dies). Returns when all are finished or failed, or when `stop` was set: then
/// after the current step, with a checkpoint. A run that fails (diverges, say) leaves failed.txt and does not stop the others.
/// DeviceError passes through.
GridOutcome run_grid(const WindowSet& windows, const Plan& plan, const GridOptions& options, const std::atomic<bool>& stop);

/// The same for the runs that `source` names, whatever the share.
GridOutcome run_grid(const WindowSet& windows, const Plan& plan, const GridOptions& options, RunSource& source,
                     const std::atomic<bool>& stop);

/// How far a grid is, from its files alone.
struct GridStatus {
  std::int64_t runs = 0, finished = 0, failed = 0;
  double share = 0;                   ///< of all epochs, 0 … 1; Born-Again's count twice, a smaller training share less
  std::optional<std::size_t> latest;  ///< the run whose last epoch line is newest
  std::optional<EpochRecord> epoch;   ///< that line
};

/// Reads status again and again without reading everything each time.
class GridSurvey {
 public:
  /// `plan` must outlive this.
  GridSurvey(const Plan& plan, std::filesystem::path runs, std::vector<std::size_t> share);
  GridStatus look();
  /// Runs that were found finished since the last call, in plan order.
  std::vector<std::size_t> newly_finished();

 private:
  const Plan& plan_;
  std::filesystem::path runs_;
  std::vector<std::size_t> share_;
  std::vector<bool> finished_, told_;
};

}  // namespace retort
