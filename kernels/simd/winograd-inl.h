// Convolutions along a row with fewer multiplications: Winograd's minimal filtering F(3, 3) (Arithmetic Complexity of
// Computations, 1980; Lavin and Gray, arXiv:1509.09308, for networks). Three neighbouring outputs of a filter with three taps
// take 9 products, or 5, where sums of neighbours are multiplied:
//
//   y = A^T ((G g) * (B^T d))        y: 3 outputs, g: 3 taps, d: 5 inputs, * element by element
//
// It is multiplication of polynomials at the points 0, 1, -1, 2 and infinity. A filter of 9 taps is three of 3, whose inputs are
// 3 further on each: as far as from one tile of 3 outputs to the next. So an input tile is transformed once, and what is left is
// at each of the five points a convolution of `blocks` taps over the tiles, which is an ordinary product:
//
//   m_f[t, k] = sum over b, c of v_f[t + b, c] u_f[b, c, k]
//
// Gradients are the same sums, transposed: du_f from v_f and A dy, dv_f from u_f and A dy, then dw = G^T du and dx = B dv.
//
// The factors up to 4 make its rounding errors a few times those of a plain sum. An infinity or NaN spreads over the tiles that
// it touches.
#if defined(RETORT_SIMD_WINOGRAD_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef RETORT_SIMD_WINOGRAD_INL_H
#undef RETORT_SIMD_WINOGRAD_INL_H
#else
#define RETORT_SIMD_WINOGRAD_INL_H
#endif

#include "retort/kernels/conv2d.h"
#include "retort/kernels/simd/arena.h"

#include "retort/kernels/simd/tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace retort::simd {
namespace HWY_NAMESPACE {

#if HWY_TARGET != HWY_SCALAR && HWY_TARGET != HWY_EMU128

inline constexpr int points = 5;

/// v = B^T d.
HWY_INLINE void transform_input(D d, V d0, V d1, V d2, V d3, V d4, float* v, std::int64_t stride) {
  const V two = hn::Set(d, 2.0f), far = hn::Sub(d3, d1);
  hn::Store(hn::MulAdd(two, hn::Sub(d0, d2), far), d, v);
  hn::Store(hn::NegMulAdd(two, d1, hn::Sub(d3, d2)), d, v + stride);
  hn::Store(hn::MulAdd(two, hn::Sub(d1, d2), hn::Sub(d3, d2)), d, v + 2 * stride);
  hn::Store(far, d, v + 3 * stride);
  hn::Store(hn::NegMulAdd(two, far, hn::Sub(d4, d2)), d, v + 4 * stride);
}

/// u = G g.
HWY_INLINE void transform_taps(D d, V g0, V g1, V g2, float* u, std::int64_t stride) {
  const V sixth = hn::Set(d, 1.0f / 6), even = hn::Add(g0, g2), minus_half = hn::Set(d, -0.5f);
  hn::Store(hn::Mul(hn::Set(d, 0.5f), g0), d, u);
  hn::Store(hn::Mul(minus_half, hn::Add(even, g1)), d, u + stride);
  hn::Store(hn::Mul(sixth, hn::Sub(g1, even)), d, u + 2 * stride);
  hn::Store(hn::Mul(sixth, hn::MulAdd(hn::Set(d, 4.0f), g2, hn::MulAdd(hn::Set(d, 2.0f), g1, g0))), d, u + 3 * stride);
  hn::Store(g2, d, u + 4 * stride);
}

/// Sizes of one row: (channels, width) in, (outputs, ow) out, `taps` a multiple of 3. Rows lie channels-last, padded to whole
/// vectors: c of inputs, k of outputs.
struct WinogradRow {
  explicit WinogradRow(const Conv2dShape& z)
      : channels(z.c),
        outputs(z.k),
        taps(z.s),
        width(z.w),
        ow(z.ow()),
        blocks(z.s / 3),
        tiles(divide_up(ow, 3)),
        input_tiles(tiles + blocks - 1),
        c(round_up(z.c, lanes)),
        k(round_up(z.k, lanes)) {}

  /// Pays where the transforms are small beside the products. The shape is already known to be one row high, with stride 1.
  static bool serves(const Conv2dShape& z) { return z.s % 3 == 0 && z.c >= lanes && z.k >= lanes && z.ow() >= 9; }

  std::int64_t x_rows() const { return 3 * input_tiles + 2; }  ///< at least `width`
  std::int64_t y_rows() const { return 3 * tiles; }            ///< at least `ow`
  std::int64_t x_size() const { return x_rows() * c; }
  std::int64_t y_size() const { return y_rows() * k; }
  std::int64_t v_size() const { return points * input_tiles * c; }
  std::int64_t m_size() const { return points * tiles * k; }

  /// u_f[b][c][k], for forward; of_taps: (taps, k) of work space. w: (outputs, channels, taps).
  std::int64_t forward_weights() const { return points * blocks * channels * k; }
  void pack_forward(const float* w, float* of_taps, float* u) const {
    std::fill(of_taps, of_taps + taps * k, 0.0f);
    for (std::int64_t i = 0; i < channels; ++i) {
      transpose(outputs, taps, w + i * taps, channels * taps, of_taps, k, Identity());
      for (std::int64_t b = 0; b < blocks; ++b) pack(of_taps + 3 * b * k, k, u + (b * channels + i) * k, blocks * channels * k);
    }
  }

  /// u_f[b][k][c], for the gradient of the input; of_taps: (taps, c) of work space.
  std::int64_t backward_weights() const { return points * blocks * outputs * c; }
  void pack_backward(const float* w, float* of_taps, float* u) const {
    std::fill(of_taps, of_taps + taps * c, 0.0f);
    for (std::int64_t i = 0; i < outputs; ++i) {
      transpose(channels, taps, w + i * channels * taps, taps, of_taps, c, Identity());
      for (std::int64_t b = 0; b < blocks; ++b) pack(of_taps + 3 * b * c, c, u + (b * outputs + i) * c, blocks * outputs * c);
    }
  }

  /// v from a row of x, planes `plane` apart. xt: x_size() of work space.
  void read_inputs(const float* x, std::int64_t plane, float* xt, float* v) const {
    const D d;
    std::fill(xt + (c > channels ? 0 : width * c), xt + x_size(), 0.0f);
    transpose(channels, width, x, plane, xt, c, Identity());
    for (std::int64_t t = 0; t < input_tiles; ++t)
      for (std::int64_t i = 0; i < c; i += lanes) {
        const float* at = xt + 3 * t * c + i;
        transform_input(d, hn::Load(d, at), hn::Load(d, at + c), hn::Load(d, at + 2 * c), hn::Load(d, at + 3 * c),
                        hn::Load(d, at + 4 * c), v + t * c + i, input_tiles * c);
      }
  }

  /// y (y_rows, k) = bias + A^T m, with m from v and the weights of pack_forward.
  void forward(const float* v, const float* u, const float* bias, float* m, float* y) const {
    for (int f = 0; f < points; ++f)
      multiply({blocks, channels, v + f * input_tiles * c, c, c, 1, u + f * blocks * channels * k, channels * k, k,
                m + f * tiles * k, k},
               tiles, k);
    const D d;
    const V two = hn::Set(d, 2.0f), four = hn::Set(d, 4.0f);
    for (std::int64_t t = 0; t < tiles; ++t)
      for (std::int64_t i = 0; i < k; i += lanes) {
        const auto at = [&](int f) HWY_ATTR { return hn::Load(d, m + (f * tiles + t) * k + i); };
        const V sum = hn::Add(at(1), at(2)), difference = hn::Sub(at(1), at(2)), b = hn::Load(d, bias + i);
        float* to = y + 3 * t * k + i;
        hn::Store(hn::Add(hn::Add(at(0), at(3)), hn::Add(sum, b)), d, to);
        hn::Store(hn::MulAdd(two, at(3), hn::Add(difference, b)), d, to + k);
        hn::Store(hn::MulAdd(four, at(3), hn::Add(hn::Add(sum, at(4)), b)), d, to + 2 * k);
      }
  }

  /// m = A dy from a row of dy, planes `plane` apart; its sums over the row are added to total (k). False if the whole row is
  /// zero. yt: y_size() of work space.
  bool read_gradients(const float* dy, std::int64_t plane, float* yt, float* m, float* total) const {
    const D d;
    const V two = hn::Set(d, 2.0f), four = hn::Set(d, 4.0f);
    std::fill(yt + (k > outputs ? 0 : ow * k), yt + y_size(), 0.0f);
    transpose(outputs, ow, dy, plane, yt, k, Identity());
    V bits = hn::Zero(d);  // of all values
    for (std::int64_t i = 0; i < k; i += lanes) {
      V of_row = hn::Load(d, total + i);
      for (std::int64_t t = 0; t < tiles; ++t) {
        const float* at = yt + 3 * t * k + i;
        const V y0 = hn::Load(d, at), y1 = hn::Load(d, at + k), y2 = hn::Load(d, at + 2 * k), even = hn::Add(y0, y2);
        const V all = hn::Add(even, y1);
        float* to = m + t * k + i;
        hn::Store(y0, d, to);
        hn::Store(all, d, to + tiles * k);
        hn::Store(hn::Sub(even, y1), d, to + 2 * tiles * k);
        hn::Store(hn::MulAdd(four, y2, hn::MulAdd(two, y1, y0)), d, to + 3 * tiles * k);
        hn::Store(y2, d, to + 4 * tiles * k);
        of_row = hn::Add(of_row, all);
        bits = hn::Or(bits, hn::Or(hn::Or(y0, y1), y2));
      }
      hn::Store(of_row, d, total + i);
    }
    return !hn::AllTrue(d, hn::Eq(bits, hn::Zero(d)));
  }

  /// A row of dx from m, with the weights of pack_backward. v, xt: v_size() and x_size() of work space.
  void input_gradient(const float* m, const float* u, float* v, float* xt, float* dx, std::int64_t plane) const {
    std::fill(v, v + v_size(), 0.0f);
    for (int f = 0; f < points; ++f)
      for (std::int64_t b = 0; b < blocks; ++b)
        multiply({1, outputs, m + f * tiles * k, k, 0, 1, u + (f * blocks + b) * outputs * c, 0, c, v + (f * input_tiles + b) * c,
                  c, Start::result},
                 tiles, c);
    collect_input_gradients(v, xt);
    transpose(width, channels, xt, c, dx, plane, Identity());
  }

  /// Sums for dw of a few rows: du_f[k][b][c] += sum over rows and tiles of m v. The rows' m and v lie one behind the other.
  std::int64_t weight_sums() const { return points * outputs * blocks * c; }
  void add_weight_gradient(std::int64_t rows, const float* m, const float* v, float* du) const {
    for (int f = 0; f < points; ++f)
      multiply({rows, tiles, m + f * tiles * k, 1, m_size(), k, v + f * input_tiles * c, v_size(), c,
                du + f * outputs * blocks * c, blocks * c, Start::result},
               outputs, blocks * c);
  }

  /// dw (channels, taps) of output i += G^T of the groups' sums, which lie one behind the other. of_taps: (taps, c) of work
  /// space.
  void finish_weight_gradient(std::int64_t i, std::int64_t groups, const float* du, float* of_taps, float* dw) const {
    const D d;
    const V half = hn::Set(d, 0.5f), sixth = hn::Set(d, 1.0f / 6);
    for (std::int64_t j = 0; j < blocks * c; j += lanes) {
      const auto at = [&](int f) HWY_ATTR {
        const float* from = du + (f * outputs + i) * blocks * c + j;
        V sum = hn::Load(d, from);
        for (std::int64_t g = 1; g < groups; ++g) sum = hn::Add(sum, hn::Load(d, from + g * weight_sums()));
        return sum;
      };
      const V u1 = hn::Mul(half, at(1)), u2 = hn::Mul(sixth, at(2)), u3 = hn::Mul(sixth, at(3));
      float* to = of_taps + j / c * 3 * c + j % c;
      hn::Store(hn::Sub(hn::MulAdd(half, at(0), hn::Sub(u3, u1)), u2), d, to);
      hn::Store(hn::Add(hn::Sub(u2, u1), hn::Add(u3, u3)), d, to + c);
      hn::Store(hn::MulAdd(hn::Set(d, 4.0f), u3, hn::Sub(at(4), hn::Add(u1, u2))), d, to + 2 * c);
    }
    for (std::int64_t j = 0; j < channels; ++j)
      for (std::int64_t s = 0; s < taps; ++s) dw[j * taps + s] += of_taps[s * c + j];
  }

 private:
  static void pack(const float* of_taps, std::int64_t row, float* u, std::int64_t stride) {
    const D d;
    for (std::int64_t j = 0; j < row; j += lanes)
      transform_taps(d, hn::Load(d, of_taps + j), hn::Load(d, of_taps + row + j), hn::Load(d, of_taps + 2 * row + j), u + j,
                     stride);
  }

  /// xt (x_rows, c) = B v: a tile's last two positions are the next one's first two.
  void collect_input_gradients(const float* v, float* xt) const {
    const D d;
    const V two = hn::Set(d, 2.0f);
    for (std::int64_t i = 0; i < c; i += lanes) {
      V before3 = hn::Zero(d), before4 = hn::Zero(d);
      float* to = xt + i;
      for (std::int64_t t = 0; t < input_tiles; ++t, to += 3 * c) {
        const auto at = [&](int f) HWY_ATTR { return hn::Load(d, v + (f * input_tiles + t) * c + i); };
        const V v0 = at(0), v1 = at(1), v2 = at(2), v3 = at(3), v4 = at(4), v01 = hn::Add(v0, v1);
        hn::Store(hn::MulAdd(two, v0, before3), d, to);
        hn::Store(hn::Add(before4, hn::MulAdd(two, hn::Add(hn::Sub(v2, v1), v4), hn::Neg(hn::Add(v0, v3)))), d, to + c);
        hn::Store(hn::NegMulAdd(two, hn::Add(v0, v2), hn::Neg(hn::Add(hn::Add(v1, v2), v4))), d, to + 2 * c);
        before3 = hn::NegMulAdd(two, v4, hn::Add(v01, hn::Add(v2, v3)));
        before4 = v4;
      }
      hn::Store(before3, d, to);
      hn::Store(before4, d, to + c);
    }
  }

 public:
  std::int64_t channels, outputs, taps, width, ow, blocks, tiles, input_tiles, c, k;
};

/// Work space of a thread: xt and yt of one row, v and m of `rows`.
struct WinogradSpace {
  WinogradSpace(const WinogradRow& row, std::int64_t rows, Arena& arena)
      : xt(arena.take(row.x_size())),
        yt(arena.take(row.y_size())),
        v(arena.take(rows * row.v_size())),
        m(arena.take(rows * row.m_size())) {}
  static std::size_t bytes(const WinogradRow& row, std::int64_t rows) {
    Arena count;
    WinogradSpace(row, rows, count);
    return count.used();
  }
  float *xt, *yt, *v, *m;
};

#endif  // a vector target

}  // namespace HWY_NAMESPACE
}  // namespace retort::simd
HWY_AFTER_NAMESPACE();
#endif  // include toggle
