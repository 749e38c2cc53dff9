#include "retort/distill/run_source.h"

#include <chrono>
#include <thread>
#include <utility>

namespace retort {
namespace {

std::optional<std::size_t> pop(std::deque<std::size_t>& queue) {
  if (queue.empty()) return std::nullopt;
  const std::size_t run = queue.front();
  queue.pop_front();
  return run;
}

void pause(double seconds, const std::atomic<bool>& stop) {
  const auto until = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  while (!stop.load() && std::chrono::steady_clock::now() < until) std::this_thread::sleep_for(std::chrono::milliseconds(20));
}

}  // namespace

ShareSource::ShareSource(std::vector<std::size_t> runs, double poll_seconds)
    : fresh_(runs.begin(), runs.end()), poll_seconds_(poll_seconds) {}

std::optional<std::size_t> ShareSource::next(const std::atomic<bool>& stop) {
  if (stop.load()) return std::nullopt;
  std::unique_lock lock(mutex_);
  if (const auto run = pop(fresh_)) return run;
  if (const auto run = pop(again_)) return run;
  if (held_.empty()) return std::nullopt;
  lock.unlock();
  pause(poll_seconds_, stop);
  if (stop.load()) return std::nullopt;
  lock.lock();
  for (const std::size_t run : std::exchange(held_, {})) again_.push_back(run);
  return pop(again_);
}

void ShareSource::put_back(std::size_t run) {
  const std::lock_guard lock(mutex_);
  held_.push_back(run);
}

std::optional<std::size_t> ShareSource::lend() {
  const std::lock_guard lock(mutex_);
  const auto run = pop(fresh_);
  if (run) held_.push_back(*run);
  return run;
}

}  // namespace retort
