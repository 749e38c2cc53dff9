// Convolutions one row high with stride 1 and no padding: MTL-net's. Each row of the output is a small product of its own, and
// there is no im2col: the tap s only shifts where a row begins.
//
//   forward   y[k,i] = sum_{c,s} w[k,c,s] x[c,i+s]. Vectors run either along the row (its length may leave lanes idle) or across
//             the output channels (the row of y is then computed channels-last and transposed from the L1 cache), whichever
//             wastes less.
//   dx        dx[i+s,c] += sum_k dy[k,i] w[k,c,s], channels-last: a product a tap, added s rows further down.
//   dw        dw[k,c,s] += sum_i dy[k,i] x[c,i+s]: with x channels-last, dy[k,i] meets S*C consecutive floats, a product again.
//
// With many channels and nine taps all of them go through minimal filtering instead (winograd-inl.h), which multiplies about a
// third as often. Where most of dy is zero (behind a ReLU and a max pooling), both gradients walk over what is not.
//
// All other shapes go to the Eigen kernels.
#include "retort/kernels/conv2d.h"

#include "retort/kernels/simd/arena.h"
#include "retort/kernels/simd/register.h"
#include "retort/kernels/simd/targets.h"
#include "retort/kernels/thread_team.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "retort/kernels/simd/conv2d.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "retort/kernels/simd/sparse-inl.h"
#include "retort/kernels/simd/winograd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace retort::simd {
namespace HWY_NAMESPACE {

#if HWY_TARGET == HWY_SCALAR || HWY_TARGET == HWY_EMU128
Conv2dKernels conv2d_kernels() { return {}; }
#else

bool is_special(const Conv2dShape& z) { return z.r == 1 && z.stride_h == 1 && z.stride_w == 1 && z.pad_h == 0 && z.pad_w == 0; }

/// Where row i, counted over samples and their rows, begins in an array (n, planes, h, width); its planes lie h * width apart.
std::int64_t row_offset(std::int64_t i, std::int64_t planes, std::int64_t h, std::int64_t width) {
  return (i / h * planes * h + i % h) * width;
}

/// One row of outputs from a row of every input plane: `positions` of them, each over `channels` planes and `taps` neighbours.
struct RowProduct {
  std::int64_t channels, taps, positions, outputs;

  std::int64_t padded_outputs() const { return round_up(outputs, lanes); }
  /// Floats from one plane of a copied row to the next: enough for the vectors that start at the last tap.
  std::int64_t row_stride() const { return round_up(positions, lanes) + round_up(taps, lanes); }
  /// Vectors across the outputs, not along the row? Transposing costs about as much as 12 multiply-adds an element.
  bool across() const {
    const std::int64_t terms = channels * taps;
    return positions * padded_outputs() * (terms + 12) < round_up(positions, lanes) * outputs * terms;
  }
};

// ---- forward ----

struct Forward {
  explicit Forward(const Conv2dShape& shape) : z(shape), row{z.c, z.s, z.ow(), z.k}, across(row.across()) {}

  void lay_out(Arena& arena, int threads) {
    if (across) weights = arena.take(z.c * z.s * row.padded_outputs()), bias = arena.take(row.padded_outputs());
    for_thread = across ? row.positions * row.padded_outputs() : z.c * row.row_stride();
    for_thread = round_up(for_thread, 16);
    buffers = arena.take(for_thread * threads);
  }

  void pack(const float* w, const float* b) const {
    const std::int64_t outputs = row.padded_outputs(), terms = z.c * z.s;
    if (outputs > z.k) std::fill(weights, weights + terms * outputs, 0.0f);
    transpose(z.k, terms, w, terms, weights, outputs, Identity());
    std::fill(bias, bias + outputs, 0.0f);
    if (b != nullptr) std::copy(b, b + z.k, bias);
  }

  /// Row h of sample n.
  void compute(const float* x, const float* w, const float* b, float* y, float* buffer) const {
    const std::int64_t plane = z.h * z.w, out_plane = z.h * row.positions, terms = z.c * z.s;
    if (across) {
      const std::int64_t outputs = row.padded_outputs();
      multiply({z.c, z.s, x, 1, plane, 1, weights, z.s * outputs, outputs, buffer, outputs, Start::columns, bias}, row.positions,
               outputs);
      transpose(row.positions, z.k, buffer, outputs, y, out_plane, Identity());
      return;
    }
    const std::int64_t stride = row.row_stride();
    for (std::int64_t c = 0; c < z.c; ++c) {
      std::copy(x + c * plane, x + c * plane + z.w, buffer + c * stride);
      std::fill(buffer + c * stride + z.w, buffer + (c + 1) * stride, 0.0f);
    }
    multiply({z.c, z.s, w, terms, z.s, 1, buffer, stride, 1, y, out_plane, b != nullptr ? Start::rows : Start::zero, b}, z.k,
             row.positions);
  }

  Conv2dShape z;
  RowProduct row;
  bool across;
  float *weights = nullptr, *bias = nullptr, *buffers = nullptr;
  std::int64_t for_thread = 0;
};

void forward_winograd(Stream& stream, const Conv2dShape& z, const float* x, const float* w, const float* b, float* y) {
  const WinogradRows rows(z);
  forward_winograd(
      stream, rows, z.n * z.h, w, z.h * z.w,
      [&](float* scale, float* bias) {
        std::fill(scale, scale + rows.k, 1.0f);
        std::fill(bias, bias + rows.k, 0.0f);
        if (b != nullptr) std::copy(b, b + z.k, bias);
      },
      [&](std::int64_t i) { return x + row_offset(i, z.c, z.h, z.w); },
      [&](std::int64_t i, const float* yt) {
        transpose(rows.ow, z.k, yt, rows.k, y + row_offset(i, z.k, z.h, rows.ow), z.h * rows.ow, Identity());
      });
}

void forward(Stream& stream, const Conv2dShape& z, const float* x, const float* w, const float* b, float* y) {
  if (!is_special(z)) return fallback<Conv2dKernels>().forward(stream, z, x, w, b, y);
  if (WinogradRows::serves(z)) return forward_winograd(stream, z, x, w, b, y);
  constexpr std::int64_t task_work = 1 << 19;  // multiply-adds worth a task
  ThreadTeam& team = stream.threads();
  Forward f(z);
  Arena count;
  f.lay_out(count, team.size());
  Arena arena(stream.scratch(count.used()));
  f.lay_out(arena, team.size());
  if (f.weights != nullptr) f.pack(w, b);
  const std::int64_t rows = z.n * z.h, per_row = std::max<std::int64_t>(1, z.k * z.ow() * z.c * z.s);
  const std::int64_t grain = std::max<std::int64_t>(1, task_work / per_row);
  team.run(divide_up(rows, grain), [&](std::int64_t task, int thread) {
    for (std::int64_t i = task * grain; i < std::min(rows, (task + 1) * grain); ++i) {
      f.compute(x + row_offset(i, z.c, z.h, z.w), w, b, y + row_offset(i, z.k, z.h, z.ow()), f.buffers + thread * f.for_thread);
    }
  });
}

// ---- gradient with respect to the input ----

// Non-zero elements of dy, in percent, below which sparse products pay beside dense ones, and beside minimal filtering.
constexpr std::int64_t sparse_beside_dense = 60, sparse_beside_winograd = 25;

/// Do a few of the channels' elements in this row of dy (its planes so far apart) let expect fewer non-zero ones than `percent`?
bool looks_sparse(const Conv2dShape& z, const float* row, std::int64_t percent) {
  const std::int64_t sample = std::min<std::int64_t>(4, z.k), ow = z.ow();
  std::int64_t non_zero = 0;
  for (std::int64_t k = 0; k < sample; ++k, row += z.h * ow)
    for (std::int64_t j = 0; j < ow; ++j) non_zero += row[j] != 0;
  return 100 * non_zero < percent * sample * ow;
}

struct BackwardData {
  explicit BackwardData(const Conv2dShape& shape)
      : z(shape),
        channels(round_up(z.c, lanes)),
        panel_taps(std::clamp<std::int64_t>(sparse_width / channels, 1, z.s)),
        blocks(divide_up(z.k, word)),
        ow(z.ow()) {}

  /// Few channels leave most of a vector idle.
  bool worth_while() const { return channels <= 2 * z.c; }

  void lay_out_shared(Arena& arena) { weights = arena.take(z.k * z.s * channels); }
  void lay_out_thread(Arena& arena) {
    block = arena.take(z.w * channels);
    transposed = arena.take(ow * z.k);
    words = arena.take<std::uint64_t>(ow * blocks);
  }

  /// A few taps side by side, a panel: [panel][k][tap][c].
  void pack(const float* w) const {
    if (channels > z.c) std::fill(weights, weights + z.k * z.s * channels, 0.0f);
    for (std::int64_t s = 0; s < z.s; s += panel_taps) {
      const std::int64_t taps = std::min(panel_taps, z.s - s);
      for (std::int64_t k = 0; k < z.k; ++k)
        transpose(z.c, taps, w + k * z.c * z.s + s, z.s, panel(s) + k * taps * channels, channels, Identity());
    }
  }

  /// One row of dx from one of dy.
  void compute(const float* dy, float* dx) const {
    std::fill(block, block + z.w * channels, 0.0f);
    const bool sparse = channels <= sparse_width && looks_sparse(z, dy, sparse_beside_dense);
    if (sparse) {
      transpose(z.k, ow, dy, z.h * ow, transposed, z.k, Identity());
      for (std::int64_t i = 0; i < ow; ++i) mark_non_zero(transposed + i * z.k, z.k, words + i * blocks);
    }
    for (std::int64_t s = 0; s < z.s; s += panel_taps) {
      const std::int64_t taps = std::min(panel_taps, z.s - s);
      sparse ? add_sparse(s, taps) : add_dense(s, taps, dy);
    }
    transpose(z.w, z.c, block, channels, dx, z.h * z.w, Identity());
  }

 private:
  float* panel(std::int64_t first_tap) const { return weights + first_tap * z.k * channels; }

  /// A tap at a time: a tile's rows then do not overlap.
  void add_dense(std::int64_t s, std::int64_t taps, const float* dy) const {
    for (std::int64_t t = 0; t < taps; ++t)
      multiply({1, z.k, dy, 1, 0, z.h * ow, panel(s) + t * channels, 0, taps * channels, block + (s + t) * channels, channels,
                Start::result},
               ow, channels);
  }

  /// All taps of a panel at once: rows are done one after another, so they may overlap.
  void add_sparse(std::int64_t s, std::int64_t taps) const {
    for (std::int64_t b = 0; b < blocks; ++b)
      multiply_sparse({ow, transposed + b * word, z.k, words + b, blocks, panel(s) + b * word * taps * channels,
                       block + s * channels, channels},
                      taps * channels);
  }

  Conv2dShape z;
  std::int64_t channels, panel_taps, blocks, ow;
  float *weights = nullptr, *block = nullptr, *transposed = nullptr;
  std::uint64_t* words = nullptr;
};

// ---- gradient with respect to the weights ----

inline constexpr int most_taps = 9;

/// sum[t][n] += sum_e value[e] * x[at[e] + t * stride + n * lanes].
template <int T, int N>
void gather_products(std::int64_t count, const float* value, const std::int32_t* at, const float* x, std::int64_t stride,
                     float* sum) {
  const D d;
  V total[T][N];
#pragma GCC unroll 9
  for (int t = 0; t < T; ++t)
#pragma GCC unroll 2
    for (int n = 0; n < N; ++n) total[t][n] = hn::LoadU(d, sum + t * stride + n * lanes);
  for (std::int64_t e = 0; e < count; ++e) {
    const V g = hn::Set(d, value[e]);
    const float* from = x + at[e];
#pragma GCC unroll 9
    for (int t = 0; t < T; ++t)
#pragma GCC unroll 2
      for (int n = 0; n < N; ++n) total[t][n] = hn::MulAdd(g, hn::LoadU(d, from + t * stride + n * lanes), total[t][n]);
  }
#pragma GCC unroll 9
  for (int t = 0; t < T; ++t)
#pragma GCC unroll 2
    for (int n = 0; n < N; ++n) hn::StoreU(total[t][n], d, sum + t * stride + n * lanes);
}

using Gather = void (*)(std::int64_t, const float*, const std::int32_t*, const float*, std::int64_t, float*);

template <int N>
Gather gather_function(std::int64_t taps) {
  constexpr Gather table[most_taps] = {gather_products<1, N>, gather_products<2, N>, gather_products<3, N>,
                                       gather_products<4, N>, gather_products<5, N>, gather_products<6, N>,
                                       gather_products<7, N>, gather_products<8, N>, gather_products<9, N>};
  return table[taps - 1];
}

/// Sums for a group of samples: dw as [k][taps][channels padded] (or, with few channels, [k][c*s padded]), and behind it db, a
/// vector a channel.
struct BackwardWeight {
  static constexpr std::int64_t chunk_floats = 6 * 1024;  // channels-last rows held at once: half the L1 cache

  explicit BackwardWeight(const Conv2dShape& shape)
      : z(shape),
        channels(round_up(z.c, lanes)),
        terms(round_up(z.c * z.s, lanes)),
        ow(z.ow()),
        channels_last(2 * channels * z.s <= 3 * terms) {
    row_size = channels_last ? channels * z.s : terms;
    chunk = channels_last ? std::max<std::int64_t>(1, chunk_floats / (z.w * channels)) : 1;
  }

  std::int64_t sums_size() const { return z.k * (row_size + lanes); }

  void lay_out_thread(Arena& arena) {
    spread = arena.take(channels_last ? chunk * z.w * channels : ow * terms + lanes);
    if (!channels_last) return;
    value = arena.take(chunk * ow + lanes);
    at = reinterpret_cast<std::int32_t*>(arena.take(chunk * ow + lanes));
  }

  const float* input_row(const float* x, std::int64_t i) const { return x + row_offset(i, z.c, z.h, z.w); }
  const float* gradient_row(const float* dy, std::int64_t i) const { return dy + row_offset(i, z.k, z.h, ow); }

  /// Rows [begin, end), counted over samples and their rows.
  void accumulate(const float* x, const float* dy, std::int64_t begin, std::int64_t end, float* sums) const {
    std::fill(sums, sums + sums_size(), 0.0f);
    if (channels_last && channels > z.c) std::fill(spread, spread + chunk * z.w * channels, 0.0f);
    for (std::int64_t i = begin; i < end; i += chunk)
      channels_last ? add_rows(x, dy, i, std::min(end, i + chunk), sums) : add_row(x, dy, i, sums);
  }

  /// Adds the row's sums over its positions to db's, and counts its non-zero elements.
  std::int64_t add_bias_gradient(const float* row, float* sums) const {
    const D d;
    std::size_t zeros = 0;
    for (std::int64_t k = 0; k < z.k; ++k, row += z.h * ow) {
      float* total = sums + z.k * row_size + k * lanes;
      V sum = hn::LoadU(d, total);
      for (std::int64_t j = 0; j < ow; j += lanes) {
        const V g = ow - j >= lanes ? hn::LoadU(d, row + j) : load_first(d, row + j, ow - j);
        zeros += hn::CountTrue(d, hn::Eq(g, hn::Zero(d)));
        sum = hn::Add(sum, g);
      }
      hn::StoreU(sum, d, total);
    }
    return z.k * round_up(ow, lanes) - static_cast<std::int64_t>(zeros);
  }

  /// Lists the positions and values of channel k's non-zero gradients in rows [begin, end), and counts them; adds them up for db.
  std::int64_t list_gradients(const float* dy, std::int64_t k, std::int64_t begin, std::int64_t end, float* sums) const {
    const D d;
    const hn::RebindToSigned<D> di;
    float* total = sums + z.k * row_size + k * lanes;
    V sum = hn::LoadU(d, total);
    std::int64_t count = 0;
    for (std::int64_t i = begin; i < end; ++i) {
      const float* row = gradient_row(dy, i) + k * z.h * ow;
      for (std::int64_t j = 0; j < ow; j += lanes) {
        const V g = ow - j >= lanes ? hn::LoadU(d, row + j) : load_first(d, row + j, ow - j);
        const auto keep = hn::Ne(g, hn::Zero(d));
        const auto first = hn::Set(di, static_cast<std::int32_t>((i - begin) * z.w + j));
        const auto index = hn::Mul(hn::Add(first, hn::Iota(di, 0)), hn::Set(di, static_cast<std::int32_t>(channels)));
        hn::CompressStore(index, hn::RebindMask(di, keep), di, at + count);
        count += static_cast<std::int64_t>(hn::CompressStore(g, keep, d, value + count));
        sum = hn::Add(sum, g);
      }
    }
    hn::StoreU(sum, d, total);
    return count;
  }

  void add_rows(const float* x, const float* dy, std::int64_t begin, std::int64_t end, float* sums) const {
    for (std::int64_t i = begin; i < end; ++i)
      transpose(z.c, z.w, input_row(x, i), z.h * z.w, spread + (i - begin) * z.w * channels, channels, Identity());
    if (looks_sparse(z, gradient_row(dy, begin), sparse_beside_dense)) {
      for (std::int64_t k = 0; k < z.k; ++k) add_listed(list_gradients(dy, k, begin, end, sums), sums + k * row_size);
      return;
    }
    // Rows of neighbouring samples are equally far apart and make one longer product.
    const std::int64_t together = z.h == 1 ? end - begin : 1;
    for (std::int64_t i = begin; i < end; ++i) add_bias_gradient(gradient_row(dy, i), sums);
    for (std::int64_t i = begin; i < end; i += together)
      multiply({together, ow, gradient_row(dy, i), z.h * ow, z.k * ow, 1, spread + (i - begin) * z.w * channels, z.w * channels,
                channels, sums, row_size, Start::result},
               z.k, row_size);
  }

  /// The products of `count` listed gradients with their windows.
  void add_listed(std::int64_t count, float* sums) const {
    if (count == 0) return;
    constexpr std::int64_t pair = many_registers ? 2 : 1;
    for (std::int64_t s = 0; s < z.s; s += most_taps) {
      const std::int64_t taps = std::min<std::int64_t>(most_taps, z.s - s);
      for (std::int64_t v = 0; v < channels / lanes; v += pair) {
        const std::int64_t offset = s * channels + v * lanes;
        const bool two = pair == 2 && v + 1 < channels / lanes;
        const Gather gather = two ? gather_function<2>(taps) : gather_function<1>(taps);
        gather(count, value, at, spread + offset, channels, sums + offset);
      }
    }
  }

  /// Few channels: the row's windows side by side, [i][c*s], and an ordinary product with dy.
  void add_row(const float* x, const float* dy, std::int64_t i, float* sums) const {
    const float *from = input_row(x, i), *g = gradient_row(dy, i);
    if (add_bias_gradient(g, sums) == 0) return;
    const D d;
    for (std::int64_t p = 0; p < ow; ++p)
      for (std::int64_t c = 0; c < z.c; ++c) {
        // Whole vectors: what is too much is overwritten by the next ones or ends up in columns that nobody reads.
        const float* window = from + c * z.h * z.w + p;
        for (std::int64_t j = 0; j < z.s; j += lanes)
          hn::StoreU(p + j + lanes <= z.w ? hn::LoadU(d, window + j) : load_first(d, window + j, z.w - p - j), d,
                     spread + p * terms + c * z.s + j);
      }
    multiply({1, ow, g, z.h * ow, 0, 1, spread, 0, terms, sums, terms, Start::result}, z.k, terms);
  }

  /// Adds the groups' sums for channel k, in order, onto dw and db.
  void reduce(std::int64_t k, std::int64_t groups, float* sums, float* dw, float* db) const {
    const D d;
    const std::int64_t size = sums_size();
    if (db != nullptr)
      for (std::int64_t g = 0; g < groups; ++g)
        db[k] += hn::GetLane(hn::SumOfLanes(d, hn::LoadU(d, sums + g * size + z.k * row_size + k * lanes)));
    if (dw == nullptr) return;
    float* total = sums + k * row_size;
    for (std::int64_t j = 0; j < row_size; j += lanes) {
      V sum = hn::LoadU(d, total + j);
      for (std::int64_t g = 1; g < groups; ++g) sum = hn::Add(sum, hn::LoadU(d, total + g * size + j));
      hn::StoreU(sum, d, total + j);
    }
    float* out = dw + k * z.c * z.s;
    for (std::int64_t c = 0; c < z.c; ++c)
      for (std::int64_t s = 0; s < z.s; ++s) out[c * z.s + s] += total[channels_last ? s * channels + c : c * z.s + s];
  }

  Conv2dShape z;
  std::int64_t channels, terms, ow;
  bool channels_last;
  std::int64_t row_size, chunk;
  float *spread = nullptr, *value = nullptr;
  std::int32_t* at = nullptr;
};

// ---- backward ----

/// Tasks are groups of samples, each with its own sums; how many depends only on the shape.
std::int64_t group_count(std::int64_t n) { return std::min(n, std::clamp<std::int64_t>(n / 8, 8, 32)); }

/// A group's rows [begin, end): dx, dw's part as (k, taps, c) if that is wanted, and sums of dy for db. Rows of dy that are zero,
/// under no window of a pooling, take no products. du: work space.
void backward_rows(const Conv2dShape& z, const WinogradRows& rows, const WinogradRows::Space& space, std::int64_t begin,
                   std::int64_t end, const float* x, const float* dy, const float* weights, float* dx, float* du, float* of_taps,
                   float* total) {
  constexpr std::int64_t together = WinogradRows::together;
  const std::int64_t plane = z.h * z.w;
  const auto input = [&](std::int64_t i) { return row_offset(i, z.c, z.h, z.w); };
  std::fill(total, total + rows.k, 0.0f);
  std::int64_t list[together], count = 0;  // rows whose products are still to be made
  Start start = Start::zero;
  for (std::int64_t i = begin; i < end; ++i) {
    if (rows.read_gradients(dy + row_offset(i, z.k, z.h, rows.ow), z.h * rows.ow, count, space, total))
      list[count++] = i;
    else if (dx != nullptr)
      for (std::int64_t c = 0; c < z.c; ++c) std::fill_n(dx + input(i) + c * plane, z.w, 0.0f);
    if (count == 0 || (count < together && i + 1 < end)) continue;
    if (dx != nullptr) {
      rows.multiply_backward(count, weights, space);
      for (std::int64_t r = 0; r < count; ++r) rows.write_input_gradients(r, space, dx + input(list[r]), plane);
    }
    if (of_taps != nullptr) {
      for (std::int64_t r = 0; r < count; ++r) rows.read_inputs(x + input(list[r]), plane, r, space);
      rows.multiply_weight_gradient(count, space, start, du);
      start = Start::result;
    }
    count = 0;
  }
  if (of_taps == nullptr) return;
  if (start == Start::zero) std::fill(du, du + rows.weight_sums(), 0.0f);
  rows.collect_weight_gradient(du, of_taps);
}

/// dw (channels, taps) of one output += the sum of the groups' (taps, c), `group` apart.
void add_groups(const WinogradRows& rows, std::int64_t groups, std::int64_t group, const float* of_taps, float* dw) {
  const D d;
  HWY_ALIGN float sum[lanes];
  for (std::int64_t s = 0; s < WinogradRows::taps; ++s)
    for (std::int64_t i = 0; i < rows.c; i += lanes) {
      V total = hn::Load(d, of_taps + s * rows.c + i);
      for (std::int64_t g = 1; g < groups; ++g) total = hn::Add(total, hn::Load(d, of_taps + g * group + s * rows.c + i));
      hn::Store(total, d, sum);
      for (std::int64_t j = 0; j < std::min(lanes, rows.channels - i); ++j) dw[(i + j) * WinogradRows::taps + s] += sum[j];
    }
}

void backward_winograd(Stream& stream, const Conv2dShape& z, const float* x, const float* w, const float* dy, float* dx,
                       float* dw, float* db) {
  ThreadTeam& team = stream.threads();
  const WinogradRows rows(z);
  const std::int64_t groups = group_count(z.n), output = WinogradRows::taps * rows.c, group_size = z.k * output;
  float *weights = nullptr, *of_taps = nullptr, *sums = nullptr, *du = nullptr, *totals = nullptr;
  const WinogradScratch scratch(stream, rows, [&](Arena& arena) {
    weights = dx != nullptr ? arena.take(rows.backward_weights()) : nullptr;
    of_taps = dx != nullptr ? arena.take(output * team.size()) : nullptr;
    sums = dw != nullptr ? arena.take(groups * group_size) : nullptr;
    du = dw != nullptr ? arena.take(team.size() * rows.weight_sums()) : nullptr;
    totals = arena.take(groups * rows.k);
  });
  if (dx != nullptr)
    rows.pack(team, z.k, output, of_taps, [&](std::int64_t k, float* work) { rows.pack_backward(k, w, work, weights); });
  team.run(groups, [&](std::int64_t g, int thread) {
    float* own = dw != nullptr ? du + thread * rows.weight_sums() : nullptr;
    backward_rows(z, rows, scratch.space(thread), g * z.n / groups * z.h, (g + 1) * z.n / groups * z.h, x, dy, weights, dx, own,
                  dw != nullptr ? sums + g * group_size : nullptr, totals + g * rows.k);
  });
  if (dw != nullptr || db != nullptr)
    team.run(z.k, [&](std::int64_t k, int) {
      if (db != nullptr)
        for (std::int64_t g = 0; g < groups; ++g) db[k] += totals[g * rows.k + k];
      if (dw != nullptr) add_groups(rows, groups, group_size, sums + k * output, dw + k * z.c * z.s);
    });
}

void backward(Stream& stream, const Conv2dShape& z, const float* x, const float* w, const float* dy, float* dx, float* dw,
              float* db) {
  if (z.n == 0) return;  // no dx, and nothing to add
  if (!is_special(z)) return fallback<Conv2dKernels>().backward(stream, z, x, w, dy, dx, dw, db);
  // One row tells for all: gradients behind a pooling are sparse everywhere or nowhere.
  if (WinogradRows::serves(z) && !looks_sparse(z, dy + z.n / 2 * z.k * z.h * z.ow(), sparse_beside_winograd))
    return backward_winograd(stream, z, x, w, dy, dx, dw, db);
  ThreadTeam& team = stream.threads();
  const bool weights = dw != nullptr || db != nullptr;
  const std::int64_t groups = group_count(z.n);
  BackwardData data(z);
  if (dx != nullptr && !data.worth_while()) {
    fallback<Conv2dKernels>().backward(stream, z, x, w, dy, dx, nullptr, nullptr);
    dx = nullptr;
  }
  BackwardWeight weight(z);
  Arena shared, own;
  if (dx != nullptr) data.lay_out_shared(shared), data.lay_out_thread(own);
  if (weights) weight.lay_out_thread(own), shared.take(groups * weight.sums_size());
  const std::size_t total = shared.used() + static_cast<std::size_t>(team.size()) * own.used();
  auto* scratch = static_cast<std::byte*>(stream.scratch(total));
  Arena arena(scratch);
  if (dx != nullptr) data.lay_out_shared(arena);
  if (dx != nullptr) data.pack(w);
  float* sums = weights ? arena.take(groups * weight.sums_size()) : nullptr;
  team.run(groups, [&](std::int64_t group, int thread) {
    Arena mine(scratch + shared.used() + static_cast<std::size_t>(thread) * own.used());
    BackwardData my_data = data;
    BackwardWeight my_weight = weight;
    const std::int64_t begin = group * z.n / groups * z.h, end = (group + 1) * z.n / groups * z.h;
    if (dx != nullptr) {
      my_data.lay_out_thread(mine);
      for (std::int64_t i = begin; i < end; ++i) my_data.compute(weight.gradient_row(dy, i), dx + row_offset(i, z.c, z.h, z.w));
    }
    if (weights) {
      my_weight.lay_out_thread(mine);
      my_weight.accumulate(x, dy, begin, end, sums + group * weight.sums_size());
    }
  });
  if (weights) team.run(z.k, [&](std::int64_t k, int) { weight.reduce(k, groups, sums, dw, db); });
}

Conv2dKernels conv2d_kernels() { return {forward, backward}; }

#endif

}  // namespace HWY_NAMESPACE
}  // namespace retort::simd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace retort::simd {

HWY_EXPORT(conv2d_kernels);
void register_conv2d() { add(HWY_DYNAMIC_DISPATCH(conv2d_kernels)()); }

}  // namespace retort::simd
#endif
