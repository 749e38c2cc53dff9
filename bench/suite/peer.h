// What the benches that take turns with a program in PyTorch (bench/peers) share: asking it, and both sides' figures beside each
// other.
#pragma once

#include "retort/distill/run_record.h"  // Json

#include <string>
#include <vector>

namespace retort::bench {

struct Stats {
  double median = 0, fastest = 0, p90 = 0;
};

/// Zeros without values.
Stats stats(std::vector<double> values);

/// How milliseconds are printed: as many characters, and digits after the point.
struct Columns {
  int width, digits;
};

/// The line of our own times, e.g. "retort 0.1.0      median    7.40 ms  min ...  (300 steps)".
void print_ours(const Stats& ours, Columns columns, std::size_t count, const char* what);

/// A peer that is asked once a round.
class Peer {
 public:
  /// `command` prints a JSON object with median_ms and min_ms; empty: there is no peer, and the calls below do nothing.
  explicit Peer(std::string command) : command_(std::move(command)) {}

  /// Runs the command. Throws Error when it cannot be run or prints no JSON.
  void take_turn();

  /// Prints its times and the ratios to ours, and adds them to `result`.
  void report(const Stats& ours, Columns columns, Json& result) const;

 private:
  std::string command_;
  Json last_;
  std::vector<double> medians_, fastest_;
};

}  // namespace retort::bench
