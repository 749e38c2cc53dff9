#include "retort/bench/suite/replicas.h"

#include "retort/distill/ensemble.h"

#include <barrier>
#include <chrono>

namespace retort::bench {
namespace {

/// A place at the barrier, given up on the way out: when one thread throws, the others do not wait for it.
class Place {
 public:
  explicit Place(std::barrier<>& barrier) : barrier_(barrier) {}
  ~Place() { barrier_.arrive_and_drop(); }
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;
  void wait() { barrier_.arrive_and_wait(); }

 private:
  std::barrier<>& barrier_;
};

double milliseconds_of(auto&& work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
}

}  // namespace

ReplicaTimes time_replicas(Device device, bool tf32, const StepSpec& spec, int replicas, int threads, int steps, int warm_up,
                           int rounds) {
  const EnsembleShare share = ensemble_share(device, replicas, threads);
  ReplicaTimes times{share.together, share.threads, {}, {}};
  std::barrier<> barrier(share.together + 1);
  // Number 0 is the run alone, and holds the clock; the others are the runs side by side.
  side_by_side(share.together + 1, [&](int number) {
    Place place(barrier);
    Context context(device, number == 0 ? threads : share.threads);
    context.stream().set_tf32(tf32);
    StepRunner runner(context, spec);
    runner.steps(warm_up);
    place.wait();
    for (int round = 0; round < rounds; ++round) {
      if (number == 0) times.alone.push_back(milliseconds_of([&] { runner.steps(steps); }) / steps);
      place.wait();
      const double spent = milliseconds_of([&] {
        if (number != 0) runner.steps(steps);
        place.wait();
      });
      if (number == 0) times.side_by_side.push_back(spent / steps / share.together);
    }
  });
  return times;
}

}  // namespace retort::bench
