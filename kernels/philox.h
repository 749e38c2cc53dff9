// Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011): counter-based random numbers, so the
// CPU and the GPU draw the same ones and nothing but (seed, step) has to be saved to resume.
#pragma once

#include <cstdint>

#if defined(__CUDACC__)
#define RETORT_HOST_DEVICE __host__ __device__
#else
#define RETORT_HOST_DEVICE
#endif

namespace retort {

struct PhiloxBlock {
  std::uint32_t value[4];
};

/// The four random words of one 128-bit counter under one 64-bit key.
RETORT_HOST_DEVICE inline PhiloxBlock philox4x32(std::uint64_t key, std::uint32_t c0, std::uint32_t c1, std::uint32_t c2,
                                                 std::uint32_t c3) {
  std::uint32_t k0 = static_cast<std::uint32_t>(key), k1 = static_cast<std::uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t p0 = 0xD2511F53ull * c0, p1 = 0xCD9E8D57ull * c2;
    const std::uint32_t n0 = static_cast<std::uint32_t>(p1 >> 32) ^ c1 ^ k0, n1 = static_cast<std::uint32_t>(p1);
    const std::uint32_t n2 = static_cast<std::uint32_t>(p0 >> 32) ^ c3 ^ k1, n3 = static_cast<std::uint32_t>(p0);
    c0 = n0, c1 = n1, c2 = n2, c3 = n3;
    k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
  }
  return {{c0, c1, c2, c3}};
}

/// Which random numbers a kernel draws: element i of call `call` in training step `*step` under `seed`. The step is read on the
/// device (null means 0), so a captured step replays with fresh numbers; backward of the same step draws the same ones.
struct PhiloxKey {
  std::uint64_t seed = 0;
  std::uint32_t call = 0;
  const std::int32_t* step = nullptr;
};

/// Uniform in [0, 1) with 24 bits: the numbers of elements 4*block .. 4*block+3.
RETORT_HOST_DEVICE inline void philox_uniform4(const PhiloxKey& key, std::uint64_t block, float out[4]) {
  const std::uint32_t step = key.step ? static_cast<std::uint32_t>(*key.step) : 0u;
  const PhiloxBlock words = philox4x32(key.seed, static_cast<std::uint32_t>(block), static_cast<std::uint32_t>(block >> 32),
                                       key.call, step);
  for (int i = 0; i < 4; ++i) out[i] = static_cast<float>(words.value[i] >> 8) * (1.0f / 16777216.0f);
}

}  // namespace retort
