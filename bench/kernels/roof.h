// What this machine can do at best, measured: multiply-adds a second, and bytes a second from memory.
#pragma once

#include "retort/kernels/thread_team.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <vector>

namespace retort::bench {

/// Seconds of the fastest of `repeats` calls.
template <class Work>
double fastest(int repeats, Work&& work) {
  double best = 1e30;
  for (int i = 0; i < repeats; ++i) {
    const auto start = std::chrono::steady_clock::now();
    work();
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return best;
}

/// Sixteen chains of multiply-adds, enough to hide the latency of two units; returns how many flops that was.
template <class Vector>
[[gnu::always_inline]] inline double multiply_add_chains(long rounds) {
  Vector x[16] = {};
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) x[i] += static_cast<float>(i);  // all different, or the compiler computes but one
  const Vector a = Vector{} + 0.999f, b = Vector{} + 1e-3f;
  for (long r = 0; r < rounds; ++r) {
#pragma GCC unroll 16
    for (auto& chain : x) chain = chain * a + b;
    asm volatile("" ::: "memory");
  }
  Vector sum = {};
#pragma GCC unroll 16
  for (const auto& chain : x) sum += chain;
  volatile float sink = sum[0];
  static_cast<void>(sink);
  return 2.0 * 16 * static_cast<double>(sizeof(Vector) / sizeof(float)) * static_cast<double>(rounds);
}

using Vector16 = float __attribute__((vector_size(16)));
inline double chains_baseline(long rounds) { return multiply_add_chains<Vector16>(rounds); }
#if defined(__x86_64__)
using Vector32 = float __attribute__((vector_size(32)));
using Vector64 = float __attribute__((vector_size(64)));
[[gnu::target("avx2,fma")]] inline double chains_avx2(long rounds) { return multiply_add_chains<Vector32>(rounds); }
[[gnu::target("avx512f")]] inline double chains_avx512(long rounds) { return multiply_add_chains<Vector64>(rounds); }
#endif

struct Roof {
  double flops = 0;  ///< a second
  double bytes = 0;  ///< a second, counted as in STREAM triad: two arrays read, one written
};

inline double measure_flops(ThreadTeam& team) {
  auto chains = chains_baseline;
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) chains = chains_avx2;
  if (__builtin_cpu_supports("avx512f")) chains = chains_avx512;
#endif
  constexpr long rounds = 20000;
  double flops = 0;
  const double time = fastest(300, [&] {
    team.run(team.size(), [&](std::int64_t i, int) {
      const double done = chains(rounds);
      if (i == 0) flops = done * team.size();
    });
  });
  return flops / time;
}

/// Of a triad over three arrays of n floats, each thread on its own piece (so that it finds it in its own cache again).
inline double measure_bytes(ThreadTeam& team, std::int64_t n) {
  std::vector<float> a(static_cast<std::size_t>(n)), b(a.size(), 1.0f), c(a.size(), 2.0f);
  const std::int64_t piece = (n + team.size() - 1) / team.size(), passes = std::max<std::int64_t>(1, (1 << 20) / n);
  const double seconds = fastest(15, [&] {
    team.run(team.size(), [&](std::int64_t task, int) {
      const std::int64_t begin = task * piece, end = std::min(n, begin + piece);
      float* to = a.data();
      const float *x = b.data(), *y = c.data();
      for (std::int64_t pass = 0; pass < passes; ++pass) {
        for (std::int64_t i = begin; i < end; ++i) to[i] = x[i] + 3.0f * y[i];
        asm volatile("" ::: "memory");
      }
    });
  });
  return 3.0 * sizeof(float) * static_cast<double>(n * passes) / seconds;
}

inline Roof measure_roof(int threads) {
  ThreadTeam team(threads);
  return {measure_flops(team), measure_bytes(team, 1 << 24)};
}

/// The roof with its steps: bandwidth by the size of what is worked on, measured when it is asked for and kept.
class Machine {
 public:
  explicit Machine(int threads) : team_(threads), flops_(measure_flops(team_)) {}

  double flops() const { return flops_; }

  /// Bytes a second of a triad whose three arrays have this many bytes together, to the next power of two.
  double bandwidth(double bytes) {
    std::int64_t n = 1 << 10;
    while (static_cast<double>(3 * n) * sizeof(float) < bytes && n < (1 << 24)) n *= 2;
    const auto [at, is_new] = bandwidth_.try_emplace(n);
    if (is_new) at->second = measure_bytes(team_, n);
    return at->second;
  }

 private:
  ThreadTeam team_;
  double flops_;
  std::map<std::int64_t, double> bandwidth_;
};

}  // namespace retort::bench
