// Pooling over pairs, kernel (1, 2) with horizontal stride 2: MTL-net's. A vector of outputs is chosen from a vector of even and
// one of odd elements.
#if defined(RETORT_SIMD_PAIRS_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef RETORT_SIMD_PAIRS_INL_H
#undef RETORT_SIMD_PAIRS_INL_H
#else
#define RETORT_SIMD_PAIRS_INL_H
#endif

#include "retort/kernels/max_pool2d.h"

#include "retort/kernels/simd/tile-inl.h"

#include <type_traits>

HWY_BEFORE_NAMESPACE();
namespace retort::simd {
namespace HWY_NAMESPACE {

#if HWY_TARGET != HWY_SCALAR && HWY_TARGET != HWY_EMU128

inline bool pools_pairs(const MaxPool2dShape& z) {
  return z.kernel_h == 1 && z.kernel_w == 2 && z.stride_w == 2 && z.ow() >= lanes;
}

/// Calls visit(j, overlaps) with the starts of vectors that cover [0, n), n >= lanes. Only the last one may overlap the one
/// before it: its `overlaps` is a std::true_type, and not_seen(n) has the lanes that have not been visited.
template <class Visit>
HWY_INLINE void cover(std::int64_t n, Visit&& visit) {
  std::int64_t j = 0;
  for (; j + lanes <= n; j += lanes) visit(j, std::false_type());
  if (j < n) visit(n - lanes, std::true_type());
}
HWY_INLINE hn::Mask<D> not_seen(std::int64_t n) {
  return hn::Not(hn::FirstN(D(), static_cast<std::size_t>(round_up(n, lanes) - n)));
}

/// Where the second of two wins: the first of two equals does, and NaN wins over all.
HWY_INLINE auto second_wins(V even, V odd) { return hn::Or(hn::Gt(odd, even), hn::AndNot(hn::IsNaN(even), hn::IsNaN(odd))); }

/// Pairs without moving anything across the vector: 2 * lanes elements become a vector of first and one of second elements, of
/// pairs in the order 0, lanes / 2, 1, lanes / 2 + 1, ... `order` and `restore` bring a vector with one value a pair into that
/// order and back.
class PairLanes {
 public:
  PairLanes() {
    HWY_ALIGN std::int32_t to[lanes], from[lanes];
    for (std::int32_t i = 0; i < lanes; ++i) to[i] = i / 2 + i % 2 * lanes / 2, from[to[i]] = i;
    to_ = hn::SetTableIndices(D(), to);
    from_ = hn::SetTableIndices(D(), from);
  }
  HWY_INLINE V order(V v) const { return hn::TableLookupLanes(v, to_); }
  HWY_INLINE V restore(V v) const { return hn::TableLookupLanes(v, from_); }

  HWY_INLINE static void load(const float* x, V& first, V& second) {
    const V low = hn::LoadU(D(), x), high = hn::LoadU(D(), x + lanes);
    first = hn::OddEven(hn::Shuffle2301(high), low);
    second = hn::OddEven(high, hn::Shuffle2301(low));
  }
  HWY_INLINE static void store(V first, V second, float* x) {
    hn::StoreU(hn::OddEven(hn::Shuffle2301(second), first), D(), x);
    hn::StoreU(hn::OddEven(second, hn::Shuffle2301(first)), D(), x + lanes);
  }

 private:
  decltype(hn::SetTableIndices(D(), static_cast<const std::int32_t*>(nullptr))) to_, from_;
};

#endif  // a vector target

}  // namespace HWY_NAMESPACE
}  // namespace retort::simd
HWY_AFTER_NAMESPACE();
#endif  // include toggle
