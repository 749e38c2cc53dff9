#include "catch.h"
#include "op_cases.h"
#include "retort/kernels/dropout.h"
#include "retort/kernels/philox.h"

#include <cmath>
#include <vector>

namespace {

using namespace retort;

void check_block(std::uint64_t key, const std::uint32_t (&c)[4], const std::uint32_t (&expected)[4]) {
  const PhiloxBlock block = philox4x32(key, c[0], c[1], c[2], c[3]);
  for (int i = 0; i < 4; ++i) CHECK(block.value[i] == expected[i]);
}

TEST_CASE("Philox4x32-10 gives the known answers of Random123") {
  check_block(0, {0, 0, 0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  check_block(0xffffffffffffffffull, {0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
              {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  check_block(0x299f31d0a4093822ull, {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
              {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("uniforms lie in [0, 1), and depend on seed, call and step") {
  std::int32_t step = 5;
  const PhiloxKey key{42, 7, &step};
  double sum = 0;
  for (std::uint64_t block = 0; block < 25000; ++block) {
    float u[4];
    philox_uniform4(key, block, u);
    for (const float value : u) {
      REQUIRE(value >= 0);
      REQUIRE(value < 1);
      sum += value;
    }
  }
  CHECK(sum / 1e5 == Approx(0.5).margin(0.005));  // five standard deviations

  std::int32_t later = 6;
  for (const PhiloxKey& other : {PhiloxKey{43, 7, &step}, PhiloxKey{42, 8, &step}, PhiloxKey{42, 7, &later}, PhiloxKey{42, 7}}) {
    float a[4], b[4];
    philox_uniform4(key, 0, a);
    philox_uniform4(other, 0, b);
    CHECK((a[0] != b[0] || a[1] != b[1] || a[2] != b[2] || a[3] != b[3]));
  }
}

TEST_CASE("dropout keeps a share 1-p, the same mask forward and backward") {
  const std::uint64_t seed = op_cases::fresh_seed();
  CAPTURE(seed);
  register_kernels();
  constexpr std::int64_t n = 100001;
  std::vector<float> ones(n, 1.0f), mask(n), y(n), reference(n);
  const std::int32_t step = 12;
  Stream stream(Device::cpu, 2);
  for (const auto& implementation : KernelTable<DropoutKernels>::instance().info(Device::cpu).names) {
    const auto& kernels = KernelTable<DropoutKernels>::instance().get(Device::cpu, implementation);
    for (const float p : {0.0f, 0.1f, 0.5f, 0.9f}) {
      CAPTURE(implementation, p);
      const PhiloxKey key{seed, 1, &step};
      kernels.mask(stream, n, p, key, mask.data());
      kernels.apply(stream, n, p, key, ones.data(), y.data());
      CHECK(mask == y);
      KernelTable<DropoutKernels>::instance().get(Device::cpu, "ref").mask(stream, n, p, key, reference.data());
      CHECK(mask == reference);
      std::int64_t kept = 0;
      for (const float value : mask) {
        REQUIRE((value == 0 || value == 1.0f / (1.0f - p)));
        kept += value != 0;
      }
      const double deviation = std::sqrt(p * (1.0 - p) / n);
      CHECK(std::abs(static_cast<double>(kept) / n - (1.0 - p)) <= 6 * deviation);
    }
  }
}

}  // namespace
