// Which run a process does next. The engine (grid.h) asks and trains; whether the answer comes from the process's own list or
// from another process is none of its business.
#pragma once

#include <atomic>
#include <cstddef>
#include <deque>
#include <mutex>
#include <optional>
#include <vector>

namespace retort {

/// Its functions may be called from several threads.
class RunSource {
 public:
  virtual ~RunSource() = default;
  /// The next run to try, as its position in plan.runs. Waits while it is not known whether there will be one. Nothing when none
  /// is left, or when `stop` was set.
  virtual std::optional<std::size_t> next(const std::atomic<bool>& stop) = 0;
  /// The run that next() gave is in another process's hands; whether it was finished there has to be seen later.
  virtual void put_back(std::size_t run) = 0;
};

/// A list of runs, in its order. Those that were put back come again, and again, after a pause each time.
class ShareSource final : public RunSource {
 public:
  ShareSource(std::vector<std::size_t> runs, double poll_seconds);
  std::optional<std::size_t> next(const std::atomic<bool>& stop) override;
  void put_back(std::size_t run) override;

  /// A run for another process, while there are any that nobody has begun. It counts as put back: should that process die, next()
  /// gives it to this one.
  std::optional<std::size_t> lend();

 private:
  std::mutex mutex_;
  std::deque<std::size_t> fresh_, again_;  ///< not begun yet; to be looked at again in this round
  std::vector<std::size_t> held_;          ///< to be looked at in the next round
  double poll_seconds_;
};

}  // namespace retort
