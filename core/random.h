// A sequential stream of Philox numbers on the host: initial weights, splits, shuffles, synthetic recordings. Equal seed and stream give
// equal numbers on every platform, which the distributions and std::shuffle of the standard library do not.
#pragma once

#include "retort/kernels/philox.h"

#include <cmath>
#include <cstdint>
#include <numbers>
#include <span>
#include <utility>

namespace retort {

class Random {
 public:
  /// `stream` keeps uses apart that share a seed.
  explicit Random(std::uint64_t seed, std::uint64_t stream = 0) : seed_(seed), stream_(stream) {}

  std::uint64_t bits() {
    if (used_ == 2) {
      const PhiloxBlock block = philox4x32(seed_, static_cast<std::uint32_t>(next_), static_cast<std::uint32_t>(next_ >> 32),
                                           static_cast<std::uint32_t>(stream_), static_cast<std::uint32_t>(stream_ >> 32));
      for (int i = 0; i < 2; ++i) words_[i] = block.value[2 * i] | std::uint64_t{block.value[2 * i + 1]} << 32;
      ++next_;
      used_ = 0;
    }
    return words_[used_++];
  }

  /// An integer in [0, n), 0 < n < 2^32, by multiplication: the bias of at most n / 2^32 does not matter here.
  std::uint32_t below(std::uint32_t n) { return static_cast<std::uint32_t>(((bits() >> 32) * n) >> 32); }
  /// [0, 1), 53 bits.
  double uniform() { return static_cast<double>(bits() >> 11) * 0x1p-53; }
  double uniform(double low, double high) { return low + (high - low) * uniform(); }
  /// Mean 0, variance 1 (Box and Muller); equal to the last bit where log and cos are.
  double normal() {
    const double radius = std::sqrt(-2.0 * std::log(1.0 - uniform()));
    return radius * std::cos(2.0 * std::numbers::pi * uniform());
  }

 private:
  std::uint64_t seed_, stream_, next_ = 0, words_[2] = {};
  int used_ = 2;
};

/// Fisher and Yates.
template <class T>
void shuffle(std::span<T> values, Random& random) {
  for (std::size_t i = values.size(); i > 1; --i) std::swap(values[i - 1], values[random.below(static_cast<std::uint32_t>(i))]);
}

}  // namespace retort
