// C = start + A B where most of A is zero, as activations and gradients behind a ReLU are. A word of 64 bits says which of 64
// neighbours in a row of A are not; for each of those, one row of a tile of B is read from the L1 cache and added to sums that
// stay in registers. A load for every multiply-add is what the processor can just do, so half of the zeros' time is saved when
// half of A is zero, and all of it from there on. The order of additions is the dense product's, so the bits are the same.
//
// A zero that is skipped hides an infinity or a NaN that it would have met in B.
#if defined(RETORT_SIMD_SPARSE_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef RETORT_SIMD_SPARSE_INL_H
#undef RETORT_SIMD_SPARSE_INL_H
#else
#define RETORT_SIMD_SPARSE_INL_H
#endif

#include "retort/kernels/simd/tile-inl.h"

#include <bit>

HWY_BEFORE_NAMESPACE();
namespace retort::simd {
namespace HWY_NAMESPACE {

#if HWY_TARGET != HWY_SCALAR && HWY_TARGET != HWY_EMU128

inline constexpr std::int64_t word = 64;  ///< elements of A under one word
inline constexpr int sparse_vectors = 8;  ///< of a tile's rows: 64 rows of them are 32 KB with AVX-512
inline constexpr std::int64_t sparse_width = sparse_vectors * lanes;
inline constexpr std::int64_t sparse_tile = word * sparse_width;

/// Whether a factor with so many elements that are not zero is worth the sparse product: a dense one does 1.2 times as many
/// multiply-adds in the same time.
constexpr bool is_sparse(std::int64_t non_zero, std::int64_t size) { return 10 * non_zero < 7 * size; }

/// Which of a[0], ..., a[n - 1] are not zero; n at most 64.
HWY_INLINE std::uint64_t non_zero_bits(const float* a, std::int64_t n) {
  const D d;
  std::uint64_t bits = 0;
  for (std::int64_t j = 0; j < n; j += lanes) {
    const V v = n - j >= lanes ? hn::LoadU(d, a + j) : load_first(d, a + j, n - j);
    std::uint64_t part = 0;
    hn::StoreMaskBits(d, hn::Ne(v, hn::Zero(d)), reinterpret_cast<std::uint8_t*>(&part));
    bits |= part << j;
  }
  return bits;
}

/// Words of a row of n elements, and how many elements are not zero.
inline std::int64_t mark_non_zero(const float* a, std::int64_t n, std::uint64_t* words) {
  std::int64_t count = 0;
  for (std::int64_t j = 0; j < n; j += word, ++words) {
    *words = non_zero_bits(a + j, std::min(word, n - j));
    count += std::popcount(*words);
  }
  return count;
}

/// One tile's part of the product, for all rows of A. Strides are in floats, those of words in words.
struct SparseProduct {
  std::int64_t rows;
  const float* a;
  std::int64_t a_row;
  const std::uint64_t* words;
  std::int64_t words_row;
  const float* tile;  ///< up to 64 rows of B, whole vectors side by side
  float* c;
  std::int64_t c_row;
  Start start = Start::result;
  const float* from = nullptr;
  bool relu = false;  ///< the result is final and goes through a ReLU
  /// What will be needed next: so many rows of so many floats, fetched meanwhile.
  const float* next = nullptr;
  std::int64_t next_rows = 0, next_row = 0, next_columns = 0;
  std::int64_t c_ahead = 0;  ///< how many rows of C further down are fetched meanwhile
};

template <int N>
void sparse_tile_product(const SparseProduct& p, std::int64_t last) {
  constexpr std::int64_t line = 16;
  const D d;
  for (std::int64_t m = 0; m < p.rows; ++m) {
    for (std::int64_t r = m; r < p.next_rows; r += p.rows)
      for (std::int64_t j = 0; j < p.next_columns; j += line)
        __builtin_prefetch(p.next + r * p.next_row + j, 0, 2);  // L1 is full
    float* c = p.c + m * p.c_row;
    if (p.c_ahead != 0 && m + p.c_ahead < p.rows)
      for (int n = 0; n < N; ++n) hwy::Prefetch(c + p.c_ahead * p.c_row + n * lanes);
    V sum[N];
#pragma GCC unroll 8
    for (int n = 0; n < N; ++n) {
      if (p.start == Start::zero) {
        sum[n] = hn::Zero(d);
      } else {
        const float* at = (p.start == Start::columns ? p.from : c) + n * lanes;
        sum[n] = n + 1 < N || last == lanes ? hn::LoadU(d, at) : load_first(d, at, last);
      }
    }
    const float* a = p.a + m * p.a_row;
    for (std::uint64_t bits = p.words[m * p.words_row]; bits != 0; bits &= bits - 1) {
      const int k = std::countr_zero(bits);
      const V scalar = hn::Set(d, a[k]);
      const float* b = p.tile + k * (N * lanes);
#pragma GCC unroll 8
      for (int n = 0; n < N; ++n) sum[n] = hn::MulAdd(scalar, hn::Load(d, b + n * lanes), sum[n]);
    }
#pragma GCC unroll 8
    for (int n = 0; n < N; ++n) {
      const V value = p.relu ? Relu()(d, sum[n]) : sum[n];
      if (n + 1 < N || last == lanes)
        hn::StoreU(value, d, c + n * lanes);
      else
        store_first(value, d, c + n * lanes, last);
    }
  }
}

/// The product with a tile of `columns` columns, at most sparse_width.
inline void multiply_sparse(const SparseProduct& p, std::int64_t columns) {
  using Function = void (*)(const SparseProduct&, std::int64_t);
  constexpr Function table[sparse_vectors] = {sparse_tile_product<1>, sparse_tile_product<2>, sparse_tile_product<3>,
                                              sparse_tile_product<4>, sparse_tile_product<5>, sparse_tile_product<6>,
                                              sparse_tile_product<7>, sparse_tile_product<8>};
  const std::int64_t vectors = divide_up(columns, lanes);
  table[vectors - 1](p, columns - (vectors - 1) * lanes);
}

#endif  // a vector target

}  // namespace HWY_NAMESPACE
}  // namespace retort::simd
HWY_AFTER_NAMESPACE();
#endif  // include toggle
