// Convolutions along a row with fewer multiplications: Winograd's minimal filtering F(3, 3) (Arithmetic Complexity of
// Computations, 1980; Lavin and Gray, arXiv:1509.09308, for networks), nested in itself. Three neighbouring outputs of a filter
// with three taps take 9 products, or 5, where sums of neighbours are multiplied:
//
//   y = A^T ((G g) * (B^T d))        y: 3 outputs, g: 3 taps, d: 5 inputs, * element by element
//
// It is multiplication of polynomials at the points 0, 1, -1, 2 and infinity. A filter of 9 taps is three groups of 3, whose
// inputs are 3 further on each: as far as from one tile of 3 outputs to the next. So at each of the five points what is left is
// again a filter with three taps, the groups, over the tiles, and goes the same way. A span of 9 outputs, 3 tiles, from 17
// inputs, 5 tiles, takes 25 products where 81 were. Over the channels each of them is an ordinary matrix product:
//
//   m_p[span, k] = sum over c of v_p[span, c] u_p[c, k]        p: one of 25 pairs of points
//
// Gradients are the same sums, transposed: du_p from v_p and A dy, dv_p from u_p and A dy, then dw = G^T du and dx = B dv.
//
// The factors up to 4 make its rounding errors a few times those of a plain sum. An infinity or NaN spreads over the spans that
// it touches.
#if defined(RETORT_SIMD_WINOGRAD_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef RETORT_SIMD_WINOGRAD_INL_H
#undef RETORT_SIMD_WINOGRAD_INL_H
#else
#define RETORT_SIMD_WINOGRAD_INL_H
#endif

#include "retort/kernels/conv2d.h"
#include "retort/kernels/simd/arena.h"
#include "retort/kernels/thread_team.h"

#include "retort/kernels/simd/tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace retort::simd {
namespace HWY_NAMESPACE {

#if HWY_TARGET != HWY_SCALAR && HWY_TARGET != HWY_EMU128

// ---- the maps of one level; a lane is a channel ----

/// v = B^T d.
HWY_INLINE void map_inputs(const V (&x)[5], V (&v)[5]) {
  const V two = hn::Set(D(), 2.0f), far = hn::Sub(x[3], x[1]), near = hn::Sub(x[3], x[2]);
  v[0] = hn::MulAdd(two, hn::Sub(x[0], x[2]), far);
  v[1] = hn::NegMulAdd(two, x[1], near);
  v[2] = hn::MulAdd(two, hn::Sub(x[1], x[2]), near);
  v[3] = far;
  v[4] = hn::NegMulAdd(two, far, hn::Sub(x[4], x[2]));
}

/// B v of `count` tiles, five values read(t, f) each, at 3 count + 2 positions: a tile's last two are the next one's first two.
template <class Read, class Write>
HWY_INLINE void collect_inputs(std::int64_t count, const Read& read, const Write& write) {
  const D d;
  const V two = hn::Set(d, 2.0f);
  V before3 = hn::Zero(d), before4 = hn::Zero(d);
  for (std::int64_t t = 0; t < count; ++t) {
    const V v0 = read(t, 0), v1 = read(t, 1), v2 = read(t, 2), v3 = read(t, 3), v4 = read(t, 4);
    write(3 * t, hn::MulAdd(two, v0, before3));
    write(3 * t + 1, hn::Add(before4, hn::MulAdd(two, hn::Add(hn::Sub(v2, v1), v4), hn::Neg(hn::Add(v0, v3)))));
    write(3 * t + 2, hn::NegMulAdd(two, hn::Add(v0, v2), hn::Neg(hn::Add(hn::Add(v1, v2), v4))));
    before3 = hn::NegMulAdd(two, v4, hn::Add(hn::Add(v0, v1), hn::Add(v2, v3)));
    before4 = v4;
  }
  write(3 * count, before3);
  write(3 * count + 1, before4);
}

/// u = G g.
HWY_INLINE void map_taps(const V (&g)[3], V (&u)[5]) {
  const D d;
  const V sixth = hn::Set(d, 1.0f / 6), even = hn::Add(g[0], g[2]);
  u[0] = hn::Mul(hn::Set(d, 0.5f), g[0]);
  u[1] = hn::Mul(hn::Set(d, -0.5f), hn::Add(even, g[1]));
  u[2] = hn::Mul(sixth, hn::Sub(g[1], even));
  u[3] = hn::Mul(sixth, hn::MulAdd(hn::Set(d, 4.0f), g[2], hn::MulAdd(hn::Set(d, 2.0f), g[1], g[0])));
  u[4] = g[2];
}

/// g = G^T u.
HWY_INLINE void collect_taps(const V (&u)[5], V (&g)[3]) {
  const D d;
  const V half = hn::Set(d, 0.5f), sixth = hn::Set(d, 1.0f / 6);
  const V u1 = hn::Mul(half, u[1]), u2 = hn::Mul(sixth, u[2]), u3 = hn::Mul(sixth, u[3]);
  g[0] = hn::Sub(hn::MulAdd(half, u[0], hn::Sub(u3, u1)), u2);
  g[1] = hn::Add(hn::Sub(u2, u1), hn::Add(u3, u3));
  g[2] = hn::MulAdd(hn::Set(d, 4.0f), u3, hn::Sub(u[4], hn::Add(u1, u2)));
}

/// y = A^T m.
HWY_INLINE void collect_outputs(const V (&m)[5], V (&y)[3]) {
  const D d;
  const V sum = hn::Add(m[1], m[2]), difference = hn::Sub(m[1], m[2]);
  y[0] = hn::Add(hn::Add(m[0], m[3]), sum);
  y[1] = hn::MulAdd(hn::Set(d, 2.0f), m[3], difference);
  y[2] = hn::MulAdd(hn::Set(d, 4.0f), m[3], hn::Add(sum, m[4]));
}

/// m = A y; m[1] is the sum of all three.
HWY_INLINE void map_outputs(const V (&y)[3], V (&m)[5]) {
  const D d;
  const V even = hn::Add(y[0], y[2]);
  m[0] = y[0];
  m[1] = hn::Add(even, y[1]);
  m[2] = hn::Sub(even, y[1]);
  m[3] = hn::MulAdd(hn::Set(d, 4.0f), y[2], hn::MulAdd(hn::Set(d, 2.0f), y[1], y[0]));
  m[4] = y[2];
}

/// Sizes of rows that go together: (channels, width) in, (outputs, ow) out. In them channels are the inner dimension, padded to
/// whole vectors: c of inputs, k of outputs. v (25, rows, spans, c) and m (25, rows, spans, k).
struct WinogradRows {
  static constexpr int points = 25, taps = 9;
  static constexpr std::int64_t together = 8;  ///< rows whose products are made at once: u_p is then read from L2 once for all

  explicit WinogradRows(const Conv2dShape& z)
      : channels(z.c),
        outputs(z.k),
        width(z.w),
        ow(z.ow()),
        spans(divide_up(ow, 9)),
        tiles(3 * spans + 2),
        c(round_up(z.c, lanes)),
        k(round_up(z.k, lanes)),
        v_point(together * spans * c + lanes),
        m_point(together * spans * k + lanes),
        forward_point(channels * k + lanes),
        backward_point(outputs * c + lanes) {}

  /// Pays where the maps are small beside the products. The shape is already known to be one row high, with stride 1.
  static bool serves(const Conv2dShape& z) { return z.s == taps && z.c >= lanes && z.k >= lanes && z.ow() >= 9; }

  std::int64_t x_size() const { return (3 * tiles + 2) * c; }
  std::int64_t y_size() const { return 9 * spans * k; }
  std::int64_t forward_weights() const { return points * forward_point; }
  std::int64_t backward_weights() const { return points * backward_point; }
  std::int64_t weight_sums() const { return points * backward_point; }

  /// Work space of a thread: channels-last rows, the tiles of one vector of channels, and what the products are made of.
  struct Space {
    Space(const WinogradRows& rows, Arena& arena)
        : xt(arena.take(rows.x_size())),
          yt(arena.take(rows.y_size())),
          tile_values(arena.take(5 * rows.tiles * lanes)),
          v(arena.take(points * rows.v_point)),
          m(arena.take(points * rows.m_point)) {}
    float *xt, *yt, *tile_values, *v, *m;
  };

  /// Calls pack(i, of_taps) for i < n, side by side; of_taps: `size` floats of work space for each thread.
  template <class Pack>
  static void pack(ThreadTeam& team, std::int64_t n, std::int64_t size, float* of_taps, const Pack& pack) {
    constexpr std::int64_t at_once = 4;  // a few microseconds
    team.run(divide_up(n, at_once), [&](std::int64_t task, int thread) {
      for (std::int64_t i = task * at_once; i < std::min(n, (task + 1) * at_once); ++i) pack(i, of_taps + thread * size);
    });
  }

  /// Channel i of u_p[c][k], for forward, output k times scale[k]; of_taps: (taps, k) of work space. w: (outputs, channels,
  /// taps).
  void pack_forward(std::int64_t i, const float* w, const float* scale, float* of_taps, float* u) const {
    const D d;
    if (k > outputs) std::fill(of_taps, of_taps + taps * k, 0.0f);
    transpose(outputs, taps, w + i * taps, channels * taps, of_taps, k, Identity());
    for (std::int64_t j = 0; j < taps * k; j += lanes)
      hn::Store(hn::Mul(hn::Load(d, of_taps + j), hn::Load(d, scale + j % k)), d, of_taps + j);
    map_weights(of_taps, k, u + i * k, forward_point);
  }

  /// Output i of u_p[k][c], for the gradient of the input; of_taps: (taps, c) of work space.
  void pack_backward(std::int64_t i, const float* w, float* of_taps, float* u) const {
    if (c > channels) std::fill(of_taps, of_taps + taps * c, 0.0f);
    transpose(channels, taps, w + i * channels * taps, taps, of_taps, c, Identity());
    map_weights(of_taps, c, u + i * c, backward_point);
  }

  /// Row r of v from a row of x, planes `plane` apart.
  void read_inputs(const float* x, std::int64_t plane, std::int64_t r, const Space& space) const {
    const D d;
    std::fill(space.xt + (c > channels ? 0 : width * c), space.xt + x_size(), 0.0f);
    transpose(channels, width, x, plane, space.xt, c, Identity());
    for (std::int64_t i = 0; i < c; i += lanes) {
      for (std::int64_t t = 0; t < tiles; ++t) {
        V five[5], of_tile[5];
        for (int j = 0; j < 5; ++j) five[j] = hn::Load(d, space.xt + (3 * t + j) * c + i);
        map_inputs(five, of_tile);
        for (int f = 0; f < 5; ++f) hn::Store(of_tile[f], d, space.tile_values + (f * tiles + t) * lanes);
      }
      float* to = space.v + r * spans * c + i;
      for (int f = 0; f < 5; ++f)
        for (std::int64_t s = 0; s < spans; ++s) {
          V five[5], of_span[5];
          for (int j = 0; j < 5; ++j) five[j] = hn::Load(d, space.tile_values + (f * tiles + 3 * s + j) * lanes);
          map_inputs(five, of_span);
          for (int e = 0; e < 5; ++e) hn::Store(of_span[e], d, to + (5 * e + f) * v_point + s * c);
        }
    }
  }

  /// m of `rows` rows from v and the weights of pack_forward.
  void multiply_forward(std::int64_t rows, const float* u, const Space& space) const {
    for (int p = 0; p < points; ++p)
      multiply({1, channels, space.v + p * v_point, c, 0, 1, u + p * forward_point, 0, k, space.m + p * m_point, k}, rows * spans,
               k);
  }

  /// yt = bias + A^T m of row r.
  void write_outputs(std::int64_t r, const float* bias, const Space& space) const {
    const D d;
    for (std::int64_t s = 0; s < spans; ++s)
      for (std::int64_t i = 0; i < k; i += lanes) {
        const float* from = space.m + (r * spans + s) * k + i;
        V of_tile[3][5];
        for (int f = 0; f < 5; ++f) {
          V five[5], three[3];
          for (int e = 0; e < 5; ++e) five[e] = hn::Load(d, from + (5 * e + f) * m_point);
          collect_outputs(five, three);
          for (int t = 0; t < 3; ++t) of_tile[t][f] = three[t];
        }
        const V b = hn::Load(d, bias + i);
        for (int t = 0; t < 3; ++t) {
          V three[3];
          collect_outputs(of_tile[t], three);
          for (int j = 0; j < 3; ++j) hn::Store(hn::Add(three[j], b), d, space.yt + (9 * s + 3 * t + j) * k + i);
        }
      }
  }

  /// Row r of m = A dy from a row of dy, planes `plane` apart; its sums over the row are added to total (k). False if the whole
  /// row is zero.
  bool read_gradients(const float* dy, std::int64_t plane, std::int64_t r, const Space& space, float* total) const {
    const D d;
    std::fill(space.yt + (k > outputs ? 0 : ow * k), space.yt + y_size(), 0.0f);
    transpose(outputs, ow, dy, plane, space.yt, k, Identity());
    V bits = hn::Zero(d);  // of all values
    for (std::int64_t i = 0; i < k; i += lanes) {
      V of_row = hn::Load(d, total + i);
      for (std::int64_t s = 0; s < spans; ++s) {
        V of_tile[3][5];
        for (int t = 0; t < 3; ++t) {
          V three[3];
          for (int j = 0; j < 3; ++j) three[j] = hn::Load(d, space.yt + (9 * s + 3 * t + j) * k + i);
          bits = hn::Or(bits, hn::Or(hn::Or(three[0], three[1]), three[2]));
          map_outputs(three, of_tile[t]);
          of_row = hn::Add(of_row, of_tile[t][1]);
        }
        float* to = space.m + (r * spans + s) * k + i;
        for (int f = 0; f < 5; ++f) {
          const V three[3] = {of_tile[0][f], of_tile[1][f], of_tile[2][f]};
          V five[5];
          map_outputs(three, five);
          for (int e = 0; e < 5; ++e) hn::Store(five[e], d, to + (5 * e + f) * m_point);
        }
      }
      hn::Store(of_row, d, total + i);
    }
    return !hn::AllTrue(d, hn::Eq(bits, hn::Zero(d)));
  }

  /// dv of `rows` rows, in v, from m and the weights of pack_backward.
  void multiply_backward(std::int64_t rows, const float* u, const Space& space) const {
    for (int p = 0; p < points; ++p)
      multiply({1, outputs, space.m + p * m_point, k, 0, 1, u + p * backward_point, 0, c, space.v + p * v_point, c}, rows * spans,
               c);
  }

  /// A row of dx = B dv from row r of v.
  void write_input_gradients(std::int64_t r, const Space& space, float* dx, std::int64_t plane) const {
    const D d;
    for (std::int64_t i = 0; i < c; i += lanes) {
      const float* from = space.v + r * spans * c + i;
      float *tile = space.tile_values, *to = space.xt + i;
      for (int f = 0; f < 5; ++f)
        collect_inputs(
            spans, [&](std::int64_t s, int e) HWY_ATTR { return hn::Load(d, from + (5 * e + f) * v_point + s * c); },
            [&](std::int64_t t, V value) HWY_ATTR { hn::Store(value, d, tile + (f * tiles + t) * lanes); });
      collect_inputs(
          tiles, [&](std::int64_t t, int f) HWY_ATTR { return hn::Load(d, tile + (f * tiles + t) * lanes); },
          [&](std::int64_t at, V value) HWY_ATTR { hn::Store(value, d, to + at * c); });
    }
    transpose(width, channels, space.xt, c, dx, plane, Identity());
  }

  /// du_p[k][c] = (or, with Start::result, +=) the sum over `rows` rows of m v.
  void multiply_weight_gradient(std::int64_t rows, const Space& space, Start start, float* du) const {
    for (int p = 0; p < points; ++p)
      multiply({1, rows * spans, space.m + p * m_point, 1, 0, k, space.v + p * v_point, 0, c, du + p * backward_point, c, start},
               outputs, c);
  }

  /// of_taps[k][taps][c] = G^T du.
  void collect_weight_gradient(const float* du, float* of_taps) const {
    const D d;
    for (std::int64_t o = 0; o < outputs; ++o)
      for (std::int64_t i = 0; i < c; i += lanes) {
        V of_group[3][5];
        for (int f = 0; f < 5; ++f) {
          V five[5], three[3];
          for (int e = 0; e < 5; ++e) five[e] = hn::Load(d, du + (5 * e + f) * backward_point + o * c + i);
          collect_taps(five, three);
          for (int b = 0; b < 3; ++b) of_group[b][f] = three[b];
        }
        for (int b = 0; b < 3; ++b) {
          V three[3];
          collect_taps(of_group[b], three);
          for (int j = 0; j < 3; ++j) hn::Store(three[j], d, of_taps + (o * taps + 3 * b + j) * c + i);
        }
      }
  }

 private:
  static void map_weights(const float* of_taps, std::int64_t n, float* u, std::int64_t point) {
    const D d;
    for (std::int64_t i = 0; i < n; i += lanes) {
      V of_group[3][5];
      for (int b = 0; b < 3; ++b) {
        V three[3];
        for (int j = 0; j < 3; ++j) three[j] = hn::Load(d, of_taps + (3 * b + j) * n + i);
        map_taps(three, of_group[b]);
      }
      for (int f = 0; f < 5; ++f) {
        const V three[3] = {of_group[0][f], of_group[1][f], of_group[2][f]};
        V five[5];
        map_taps(three, five);
        for (int e = 0; e < 5; ++e) hn::Store(five[e], d, u + (5 * e + f) * point + i);
      }
    }
  }

 public:
  std::int64_t channels, outputs, width, ow, spans, tiles, c, k, v_point, m_point, forward_point, backward_point;
};

/// Scratch memory of a call: what `take` takes, and a WinogradRows::Space for each thread.
template <class Take>
class WinogradScratch {
 public:
  WinogradScratch(Stream& stream, const WinogradRows& rows, const Take& take) : rows_(rows) {
    Arena shared, own;
    take(shared);
    WinogradRows::Space(rows, own);
    own_ = own.used();
    spaces_ = static_cast<std::byte*>(stream.scratch(shared.used() + static_cast<std::size_t>(stream.threads().size()) * own_));
    Arena arena(spaces_);
    take(arena);
    spaces_ += shared.used();
  }
  WinogradRows::Space space(int thread) const {
    Arena arena(spaces_ + static_cast<std::size_t>(thread) * own_);
    return WinogradRows::Space(rows_, arena);
  }

 private:
  const WinogradRows& rows_;
  std::size_t own_;
  std::byte* spaces_;
};

/// Forward of `count` rows: input(i) is where row i begins, its planes `plane` apart, and output(i, yt) gets its result (9 spans,
/// k). affine(scale, bias) says by what output k is multiplied (not bias[k]) and what is added; both (k).
template <class Affine, class Input, class Output>
void forward_winograd(Stream& stream, const WinogradRows& rows, std::int64_t count, const float* w, std::int64_t plane,
                      const Affine& affine, const Input& input, const Output& output) {
  constexpr std::int64_t together = WinogradRows::together;
  ThreadTeam& team = stream.threads();
  const std::int64_t work = WinogradRows::taps * rows.k;
  float *weights = nullptr, *scale = nullptr, *bias = nullptr, *of_taps = nullptr;
  const WinogradScratch scratch(stream, rows, [&](Arena& arena) {
    weights = arena.take(rows.forward_weights()), scale = arena.take(rows.k), bias = arena.take(rows.k);
    of_taps = arena.take(work * team.size());
  });
  affine(scale, bias);
  rows.pack(team, rows.channels, work, of_taps,
            [&](std::int64_t i, float* taps) { rows.pack_forward(i, w, scale, taps, weights); });
  team.run(divide_up(count, together), [&](std::int64_t task, int thread) {
    const auto space = scratch.space(thread);
    const std::int64_t first = task * together, n = std::min(together, count - first);
    for (std::int64_t r = 0; r < n; ++r) rows.read_inputs(input(first + r), plane, r, space);
    rows.multiply_forward(n, weights, space);
    for (std::int64_t r = 0; r < n; ++r) {
      rows.write_outputs(r, bias, space);
      output(first + r, space.yt);
    }
  });
}

#endif  // a vector target

}  // namespace HWY_NAMESPACE
}  // namespace retort::simd
HWY_AFTER_NAMESPACE();
#endif  // include toggle
