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

HWY_BEFORE_NAMESPACE();
namespace retort::simd {
namespace HWY_NAMESPACE {

#if HWY_TARGET != HWY_SCALAR && HWY_TARGET != HWY_EMU128

inline bool pools_pairs(const MaxPool2dShape& z) {
  return z.kernel_h == 1 && z.kernel_w == 2 && z.stride_w == 2 && z.ow() >= lanes;
}

/// Calls visit(j, seen) with the starts of vectors that cover [0, n), n >= lanes. The last one overlaps the one before it: its
/// first `seen` lanes have been visited.
template <class Visit>
HWY_INLINE void cover(std::int64_t n, Visit&& visit) {
  std::int64_t j = 0;
  for (; j + lanes <= n; j += lanes) visit(j, std::int64_t{0});
  if (j < n) visit(n - lanes, j + lanes - n);
}

/// Where the second of two wins: the first of two equals does, and NaN wins over all.
HWY_INLINE auto second_wins(V even, V odd) { return hn::Or(hn::Gt(odd, even), hn::AndNot(hn::IsNaN(even), hn::IsNaN(odd))); }

#endif  // a vector target

}  // namespace HWY_NAMESPACE
}  // namespace retort::simd
HWY_AFTER_NAMESPACE();
#endif  // include toggle
