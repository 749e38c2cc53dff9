// The register tile under every matrix product of this folder: C(M rows, N vectors) = start + sum_k A(m, k) * B(k, n), where A's
// elements are broadcast one at a time and B's are read as vectors. Nothing has to be packed: rows, and the two loops that
// together run over k, step through memory by any stride. A linear layer, a convolution and all their gradients are such sums.
//
// The tile's accumulators stay in registers. On AVX-512 6 x 4 of them need 4 vector loads and 6 broadcasts for 24 multiply-adds,
// so two multiply-adds a cycle are fed by less than one load each.
#if defined(RETORT_SIMD_TILE_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef RETORT_SIMD_TILE_INL_H
#undef RETORT_SIMD_TILE_INL_H
#else
#define RETORT_SIMD_TILE_INL_H
#endif

#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>

HWY_BEFORE_NAMESPACE();
namespace retort::simd {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;

#if HWY_TARGET != HWY_SCALAR && HWY_TARGET != HWY_EMU128

inline constexpr std::int64_t lanes = static_cast<std::int64_t>(HWY_LANES(float));
inline constexpr bool many_registers = HWY_TARGET <= HWY_AVX3 || HWY_ARCH_ARM_A64;  // 32 of them, not 16

constexpr std::int64_t divide_up(std::int64_t n, std::int64_t by) { return (n + by - 1) / by; }
constexpr std::int64_t round_up(std::int64_t n, std::int64_t to) { return divide_up(n, to) * to; }

/// The first n lanes of p; nothing behind them is touched.
HWY_INLINE V load_first(D d, const float* p, std::int64_t n) {
#if HWY_MEM_OPS_MIGHT_FAULT
  HWY_ALIGN float copy[lanes] = {};
  std::memcpy(copy, p, static_cast<std::size_t>(n) * sizeof(float));
  return hn::Load(d, copy);
#else
  return hn::MaskedLoad(hn::FirstN(d, static_cast<std::size_t>(n)), d, p);
#endif
}

HWY_INLINE void store_first(V v, D d, float* p, std::int64_t n) {
#if HWY_MEM_OPS_MIGHT_FAULT
  HWY_ALIGN float copy[lanes];
  hn::Store(v, d, copy);
  std::memcpy(p, copy, static_cast<std::size_t>(n) * sizeof(float));
#else
  hn::BlendedStore(v, hn::FirstN(d, static_cast<std::size_t>(n)), d, p);
#endif
}

/// Where a tile's sums begin.
enum class Start {
  zero,
  rows,     ///< from[m] in every lane of row m
  columns,  ///< from[n], the same for every row
  result,   ///< what C holds
};

/// Strides are in floats. k runs over (outer, inner).
struct Product {
  std::int64_t outer, inner;
  const float* a;
  std::int64_t a_row, a_outer, a_inner;
  const float* b;  ///< whole vectors are read, so the last one of a row may reach up to lanes - 1 floats behind it
  std::int64_t b_outer, b_inner;
  float* c;
  std::int64_t c_row;
  Start start = Start::zero;
  const float* from = nullptr;
  /// How far ahead of A's rows, of B and of C, in floats, the lines lie that will be needed next; they are fetched meanwhile (B's
  /// only while the first rows of A are at work, for the others find B in the cache). 0: none.
  std::int64_t a_ahead = 0, b_ahead = 0, c_ahead = 0;
  /// Not 0: B lies in panels of so many vectors, (outer * inner, panel) one behind the other.
  std::int64_t panel = 0;
};

template <int M, int N>
HWY_INLINE void start_tile(const Product& p, std::int64_t last, V (&sum)[M][N]) {
  const D d;
#pragma GCC unroll 8
  for (int m = 0; m < M; ++m)
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n) switch (p.start) {
        case Start::zero:
          sum[m][n] = hn::Zero(d);
          break;
        case Start::rows:
          sum[m][n] = hn::Set(d, p.from[m]);
          break;
        default: {
          const float* at = (p.start == Start::columns ? p.from : p.c + m * p.c_row) + n * lanes;
          sum[m][n] = n + 1 < N || last == lanes ? hn::LoadU(d, at) : load_first(d, at, last);
        }
      }
}

/// Asks for what step j of the inner loop announces.
template <int M, int N>
HWY_INLINE void fetch_ahead(const Product& p, std::int64_t j, const float* a, const float* b) {
  constexpr std::int64_t line = 16;
  if (p.a_ahead != 0 && j % line == 0) {
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m) hwy::Prefetch(a + m * p.a_row + p.a_ahead);
  }
  if (p.b_ahead != 0) {
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n) hwy::Prefetch(b + p.b_ahead + n * lanes);
  }
  if (p.c_ahead != 0 && j % 2 == 0 && j < 2 * M * N) hwy::Prefetch(p.c + j / 2 / N * p.c_row + j / 2 % N * lanes + p.c_ahead);
}

/// Only `last` lanes of each row's last vector are written (and read, where C is where the sum starts).
template <int M, int N>
void multiply_tile(const Product& p, std::int64_t last) {
  const D d;
  V sum[M][N];
  start_tile<M, N>(p, last, sum);
  for (std::int64_t i = 0; i < p.outer; ++i) {
    const float *a = p.a + i * p.a_outer, *b = p.b + i * p.b_outer;
    for (std::int64_t j = 0; j < p.inner; ++j, a += p.a_inner, b += p.b_inner) {
      fetch_ahead<M, N>(p, j, a, b);
      V vectors[N];
#pragma GCC unroll 4
      for (int n = 0; n < N; ++n) vectors[n] = hn::LoadU(d, b + n * lanes);
#pragma GCC unroll 8
      for (int m = 0; m < M; ++m) {
        const V scalar = hn::Set(d, a[m * p.a_row]);
#pragma GCC unroll 4
        for (int n = 0; n < N; ++n) sum[m][n] = hn::MulAdd(scalar, vectors[n], sum[m][n]);
      }
    }
  }
#pragma GCC unroll 8
  for (int m = 0; m < M; ++m)
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n) {
      float* at = p.c + m * p.c_row + n * lanes;
      if (n + 1 < N || last == lanes)
        hn::StoreU(sum[m][n], d, at);
      else
        store_first(sum[m][n], d, at, last);
    }
}

inline constexpr int widest = many_registers ? 4 : 3;  ///< vectors of the widest tile

/// Rows of the tallest tile that is n vectors wide: as many as leave registers for the vectors and one broadcast.
constexpr int tallest(std::int64_t n) { return many_registers ? (n == 4 ? 6 : 8) : n == 3 ? 4 : n == 2 ? 6 : 8; }

using TileFunction = void (*)(const Product&, std::int64_t);

template <int N>
TileFunction tile_function(std::int64_t m) {
  constexpr int most = tallest(N);
  switch (m) {
    case 1:
      return multiply_tile<1, N>;
    case 2:
      return multiply_tile<2, N>;
    case 3:
      return multiply_tile<3, N>;
    case 4:
      return multiply_tile<4, N>;
    case 5:
      return multiply_tile<std::min(5, most), N>;
    case 6:
      return multiply_tile<std::min(6, most), N>;
    case 7:
      return multiply_tile<std::min(7, most), N>;
    default:
      return multiply_tile<most, N>;
  }
}

inline TileFunction tile_function(std::int64_t m, std::int64_t n) {
  switch (n) {
    case 1:
      return tile_function<1>(m);
    case 2:
      return tile_function<2>(m);
    case 3:
      return tile_function<3>(m);
    default:
      return tile_function<widest>(m);
  }
}

/// Cuts n vectors into pieces of one width: threes where that leaves no narrow last one, else as few and even as can be.
inline std::int64_t tile_width(std::int64_t vectors) {
  if (vectors % 3 == 0 && vectors % widest != 0) return 3;
  return divide_up(vectors, divide_up(vectors, widest));
}

/// A product of any size. The columns are cut into tile widths, or as B's panels are, the rows into tiles as tall as that width
/// allows. By value: copying a product that was just written waits for all stores before it, so it is best made in the call.
inline void multiply(Product p, std::int64_t rows, std::int64_t columns) {
  const std::int64_t vectors = divide_up(columns, lanes), width = p.panel != 0 ? p.panel : tile_width(vectors);
  const std::int64_t b_column = p.panel != 0 ? p.outer * p.inner : 1, b_ahead = p.b_ahead;
  const float *const a = p.a, *const b = p.b, *const from = p.from;
  float* const c = p.c;
  for (std::int64_t v = 0; v < vectors; v += width) {
    const std::int64_t n = std::min(width, vectors - v), height = tallest(n), used = columns - (v + n - 1) * lanes;
    const std::int64_t last = std::min(used, lanes);
    p.b = b + v * lanes * b_column;
    p.b_ahead = b_ahead;
    if (p.start == Start::columns) p.from = from + v * lanes;
    TileFunction tile = tile_function(height, n);
    for (std::int64_t m = 0; m < rows; m += height) {
      if (rows - m < height) tile = tile_function(rows - m, n);
      p.a = a + m * p.a_row;
      p.c = c + m * p.c_row + v * lanes;
      if (p.start == Start::rows) p.from = from + m;
      tile(p, last);
      p.b_ahead = 0;
    }
  }
}

/// to[j * to_stride + i] = map(from[i * from_stride + j]) for four j and as many i as a vector has lanes (Tag: or four). Block b
/// of the vectors that are read holds rows 4 b to 4 b + 3, so that transposing within blocks makes whole vectors of the result.
template <class Tag, class Map>
HWY_INLINE void transpose_strip(Tag d, const float* from, std::int64_t from_stride, float* to, std::int64_t to_stride,
                                const Map& map) {
  constexpr int blocks = static_cast<int>(hn::MaxLanes(Tag())) / 4;
  const hn::RepartitionToWide<Tag> dw;
  hn::Vec<Tag> rows[4];
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    rows[i] = hn::LoadDup128(d, from + (4 * (blocks - 1) + i) * from_stride);
#pragma GCC unroll 4
    for (int b = blocks - 1; b > 0; --b)
      rows[i] = hn::IfThenElse(hn::FirstN(d, static_cast<std::size_t>(4 * b)),
                               hn::LoadDup128(d, from + (4 * (b - 1) + i) * from_stride), rows[i]);
  }
  const auto low01 = hn::BitCast(dw, hn::InterleaveLower(d, rows[0], rows[1])),
             high01 = hn::BitCast(dw, hn::InterleaveUpper(d, rows[0], rows[1]));
  const auto low23 = hn::BitCast(dw, hn::InterleaveLower(d, rows[2], rows[3])),
             high23 = hn::BitCast(dw, hn::InterleaveUpper(d, rows[2], rows[3]));
  hn::StoreU(map(d, hn::BitCast(d, hn::InterleaveLower(dw, low01, low23))), d, to);
  hn::StoreU(map(d, hn::BitCast(d, hn::InterleaveUpper(dw, low01, low23))), d, to + to_stride);
  hn::StoreU(map(d, hn::BitCast(d, hn::InterleaveLower(dw, high01, high23))), d, to + 2 * to_stride);
  hn::StoreU(map(d, hn::BitCast(d, hn::InterleaveUpper(dw, high01, high23))), d, to + 3 * to_stride);
}

/// to[j * to_stride + i] = map(from[i * from_stride + j]) for i < rows, j < columns. The inner loop runs along the matrix whose
/// rows are further apart, so that its cache lines are finished one by one: rows 4 KB apart share one set of the L1 cache.
template <class Map>
void transpose(std::int64_t rows, std::int64_t columns, const float* from, std::int64_t from_stride, float* to,
               std::int64_t to_stride, const Map& map) {
  const D d;
  const hn::FixedTag<float, 4> d4;
  const std::int64_t wide_rows = rows / lanes * lanes, whole_rows = rows / 4 * 4, whole_columns = columns / 4 * 4;
  const auto strips = [&](std::int64_t j) HWY_ATTR {
    std::int64_t i = 0;
    for (; i < wide_rows; i += lanes)
      transpose_strip(d, from + i * from_stride + j, from_stride, to + j * to_stride + i, to_stride, map);
    for (; i < whole_rows; i += 4)
      transpose_strip(d4, from + i * from_stride + j, from_stride, to + j * to_stride + i, to_stride, map);
  };
  if (std::abs(to_stride) > from_stride) {
    for (std::int64_t j = 0; j < whole_columns; j += 4) strips(j);
  } else {
    for (std::int64_t i = 0; i < wide_rows; i += lanes)
      for (std::int64_t j = 0; j < whole_columns; j += 4)
        transpose_strip(d, from + i * from_stride + j, from_stride, to + j * to_stride + i, to_stride, map);
    for (std::int64_t i = wide_rows; i < whole_rows; i += 4)
      for (std::int64_t j = 0; j < whole_columns; j += 4)
        transpose_strip(d4, from + i * from_stride + j, from_stride, to + j * to_stride + i, to_stride, map);
  }
  for (std::int64_t i = 0; i < rows; ++i)
    for (std::int64_t j = i < whole_rows ? whole_columns : 0; j < columns; ++j)
      to[j * to_stride + i] = map(from[i * from_stride + j]);
}

struct Identity {
  float operator()(float x) const { return x; }
  template <class Tag, class Vector>
  HWY_INLINE Vector operator()(Tag, Vector v) const {
    return v;
  }
};

struct Relu {
  float operator()(float x) const { return x < 0 ? 0.0f : x; }  // NaN stays NaN
  template <class Tag, class Vector>
  HWY_INLINE Vector operator()(Tag d, Vector v) const {
    return hn::IfThenZeroElse(hn::Lt(v, hn::Zero(d)), v);
  }
};

#endif  // a vector target

}  // namespace HWY_NAMESPACE
}  // namespace retort::simd
HWY_AFTER_NAMESPACE();
#endif  // include toggle
