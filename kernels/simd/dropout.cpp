// Dropout. Philox (philox.h) multiplies 32-bit words and goes on with both halves of the products: so each word of a counter has
// a 64-bit lane to itself, and what is in a lane's upper half is never looked at. A vector holds as many counters.
#include "retort/kernels/dropout.h"

#include "retort/kernels/simd/register.h"
#include "retort/kernels/simd/targets.h"
#include "retort/kernels/thread_team.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "retort/kernels/simd/dropout.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "retort/kernels/simd/tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace retort::simd {
namespace HWY_NAMESPACE {

#if HWY_TARGET == HWY_SCALAR || HWY_TARGET == HWY_EMU128
DropoutKernels dropout_kernels() { return {}; }
#else

constexpr std::int64_t task_size = 8192;  // elements of one task, a whole number of vectors

using D32 = hn::Repartition<std::uint32_t, D>;
using D64 = hn::Repartition<std::uint64_t, D>;
using V64 = hn::Vec<D64>;

/// The masks of many elements: 0 or 1/(1-p).
class Masks {
 public:
  Masks(float p, const PhiloxKey& key)
      : p_(p), key_(key), step_(key.step != nullptr ? static_cast<std::uint32_t>(*key.step) : 0u) {}

  /// Of elements [first, first + 2 lanes), first a multiple of 4.
  HWY_INLINE void draw(std::int64_t first, V& low, V& high) const {
    const D64 d;
    const D32 d32;
    // Four elements come from one counter, and interleaving takes the even lanes first: they get the first half of the counters.
    const V64 lane = hn::Iota(d, 0), one = hn::Set(d, 1), half = hn::Set(d, static_cast<std::uint64_t>(lanes / 4));
    const V64 offset = hn::Add(hn::ShiftRight<1>(lane), hn::IfThenElseZero(hn::Eq(hn::And(lane, one), one), half));
    const V64 counter = hn::Add(hn::Set(d, static_cast<std::uint64_t>(first / 4)), offset);
    V64 c0 = counter, c1 = hn::ShiftRight<32>(counter), c2 = hn::Set(d, key_.call), c3 = hn::Set(d, step_);
    auto k0 = static_cast<std::uint32_t>(key_.seed), k1 = static_cast<std::uint32_t>(key_.seed >> 32);
    for (int round = 0; round < 10; ++round, k0 += 0x9E3779B9u, k1 += 0xBB67AE85u) {
      const V64 p0 = hn::MulEven(hn::BitCast(d32, c0), hn::Set(d32, 0xD2511F53u)),
                p1 = hn::MulEven(hn::BitCast(d32, c2), hn::Set(d32, 0xCD9E8D57u));
      c0 = hn::Xor(hn::Xor(hn::ShiftRight<32>(p1), c1), hn::Set(d, std::uint64_t{k0}));
      c2 = hn::Xor(hn::Xor(hn::ShiftRight<32>(p0), c3), hn::Set(d, std::uint64_t{k1}));
      c1 = p1, c3 = p0;
    }
    const V64 c01 = together(c0, c1), c23 = together(c2, c3);
    low = factors(hn::InterleaveLower(d, c01, c23)), high = factors(hn::InterleaveUpper(d, c01, c23));
  }

 private:
  /// The lower halves of both.
  static HWY_INLINE V64 together(V64 first, V64 second) {
    const D32 d32;
    return hn::BitCast(D64(), hn::OddEven(hn::BitCast(d32, hn::ShiftLeft<32>(second)), hn::BitCast(d32, first)));
  }
  HWY_INLINE V factors(V64 words) const {
    const D d;
    const auto top = hn::ShiftRight<8>(hn::BitCast(D32(), words));
    const V u = hn::Mul(hn::ConvertTo(d, hn::BitCast(hn::RebindToSigned<D>(), top)), hn::Set(d, 1.0f / 16777216.0f));
    return hn::IfThenElseZero(hn::Ge(u, hn::Set(d, p_)), hn::Set(d, 1.0f / (1.0f - p_)));
  }

  float p_;
  PhiloxKey key_;
  std::uint32_t step_;
};

/// y = masks, or masks * x.
template <bool apply>
void write(Stream& stream, std::int64_t n, float p, const PhiloxKey& key, const float* x, float* y) {
  const Masks all(p, key);
  stream.threads().for_ranges(n, task_size, [&](std::int64_t begin, std::int64_t end) HWY_ATTR {
    const D d;
    const Masks masks = all;  // a copy, which no write to y can change
    V low, high;
    const auto part = [&](V mask, std::int64_t i) HWY_ATTR {
      if (i + lanes <= end)
        hn::StoreU(apply ? hn::Mul(mask, hn::LoadU(d, x + i)) : mask, d, y + i);
      else if (i < end)
        store_first(apply ? hn::Mul(mask, load_first(d, x + i, end - i)) : mask, d, y + i, end - i);
    };
    for (std::int64_t i = begin; i < end; i += 2 * lanes) {
      masks.draw(i, low, high);
      part(low, i);
      part(high, i + lanes);
    }
  });
}

void apply(Stream& stream, std::int64_t n, float p, const PhiloxKey& key, const float* x, float* y) {
  write<true>(stream, n, p, key, x, y);
}
void mask(Stream& stream, std::int64_t n, float p, const PhiloxKey& key, float* out) {
  write<false>(stream, n, p, key, nullptr, out);
}

DropoutKernels dropout_kernels() { return {apply, mask}; }

#endif

}  // namespace HWY_NAMESPACE
}  // namespace retort::simd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace retort::simd {

HWY_EXPORT(dropout_kernels);
void register_dropout() { add(HWY_DYNAMIC_DISPATCH(dropout_kernels)()); }

}  // namespace retort::simd
#endif
