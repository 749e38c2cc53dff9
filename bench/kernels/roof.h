// What this machine can do at best, measured: multiply-adds a second, and bytes a second from memory.
#pragma once

#include "retort/kernels/thread_team.h"

#include <algorithm>
#include <chrono>
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

inline Roof measure_roof(int threads) {
  auto chains = chains_baseline;
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) chains = chains_avx2;
  if (__builtin_cpu_supports("avx512f")) chains = chains_avx512;
#endif
  ThreadTeam team(threads);
  Roof roof;
  constexpr long rounds = 20000;
  double flops = 0;
  const double time = fastest(300, [&] {
    team.run(team.size(), [&](std::int64_t i, int) {
      const double done = chains(rounds);
      if (i == 0) flops = done * team.size();
    });
  });
  roof.flops = flops / time;
  constexpr std::int64_t n = 1 << 24, grain = 1 << 16;
  std::vector<float> a(n), b(n, 1.0f), c(n, 2.0f);
  const double seconds = fastest(15, [&] {
    team.for_ranges(n, grain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i)
        a[static_cast<std::size_t>(i)] = b[static_cast<std::size_t>(i)] + 3.0f * c[static_cast<std::size_t>(i)];
    });
  });
  roof.bytes = 3.0 * sizeof(float) * static_cast<double>(n) / seconds;
  return roof;
}

}  // namespace retort::bench
