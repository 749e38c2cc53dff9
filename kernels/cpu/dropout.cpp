// Dropout. The generator works on 32 counters side by side, which the compiler turns into vector code; the
// numbers are those of philox.h, bit for bit.
#include "retort/kernels/dropout.h"

#include "retort/kernels/cpu/eigen.h"
#include "retort/kernels/cpu/register.h"
#include "retort/kernels/thread_team.h"

#include <algorithm>

namespace retort::eigen {
namespace {

constexpr int lanes = 32;
constexpr std::int64_t chunk = 4 * lanes;  // uniforms of one call

/// The uniforms of elements [first, first + chunk); first is a multiple of 4.
void uniform_chunk(std::uint64_t seed, std::uint32_t call, std::uint32_t step, std::int64_t first, float* out) {
  std::uint32_t c0[lanes], c1[lanes], c2[lanes], c3[lanes];
  for (int l = 0; l < lanes; ++l) {
    const std::uint64_t block = static_cast<std::uint64_t>(first / 4) + static_cast<std::uint64_t>(l);
    c0[l] = static_cast<std::uint32_t>(block), c1[l] = static_cast<std::uint32_t>(block >> 32), c2[l] = call, c3[l] = step;
  }
  auto k0 = static_cast<std::uint32_t>(seed), k1 = static_cast<std::uint32_t>(seed >> 32);
  for (int round = 0; round < 10; ++round, k0 += 0x9E3779B9u, k1 += 0xBB67AE85u) {
#pragma omp simd
    for (int l = 0; l < lanes; ++l) {
      const std::uint64_t p0 = 0xD2511F53ull * c0[l], p1 = 0xCD9E8D57ull * c2[l];
      c0[l] = static_cast<std::uint32_t>(p1 >> 32) ^ c1[l] ^ k0, c1[l] = static_cast<std::uint32_t>(p1);
      c2[l] = static_cast<std::uint32_t>(p0 >> 32) ^ c3[l] ^ k1, c3[l] = static_cast<std::uint32_t>(p0);
    }
  }
  constexpr float unit = 1.0f / 16777216.0f;
  for (int l = 0; l < lanes; ++l) {
    out[4 * l] = static_cast<float>(static_cast<std::int32_t>(c0[l] >> 8)) * unit;
    out[4 * l + 1] = static_cast<float>(static_cast<std::int32_t>(c1[l] >> 8)) * unit;
    out[4 * l + 2] = static_cast<float>(static_cast<std::int32_t>(c2[l] >> 8)) * unit;
    out[4 * l + 3] = static_cast<float>(static_cast<std::int32_t>(c3[l] >> 8)) * unit;
  }
}

/// Calls write(i, factor) with 0 or 1/(1-p) for every element.
template <class Write>
void for_each_factor(Stream& stream, std::int64_t n, float p, const PhiloxKey& key, Write&& write) {
  const auto step = key.step != nullptr ? static_cast<std::uint32_t>(*key.step) : 0u;
  static_assert(grain % chunk == 0);
  stream.threads().for_ranges(n, grain / 4, [&](std::int64_t begin, std::int64_t end) {
    float u[chunk];
    const float limit = p,
                keep = 1.0f / (1.0f - p);  // of this thread, so that no write can change them and the loop is vectorised
    for (std::int64_t first = begin; first < end; first += chunk) {
      uniform_chunk(key.seed, key.call, step, first, u);
      const std::int64_t count = std::min(chunk, end - first);
      for (std::int64_t i = 0; i < count; ++i) write(first + i, u[i] >= limit ? keep : 0.0f);
    }
  });
}

void apply(Stream& stream, std::int64_t n, float p, const PhiloxKey& key, const float* x, float* y) {
  for_each_factor(stream, n, p, key, [=](std::int64_t i, float factor) { y[i] = factor * x[i]; });
}

void mask(Stream& stream, std::int64_t n, float p, const PhiloxKey& key, float* out) {
  for_each_factor(stream, n, p, key, [=](std::int64_t i, float factor) { out[i] = factor; });
}

}  // namespace

void register_dropout() { add(DropoutKernels{apply, mask}); }

}  // namespace retort::eigen
