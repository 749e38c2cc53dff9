// What batch normalisation does to one channel. A channel's rows (one a sample) lie far apart, so the first pass over them asks
// for the rows ahead; what it brought is in the L1 or L2 cache for the passes that follow. Lanes are added up in float over a few
// hundred elements, beyond that in double.
#if defined(RETORT_SIMD_BATCH_NORM_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef RETORT_SIMD_BATCH_NORM_INL_H
#undef RETORT_SIMD_BATCH_NORM_INL_H
#else
#define RETORT_SIMD_BATCH_NORM_INL_H
#endif

#include "retort/kernels/batch_norm.h"
#include "retort/kernels/thread_team.h"

#include "retort/kernels/simd/tile-inl.h"

#include <cmath>

HWY_BEFORE_NAMESPACE();
namespace retort::simd {
namespace HWY_NAMESPACE {

#if HWY_TARGET != HWY_SCALAR && HWY_TARGET != HWY_EMU128

/// One channel: where its rows are and how to read them.
struct Channel {
  Channel(const BatchNormShape& z, std::int64_t c)
      : rows(z.n), length(z.spatial), stride(z.c * z.spatial), first(c * z.spatial) {}

  double count() const { return static_cast<double>(rows * length); }

  /// body(position, lanes used, slot) for every vector of row r; slots 0 to 3 take turns, so that four sums are under way at
  /// once.
  template <class Body>
  HWY_INLINE void row(std::int64_t r, Body&& body) const {
    std::int64_t p = first + r * stride;
    const std::int64_t end = p + length;
    for (; p + 4 * lanes <= end; p += 4 * lanes) {
      body(p, lanes, 0);
      body(p + lanes, lanes, 1);
      body(p + 2 * lanes, lanes, 2);
      body(p + 3 * lanes, lanes, 3);
    }
    if (p + 2 * lanes <= end) {
      body(p, lanes, 0);
      body(p + lanes, lanes, 1);
      p += 2 * lanes;
    }
    if (p + lanes <= end) {
      body(p, lanes, 2);
      p += lanes;
    }
    if (p < end) body(p, end - p, 3);
  }

  template <class Body>
  HWY_INLINE void all(Body&& body) const {
    for (std::int64_t r = 0; r < rows; ++r) row(r, body);
  }

  void prefetch(std::int64_t r, const float* data) const {
    constexpr std::int64_t ahead = 10, line = 16;
    if (r + ahead >= rows) return;
    const float* at = data + first + (r + ahead) * stride;
    for (std::int64_t j = 0; j < length; j += line) hwy::Prefetch(at + j);
  }

  std::int64_t rows, length, stride, first;
};

/// Calls body(begin, end) with groups of channels. Neighbours, whose rows share cache lines, are one thread's: so many that a
/// task's rows are at least half a kilobyte long.
constexpr std::int64_t group_row = 128;
template <class Body>
void for_each_group(Stream& stream, const BatchNormShape& z, Body&& body) {
  stream.threads().for_ranges(z.c, divide_up(group_row, std::max<std::int64_t>(z.spatial, 1)), body);
}

template <class Body>
void for_each_channel(Stream& stream, const BatchNormShape& z, Body&& body) {
  for_each_group(stream, z, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t c = begin; c < end; ++c) body(c);
  });
}

HWY_INLINE V load(const float* p, std::int64_t n) {
  const D d;
  return n == lanes ? hn::LoadU(d, p) : load_first(d, p, n);
}

HWY_INLINE void store(V v, float* p, std::int64_t n) {
  const D d;
  if (n == lanes)
    hn::StoreU(v, d, p);
  else
    store_first(v, d, p, n);
}

/// Sums of many vectors: in float lanes over some rows, then in double.
class Sum {
 public:
  HWY_INLINE void flush(const V (&part)[4]) {
    const V sum = hn::Add(hn::Add(part[0], part[1]), hn::Add(part[2], part[3]));
    total_ += static_cast<double>(hn::GetLane(hn::SumOfLanes(D(), sum)));
  }
  double total() const { return total_; }

 private:
  double total_ = 0;
};

/// Rows after which the float sums are emptied: about 64 vectors.
inline std::int64_t rows_per_flush(const Channel& at) {
  return std::max<std::int64_t>(1, 64 * lanes / std::max<std::int64_t>(1, at.length));
}

inline double squares_about(const Channel& at, const float* x, float mean) {
  const D d;
  const V center = hn::Set(d, mean);
  const std::int64_t step = rows_per_flush(at);
  Sum sum;
  for (std::int64_t r = 0; r < at.rows; r += step) {
    V part[4] = {hn::Zero(d), hn::Zero(d), hn::Zero(d), hn::Zero(d)};
    for (std::int64_t i = r; i < std::min(r + step, at.rows); ++i)
      at.row(i, [&](std::int64_t p, std::int64_t n, int slot) HWY_ATTR {
        V off = hn::Sub(load(x + p, n), center);
        if (n < lanes) off = hn::IfThenElseZero(hn::FirstN(d, static_cast<std::size_t>(n)), off);
        part[slot] = hn::MulAdd(off, off, part[slot]);
      });
    sum.flush(part);
  }
  return sum.total();
}

struct Moments {
  double mean, squares;  ///< the sum of squared distances from the mean
};

/// In one pass, about the mean of the first row. Where that was far from the channel's, so that the squares would be the small
/// difference of two large sums, they are taken again.
inline Moments channel_moments(const Channel& at, const float* x) {
  const D d;
  const std::int64_t step = rows_per_flush(at);
  V first = hn::Zero(d);
  at.row(0, [&](std::int64_t p, std::int64_t n, int) HWY_ATTR { first = hn::Add(first, load(x + p, n)); });
  const float pivot = hn::GetLane(hn::SumOfLanes(d, first)) / static_cast<float>(at.length);
  const V center = hn::Set(d, pivot);
  Sum sums, squares;
  for (std::int64_t r = 0; r < at.rows; r += step) {
    V part[4] = {hn::Zero(d), hn::Zero(d), hn::Zero(d), hn::Zero(d)};
    V square[4] = {hn::Zero(d), hn::Zero(d), hn::Zero(d), hn::Zero(d)};
    for (std::int64_t i = r; i < std::min(r + step, at.rows); ++i) {
      at.prefetch(i, x);
      at.row(i, [&](std::int64_t p, std::int64_t n, int slot) HWY_ATTR {
        V off = hn::Sub(load(x + p, n), center);
        if (n < lanes) off = hn::IfThenElseZero(hn::FirstN(d, static_cast<std::size_t>(n)), off);
        part[slot] = hn::Add(part[slot], off);
        square[slot] = hn::MulAdd(off, off, square[slot]);
      });
    }
    sums.flush(part);
    squares.flush(square);
  }
  const double shift = sums.total() / at.count(), mean = static_cast<double>(pivot) + shift;
  const double about_mean = squares.total() - shift * sums.total();
  if (squares.total() > 4 * about_mean) return {mean, squares_about(at, x, static_cast<float>(mean))};
  return {mean, about_mean};
}

inline float inverse_deviation(double variance, float eps) {
  return static_cast<float>(1 / std::sqrt(variance + static_cast<double>(eps)));
}

/// Channel c's entries of mean, invstd and, unless they are null, of the running statistics.
inline void channel_statistics(const Channel& at, const BatchNormShape& z, std::int64_t c, const float* x, float* running_mean,
                               float* running_var, float* mean, float* invstd) {
  const auto [average, squares] = channel_moments(at, x);
  const double momentum = z.momentum;
  mean[c] = static_cast<float>(average);
  invstd[c] = inverse_deviation(squares / at.count(), z.eps);
  if (running_mean == nullptr) return;
  running_mean[c] = static_cast<float>((1 - momentum) * running_mean[c] + momentum * average);
  running_var[c] = static_cast<float>((1 - momentum) * running_var[c] + momentum * squares / (at.count() - 1));
}

/// What dx = scale * (g - offset - slope * (x - mean)) takes from the sums over the channel.
struct InputGradient {
  InputGradient(const Channel& at, bool train, double sum, double dot, float gamma, float invstd)
      : scale(gamma * invstd),
        offset(train ? static_cast<float>(sum / at.count()) : 0.0f),
        slope(train ? static_cast<float>(dot * invstd * invstd / at.count()) : 0.0f) {}
  float scale, offset, slope;
};

#endif  // a vector target

}  // namespace HWY_NAMESPACE
}  // namespace retort::simd
HWY_AFTER_NAMESPACE();
#endif  // include toggle
