#include "retort/kernels/thread_team.h"

#include "retort/kernels/check.h"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <fstream>
#include <limits>
#include <optional>
#include <sstream>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

namespace retort {
namespace {

// How long a thread looks for work before it goes to sleep: some tens of microseconds, longer than the gap between two kernels of
// a training step and much shorter than anyone would notice.
constexpr int spins = 2000;

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

/// CPUs' worth of time that one cgroup directory grants: "quota period" in cgroup v2, two files in v1.
std::optional<double> cgroup_quota(const std::string& directory) {
  double quota = 0, period = 0;
  if (std::ifstream v2(directory + "/cpu.max"); v2 >> quota >> period && period > 0) return quota / period;
  std::ifstream v1_quota(directory + "/cpu.cfs_quota_us"), v1_period(directory + "/cpu.cfs_period_us");
  if (v1_quota >> quota && v1_period >> period && quota > 0 && period > 0) return quota / period;
  return std::nullopt;
}

int affinity_cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
  return static_cast<int>(std::thread::hardware_concurrency());  // more than 1024 CPUs
}

}  // namespace

// Each thread has a share of a region's tasks, a range, and helps the others when it is done with its own: so the thread that
// wrote a part of a plane is usually the one that reads it in the next kernel, from its own cache. A region is published by
// storing (serial number, tasks left) in every share; a thread claims a task by decrementing the low half, so a thread that comes
// late from an earlier region can never claim one of the next by mistake: the serial number differs. The caller works too and
// waits only for tasks that were claimed, never for a thread that is still asleep.
struct ThreadTeam::State {
  struct alignas(64) Share {
    std::atomic<std::uint64_t> work{0};
  };
  std::vector<Share> shares;
  std::atomic<int> unfinished{0};         // int is what a futex can wait on
  std::atomic<std::uint32_t> regions{0};  // what sleeping workers wait on; wraps around after some days
  std::atomic<bool> stop{false};
  Function function = nullptr;
  void* task = nullptr;
  std::int64_t tasks = 0;
  int patience = 0;  // spins before sleeping
  std::vector<std::thread> workers;

  explicit State(int threads) : shares(static_cast<std::size_t>(threads)) {}
  ~State() {
    stop.store(true, std::memory_order_release);
    wake();
    for (auto& thread : workers) thread.join();
  }

  /// The first task of a share.
  std::int64_t first(std::size_t share) const {
    return tasks * static_cast<std::int64_t>(share) / static_cast<std::int64_t>(shares.size());
  }

  /// Works on the current region until no task of this share is left to claim.
  void take_part(int thread, std::size_t share) {
    std::atomic<std::uint64_t>& work = shares[share].work;
    std::uint64_t seen = work.load(std::memory_order_acquire);
    while (static_cast<std::uint32_t>(seen) != 0) {
      if (!work.compare_exchange_weak(seen, seen - 1, std::memory_order_acq_rel, std::memory_order_acquire)) continue;
      // Claimed: the region cannot end before this task does, so its description may be read now.
      function(task, first(share + 1) - static_cast<std::int64_t>(static_cast<std::uint32_t>(seen)), thread);
      if (unfinished.fetch_sub(1, std::memory_order_acq_rel) == 1) unfinished.notify_one();
      seen = work.load(std::memory_order_acquire);
    }
  }

  void take_part(int thread) {
    const std::size_t own = static_cast<std::size_t>(thread);
    for (std::size_t i = 0; i < shares.size(); ++i) take_part(thread, (own + i) % shares.size());
  }

  void worker(int thread) {
    std::uint32_t region = 0;
    for (;;) {
      int spin = 0;
      while (regions.load(std::memory_order_acquire) == region)
        if (++spin > patience)
          regions.wait(region, std::memory_order_acquire);
        else
          pause();
      region = regions.load(std::memory_order_acquire);
      if (stop.load(std::memory_order_acquire)) return;
      take_part(thread);
    }
  }

  void wake() {
    regions.fetch_add(1, std::memory_order_seq_cst);
    regions.notify_all();
  }
};

ThreadTeam::ThreadTeam(int threads) : size_(threads > 0 ? threads : available()) {
  check(threads >= 0 && threads <= 4096, "threads: {} was asked for; give 1 to 4096, or 0 for all that may be used", threads);
  state_ = std::make_unique<State>(size_);
  // With more threads than processors, one that spins keeps another from working.
  state_->patience = size_ <= available() ? spins : 0;
  state_->workers.reserve(static_cast<std::size_t>(size_ - 1));
  try {
    for (int i = 1; i < size_; ++i) state_->workers.emplace_back([state = state_.get(), i] { state->worker(i); });
  } catch (const std::system_error& error) {
    fail<DeviceError>("cpu: {} threads were asked for, the system gives {}: {}; ask for fewer with --threads", size_,
                      state_->workers.size() + 1, error.code().message());
  }
}

ThreadTeam::~ThreadTeam() = default;

void ThreadTeam::dispatch(std::int64_t tasks, Function function, void* task) {
  check(tasks <= std::numeric_limits<int>::max(), "thread team: {} tasks in one region, at most 2^31 - 1 fit", tasks);
  State& state = *state_;
  state.function = function;
  state.task = task;
  state.tasks = tasks;
  state.unfinished.store(static_cast<int>(tasks), std::memory_order_relaxed);
  const std::uint64_t serial = std::uint64_t{state.regions.load(std::memory_order_relaxed) + 1} << 32;
  for (std::size_t i = 0; i < state.shares.size(); ++i)
    state.shares[i].work.store(serial | static_cast<std::uint64_t>(state.first(i + 1) - state.first(i)),
                               std::memory_order_release);
  state.wake();
  state.take_part(0);
  int spin = 0;
  for (int left; (left = state.unfinished.load(std::memory_order_acquire)) != 0;)
    if (++spin > state.patience)
      state.unfinished.wait(left, std::memory_order_acquire);
    else
      pause();
}

double ThreadTeam::cgroup_cpus(const std::string& memberships, const std::string& root) {
  double cpus = std::numeric_limits<double>::infinity();
  std::ifstream file(memberships);
  for (std::string line; std::getline(file, line);) {  // "hierarchy:controllers:path"
    const auto first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    std::string path = line.substr(second + 1);
    std::string group = root;
    if (!controllers.empty()) {
      if (controllers != "cpu" && controllers.find("cpu,") == std::string::npos && !controllers.ends_with(",cpu")) continue;
      group += "/" + controllers;
    }
    for (;;) {
      if (const auto quota = cgroup_quota(group + path)) cpus = std::min(cpus, *quota);
      const auto slash = path.find_last_of('/');
      if (slash == std::string::npos) break;
      path.resize(slash);
    }
  }
  return cpus;
}

int ThreadTeam::available() {
  const double quota = std::ceil(cgroup_cpus());
  const int cpus = affinity_cpus();
  return std::max(1, quota < cpus ? static_cast<int>(quota) : cpus);
}

}  // namespace retort
