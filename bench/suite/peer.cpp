#include "retort/bench/suite/peer.h"

#include "retort/core/version.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstdio>
#include <memory>

namespace retort::bench {

Stats stats(std::vector<double> values) {
  if (values.empty()) return {};
  std::ranges::sort(values);
  return {values[values.size() / 2], values.front(), values[values.size() * 9 / 10]};
}

void print_ours(const Stats& ours, Columns columns, std::size_t count, const char* what) {
  const auto [width, digits] = columns;
  fmt::print("retort {:<10} median {:{}.{}f} ms  min {:{}.{}f}  p90 {:{}.{}f}  ({} {})\n", version(), ours.median, width, digits,
             ours.fastest, width, digits, ours.p90, width, digits, count, what);
}

void Peer::take_turn() {
  if (command_.empty()) return;
  std::unique_ptr<FILE, int (*)(FILE*)> pipe(popen(command_.c_str(), "r"), pclose);
  check(pipe != nullptr, "cannot run {}", command_);
  std::string text;
  char buffer[4096];
  while (const std::size_t n = std::fread(buffer, 1, sizeof buffer, pipe.get())) text.append(buffer, n);
  last_ = Json::parse(text, nullptr, false);
  check(!last_.is_discarded(), "the peer printed no JSON: {}", command_);
  medians_.push_back(last_.at("median_ms").get<double>());
  fastest_.push_back(last_.at("min_ms").get<double>());
}

void Peer::report(const Stats& ours, Columns columns, Json& result) const {
  if (medians_.empty()) return;
  const auto [width, digits] = columns;
  const double median = stats(medians_).median, fastest = stats(fastest_).fastest;
  const std::string how = last_.contains("how") ? ", " + last_["how"].get<std::string>() : "";
  fmt::print("PyTorch {:<9} median {:{}.{}f} ms  min {:{}.{}f}  (median of {} rounds{})\n", last_.value("torch", "?"), median,
             width, digits, fastest, width, digits, medians_.size(), how);
  fmt::print("ratio              median {:{}.2f} x   min {:{}.2f} x\n", median / ours.median, width, fastest / ours.fastest,
             width);
  result["peer"] = last_;
  result["peer_median_ms"] = median;
  result["peer_min_ms"] = fastest;
  result["ratio_of_medians"] = median / ours.median;
  result["ratio_of_minima"] = fastest / ours.fastest;
}

}  // namespace retort::bench
