// A persistent team of host threads for CPU kernels. Work is cut into tasks by the kernel, never by the number of threads, and
// every task writes its own output or its own partial sum: so the same bits come out for any thread count.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <type_traits>

namespace retort {

class ThreadTeam {
 public:
  /// `threads` including the caller; 0 means as many as this process may run on (affinity mask and cgroup quota). Throws
  /// DeviceError when the system does not start so many.
  explicit ThreadTeam(int threads = 0);
  ~ThreadTeam();

  int size() const { return size_; }

  /// Runs task(i, thread) for every i in [0, tasks) and returns when all are done; `thread` in [0, size()) names the worker, for
  /// scratch memory. Tasks must not throw and must not call run. With one task or one thread it is a plain loop.
  template <class Task>
  void run(std::int64_t tasks, Task&& task) {
    if (size_ == 1 || tasks <= 1) {
      for (std::int64_t i = 0; i < tasks; ++i) task(i, 0);
      return;
    }
    using T = std::remove_reference_t<Task>;
    dispatch(
        tasks, [](void* t, std::int64_t i, int thread) { (*static_cast<T*>(t))(i, thread); },
        const_cast<void*>(static_cast<const void*>(&task)));
  }

  /// run() over [0, n) in pieces of `grain` elements: piece(begin, end). The pieces do not depend on the number of threads.
  template <class Piece>
  void for_ranges(std::int64_t n, std::int64_t grain, Piece&& piece) {
    run((n + grain - 1) / grain, [&](std::int64_t i, int) {
      const std::int64_t begin = i * grain, end = begin + grain < n ? begin + grain : n;
      piece(begin, end);
    });
  }

  /// Threads this process may use: the affinity mask, cut by the cgroup CPU quota, at least 1.
  static int available();

  /// CPUs' worth of time that cgroups (v2's cpu.max, v1's cpu.cfs_*) grant this process: the tightest quota on the way from its
  /// own group up to the root; infinite without one. The arguments are for tests.
  static double cgroup_cpus(const std::string& memberships = "/proc/self/cgroup", const std::string& root = "/sys/fs/cgroup");

 private:
  using Function = void (*)(void*, std::int64_t, int);
  void dispatch(std::int64_t tasks, Function function, void* task);

  struct State;
  int size_;
  std::unique_ptr<State> state_;
};

}  // namespace retort
