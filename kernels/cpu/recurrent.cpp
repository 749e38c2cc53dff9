// LSTM and GRU. Rows of a batch do not know of each other, so a task is a few rows and walks the whole sequence alone: no thread
// waits for another between two steps. Everything that does not depend on the step before (the products with the input, all
// gradients of weights) is done for all steps at once.
//
// Forward, a step is one product h' W_hh^T whose tile holds the same units of all gates in registers; the activations are applied
// there, and gates, c and h are written once. Weights are packed once a call so that a tile reads them in one straight line.
#include "retort/kernels/recurrent.h"

#include "retort/kernels/cpu/eigen.h"
#include "retort/kernels/cpu/register.h"
#include "retort/kernels/thread_team.h"

#include <algorithm>
#include <type_traits>
#include <utility>

namespace retort::eigen {
namespace {

// Eigen's vector of the machine: tiles of accumulators need registers, which its expressions do not give.
namespace vec = Eigen::internal;
using Packet = vec::packet_traits<float>::type;
constexpr std::int64_t lanes = vec::packet_traits<float>::size;
constexpr int wide = 4;  // vectors of a tile of the gradients
constexpr std::int64_t panel = wide * lanes;
constexpr int tile_rows = EIGEN_ARCH_DEFAULT_NUMBER_OF_REGISTERS >= 32 ? 6 : 2;  // rows * 4 sums, 4 vectors and one more fit

constexpr std::int64_t input_rows = 64;  // of one task of the products over all steps
constexpr std::int64_t depth = 64;       // rows added to a gradient of weights at once: a panel of them is 16 KB of L1

/// Rows that walk through the sequence together. More of them read the weights less often, fewer keep more threads busy.
std::int64_t walkers(const RecurrentShape& z) { return z.rows >= 64 ? 16 : 8; }

constexpr std::int64_t divide_up(std::int64_t n, std::int64_t by) { return (n + by - 1) / by; }
constexpr std::int64_t padded(std::int64_t n) { return divide_up(n, 16) * 16; }

/// Pieces of the stream's scratch memory, each beginning on a cache line.
class Carver {
 public:
  Carver(Stream& stream, std::int64_t floats)
      : next_(static_cast<float*>(stream.scratch(static_cast<std::size_t>(floats) * sizeof(float)))) {}
  float* take(std::int64_t floats) { return std::exchange(next_, next_ + padded(floats)); }

 private:
  float* next_;
};

// ---- tiles ----

inline Packet load(const float* p, std::int64_t count) {
  if (count >= lanes) return vec::ploadu<Packet>(p);
  alignas(64) float copy[lanes] = {};
  std::copy_n(p, count, copy);
  return vec::pload<Packet>(copy);
}

inline void store(float* p, const Packet& v, std::int64_t count) {
  if (count >= lanes) return vec::pstoreu(p, v);
  alignas(64) float copy[lanes];
  vec::pstore(copy, v);
  std::copy_n(copy, count, p);
}

inline Packet number(float x) { return vec::pset1<Packet>(x); }
inline Packet logistic(const Packet& x) { return vec::pmadd(number(0.5f), vec::ptanh(vec::pmul(number(0.5f), x)), number(0.5f)); }

/// sum[m][n] += sum over k of a(m, k) * b(k, n), b's vectors packed: N of them for each k.
template <int M, int N>
EIGEN_ALWAYS_INLINE void multiply_add(Packet (&sum)[M][N], std::int64_t terms, const float* a, std::int64_t a_row,
                                      std::int64_t a_step, const float* b) {
  for (std::int64_t k = 0; k < terms; ++k, a += a_step, b += N * lanes) {
    Packet vectors[N];
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n) vectors[n] = vec::pload<Packet>(b + n * lanes);
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m) {
      const Packet scalar = number(a[m * a_row]);
#pragma GCC unroll 4
      for (int n = 0; n < N; ++n) sum[m][n] = vec::pmadd(scalar, vectors[n], sum[m][n]);
    }
  }
}

/// Calls tile(std::integral_constant<int, M>, first row) for tiles of nearly equal height M <= tile_rows.
template <class Tile>
void in_tiles(std::int64_t rows, Tile&& tile) {
  const std::int64_t tiles = divide_up(rows, tile_rows);
  for (std::int64_t t = 0; t < tiles; ++t) {
    const std::int64_t begin = rows * t / tiles, end = rows * (t + 1) / tiles;
    switch (end - begin) {
      case 1:
        tile(std::integral_constant<int, 1>(), begin);
        break;
      case 2:
        tile(std::integral_constant<int, 2>(), begin);
        break;
      case 3:
        tile(std::integral_constant<int, std::min(3, tile_rows)>(), begin);
        break;
      case 4:
        tile(std::integral_constant<int, std::min(4, tile_rows)>(), begin);
        break;
      case 5:
        tile(std::integral_constant<int, std::min(5, tile_rows)>(), begin);
        break;
      default:
        tile(std::integral_constant<int, tile_rows>(), begin);
    }
  }
}

/// c (rows, columns) += a b with b packed as N vectors for each of `terms` steps; columns <= N * lanes.
template <int N>
void add_product(std::int64_t rows, std::int64_t columns, std::int64_t terms, const float* a, std::int64_t a_row,
                 std::int64_t a_step, const float* b, float* c, std::int64_t c_row) {
  in_tiles(rows, [&](auto height, std::int64_t begin) {
    constexpr int M = decltype(height)::value;
    Packet sum[M][N];
    float* to = c + begin * c_row;
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m)
#pragma GCC unroll 4
      for (int n = 0; n < N; ++n) sum[m][n] = load(to + m * c_row + n * lanes, columns - n * lanes);
    multiply_add<M, N>(sum, terms, a + begin * a_row, a_row, a_step, b);
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m)
#pragma GCC unroll 4
      for (int n = 0; n < N; ++n) store(to + m * c_row + n * lanes, sum[m][n], columns - n * lanes);
  });
}

// ---- packing ----

/// Of G blocks of `hidden` rows of w (G hidden, in): for every `lanes` units and every input, the weights of all gates, zeros
/// behind the last unit.
template <int G>
void pack_gates(ThreadTeam& team, std::int64_t hidden, std::int64_t in, const float* w, float* packed) {
  team.run(divide_up(hidden, lanes), [&](std::int64_t u, int) {
    float* to = packed + u * in * G * lanes;
    for (std::int64_t g = 0; g < G; ++g)
      for (std::int64_t l = 0; l < lanes; ++l) {
        const std::int64_t unit = u * lanes + l;
        for (std::int64_t k = 0; k < in; ++k)
          to[(k * G + g) * lanes + l] = unit < hidden ? w[(g * hidden + unit) * in + k] : 0.0f;
      }
  });
}

/// One bias vector in the order of pack_gates: sums of both, except in gate `alone` (-1: none), which gets the first only.
template <int G>
void pack_bias(std::int64_t hidden, const float* b, const float* b2, std::int64_t alone, float* packed) {
  for (std::int64_t unit = 0; unit < divide_up(hidden, lanes) * lanes; ++unit)
    for (std::int64_t g = 0; g < G; ++g) {
      float sum = 0;
      if (unit < hidden) {
        if (b != nullptr) sum += b[g * hidden + unit];
        if (b2 != nullptr && g != alone) sum += b2[g * hidden + unit];
      }
      packed[(unit / lanes * G + g) * lanes + unit % lanes] = sum;
    }
}

/// `terms` rows of a matrix, columns [0, columns) of each, as vectors for multiply_add<., N>.
template <int N>
void pack_rows(std::int64_t terms, std::int64_t columns, const float* from, std::int64_t stride, float* packed) {
  for (std::int64_t k = 0; k < terms; ++k)
    for (int n = 0; n < N; ++n)
      vec::pstore(packed + (k * N + n) * lanes,
                  load(from + k * stride + n * lanes, std::max<std::int64_t>(columns - n * lanes, 0)));
}

/// w (rows, columns) cut into panels of columns, each with all rows.
void pack_panels(ThreadTeam& team, std::int64_t rows, std::int64_t columns, const float* w, float* packed) {
  team.run(divide_up(columns, panel), [&](std::int64_t p, int) {
    pack_rows<wide>(rows, columns - p * panel, w + p * panel, columns, packed + p * rows * panel);
  });
}
std::int64_t panels_size(std::int64_t rows, std::int64_t columns) { return rows * divide_up(columns, panel) * panel; }

// ---- forward ----

/// Where a step's rows are: `now` is its first row, `before` that of the step walked before it, or -1.
struct Step {
  std::int64_t now, before;
};
Step step(const RecurrentShape& z, std::int64_t i, std::int64_t row) {
  const auto at = [&](std::int64_t j) { return (z.reverse ? z.steps - 1 - j : j) * z.rows + row; };
  return {at(i), i == 0 ? -1 : at(i - 1)};
}

/// What a tile reads: M rows of the input and of the state before (null at the first step), and the packed weights and biases of
/// its units. `bias_n` is GRU's b_hn.
struct TileInputs {
  const float *x, *before, *ih, *hh, *bias, *bias_n;
};

/// One step of M rows and `lanes` units from `unit` on; the pointers stand at the first row.
template <int M>
void lstm_tile(const RecurrentShape& z, std::int64_t unit, const TileInputs& in, float* gates, const float* cells_before,
               float* cells, float* y) {
  const std::int64_t hidden = z.hidden, count = hidden - unit;
  Packet sum[M][4];
#pragma GCC unroll 8
  for (int m = 0; m < M; ++m)
#pragma GCC unroll 4
    for (int g = 0; g < 4; ++g) sum[m][g] = vec::pload<Packet>(in.bias + g * lanes);
  multiply_add<M, 4>(sum, z.in, in.x, z.in, 1, in.ih);
  if (in.before != nullptr) multiply_add<M, 4>(sum, hidden, in.before, hidden, 1, in.hh);
  for (int m = 0; m < M; ++m) {
    const Packet input = logistic(sum[m][0]), forget = logistic(sum[m][1]), candidate = vec::ptanh(sum[m][2]),
                 out = logistic(sum[m][3]);
    const std::int64_t at = m * hidden + unit;
    const Packet old = cells_before != nullptr ? load(cells_before + at, count) : number(0);
    const Packet c = vec::pmadd(forget, old, vec::pmul(input, candidate));
    float* gate = gates + m * 4 * hidden + unit;
    store(gate, input, count);
    store(gate + hidden, forget, count);
    store(gate + 2 * hidden, candidate, count);
    store(gate + 3 * hidden, out, count);
    store(cells + at, c, count);
    store(y + at, vec::pmul(out, vec::ptanh(c)), count);
  }
}

template <int M>
void gru_tile(const RecurrentShape& z, std::int64_t unit, const TileInputs& in, float* gates, float* y) {
  const std::int64_t hidden = z.hidden, count = hidden - unit;
  Packet sum[M][3], from_x[M];
#pragma GCC unroll 8
  for (int m = 0; m < M; ++m)
#pragma GCC unroll 3
    for (int g = 0; g < 3; ++g) sum[m][g] = vec::pload<Packet>(in.bias + g * lanes);
  multiply_add<M, 3>(sum, z.in, in.x, z.in, 1, in.ih);
#pragma GCC unroll 8
  for (int m = 0; m < M; ++m) from_x[m] = std::exchange(sum[m][2], vec::pload<Packet>(in.bias_n));
  if (in.before != nullptr) multiply_add<M, 3>(sum, hidden, in.before, hidden, 1, in.hh);
  for (int m = 0; m < M; ++m) {
    float* gate = gates + m * 4 * hidden + unit;
    const Packet r = logistic(sum[m][0]), update = logistic(sum[m][1]);
    const Packet candidate = vec::ptanh(vec::pmadd(r, sum[m][2], from_x[m]));
    const Packet old = in.before != nullptr ? load(in.before + m * hidden + unit, count) : number(0);
    store(gate, r, count);
    store(gate + hidden, update, count);
    store(gate + 2 * hidden, candidate, count);
    store(gate + 3 * hidden, sum[m][2], count);
    store(y + m * hidden + unit, vec::pmadd(update, vec::psub(old, candidate), candidate), count);
  }
}

/// Packs the weights, then lets every few rows walk: tile(height, unit, rows' offsets, inputs). The product with the input is
/// made where it is needed: written out for all steps at once, it would be the largest array of all.
template <int G, class Tile>
void forward(Stream& stream, const RecurrentShape& z, const float* x, const float* w_ih, const float* w_hh, const float* b_ih,
             const float* b_hh, const float* y, const Tile& tile) {
  const std::int64_t h = z.hidden, units = divide_up(h, lanes), gate_size = G * units * lanes;
  Carver carve(stream, padded(gate_size * z.in) + padded(gate_size * h) + padded(gate_size) + padded(units * lanes));
  float *ih = carve.take(gate_size * z.in), *hh = carve.take(gate_size * h), *bias = carve.take(gate_size),
        *bias_n = carve.take(units * lanes);
  ThreadTeam& team = stream.threads();
  pack_gates<G>(team, h, z.in, w_ih, ih);
  pack_gates<G>(team, h, h, w_hh, hh);
  pack_bias<G>(h, b_ih, b_hh, G == 3 ? 2 : -1, bias);
  if (G == 3) pack_bias<1>(h, b_hh != nullptr ? b_hh + 2 * h : nullptr, nullptr, -1, bias_n);
  team.for_ranges(z.rows, walkers(z), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = 0; i < z.steps; ++i) {
      const Step at = step(z, i, begin);
      for (std::int64_t u = 0; u < units; ++u)
        in_tiles(end - begin, [&](auto height, std::int64_t first) {
          const Step rows{at.now + first, at.before < 0 ? -1 : at.before + first};
          tile(height, u * lanes, rows,
               TileInputs{x + rows.now * z.in, rows.before < 0 ? nullptr : y + rows.before * h, ih + u * z.in * G * lanes,
                          hh + u * h * G * lanes, bias + u * G * lanes, bias_n + u * lanes});
        });
    }
  });
}

void lstm_forward(Stream& stream, const RecurrentShape& z, const float* x, const float* w_ih, const float* w_hh,
                  const float* b_ih, const float* b_hh, float* gates, float* cells, float* y) {
  const std::int64_t h = z.hidden;
  forward<4>(stream, z, x, w_ih, w_hh, b_ih, b_hh, y, [&](auto height, std::int64_t unit, const Step& at, const TileInputs& in) {
    lstm_tile<decltype(height)::value>(z, unit, in, gates + at.now * 4 * h, at.before < 0 ? nullptr : cells + at.before * h,
                                       cells + at.now * h, y + at.now * h);
  });
}

void gru_forward(Stream& stream, const RecurrentShape& z, const float* x, const float* w_ih, const float* w_hh, const float* b_ih,
                 const float* b_hh, float* gates, float* y) {
  const std::int64_t h = z.hidden;
  forward<3>(stream, z, x, w_ih, w_hh, b_ih, b_hh, y, [&](auto height, std::int64_t unit, const Step& at, const TileInputs& in) {
    gru_tile<decltype(height)::value>(z, unit, in, gates + at.now * 4 * h, y + at.now * h);
  });
}

// ---- backward ----
//
// d (steps, rows, 4 hidden): gradients of the sums before the activations. Block `block` of it belongs to gate g of the input's
// weights when block = g, and to gate g of the state's weights when block = hidden_block(g): they differ in GRU's n only.

template <int G>
constexpr std::int64_t hidden_block(std::int64_t g) {
  return G == 3 && g == 2 ? 3 : g;
}

/// One row of one step: from dh and dc (the gradient that reaches c from later steps) to d and the dc of the step before.
void lstm_row(std::int64_t h, const float* gate, const float* c, const float* c_before, const float* dh, float* dc, float* tanh_c,
              float* d) {
  array(tanh_c, h) = array(c, h).tanh();
#pragma omp simd
  for (std::int64_t j = 0; j < h; ++j) {
    const float in = gate[j], forget = gate[h + j], candidate = gate[2 * h + j], out = gate[3 * h + j], t = tanh_c[j];
    const float dcell = dc[j] + dh[j] * out * (1 - t * t);
    d[j] = dcell * candidate * in * (1 - in);
    d[h + j] = c_before != nullptr ? dcell * c_before[j] * forget * (1 - forget) : 0.0f;
    d[2 * h + j] = dcell * in * (1 - candidate * candidate);
    d[3 * h + j] = dh[j] * t * out * (1 - out);
    dc[j] = dcell * forget;
  }
}

/// The same for GRU; `past` is what reaches h' directly, without going through a gate.
void gru_row(std::int64_t h, const float* gate, const float* h_before, const float* dh, float* past, float* d) {
#pragma omp simd
  for (std::int64_t j = 0; j < h; ++j) {
    const float r = gate[j], update = gate[h + j], candidate = gate[2 * h + j], from_h = gate[3 * h + j];
    const float old = h_before != nullptr ? h_before[j] : 0.0f;
    const float dn = dh[j] * (1 - update) * (1 - candidate * candidate);
    d[j] = dn * from_h * r * (1 - r);
    d[h + j] = dh[j] * (old - candidate) * update * (1 - update);
    d[2 * h + j] = dn;
    d[3 * h + j] = dn * r;
    past[j] = dh[j] * update;
  }
}

/// dw_ih, dw_hh and the biases' gradients of up to `panel` units of one gate: sums over all steps and rows. The units lie side by
/// side in d, so they are the tile's vectors and x or h' is what is broadcast: only a block of d's rows has to be copied
/// together. The sums are kept transposed, (inputs, panel), until the end.
struct WeightGradients {
  const RecurrentShape& z;
  const float *d, *x, *y;
  float *dw_ih, *dw_hh, *db_ih, *db_hh;

  static std::int64_t own_size(const RecurrentShape& z) { return (depth + z.in + z.hidden + 2) * panel; }

  /// Columns of d, `count` of them, zeros behind.
  void copy_block(std::int64_t rows, std::int64_t count, const float* from, float* block) const {
    for (std::int64_t r = 0; r < rows; ++r, from += 4 * z.hidden, block += panel) {
      std::copy_n(from, count, block);
      std::fill(block + count, block + panel, 0.0f);
    }
  }

  static void add_rows(std::int64_t rows, const float* block, float* sum) {
    Packet total[wide];
    for (int n = 0; n < wide; ++n) total[n] = vec::pload<Packet>(sum + n * lanes);
    for (std::int64_t r = 0; r < rows; ++r, block += panel)
      for (int n = 0; n < wide; ++n) total[n] = vec::padd(total[n], vec::pload<Packet>(block + n * lanes));
    for (int n = 0; n < wide; ++n) vec::pstore(sum + n * lanes, total[n]);
  }

  /// to (count, columns) += the transposed sums (columns, panel).
  static void add_transposed(std::int64_t count, std::int64_t columns, const float* sums, float* to) {
    for (std::int64_t j = 0; j < count; ++j)
      for (std::int64_t i = 0; i < columns; ++i) to[j * columns + i] += sums[i * panel + j];
  }

  void run(std::int64_t gate, std::int64_t block_of_state, std::int64_t begin, std::int64_t count, float* own) const {
    const std::int64_t h = z.hidden, total = z.steps * z.rows, out = gate * h + begin;
    float *block = own, *ih = block + depth * panel, *hh = ih + z.in * panel, *bias_ih = hh + h * panel,
          *bias_hh = bias_ih + panel;
    std::fill(ih, own + own_size(z), 0.0f);
    // The state before row r of y is row r - z.rows when walking forward, row r + z.rows in reverse.
    const std::int64_t shift = z.reverse ? z.rows : -z.rows, first = z.reverse ? 0 : z.rows,
                       last = z.reverse ? total - z.rows : total;
    for (std::int64_t r = 0; r < total; r += depth) {
      const std::int64_t rows = std::min(depth, total - r);
      copy_block(rows, count, d + r * 4 * h + gate * h + begin, block);
      if (db_ih != nullptr) add_rows(rows, block, bias_ih);
      if (dw_ih != nullptr) add_product<wide>(z.in, panel, rows, x + r * z.in, 1, z.in, block, ih, panel);
      if (block_of_state != gate) copy_block(rows, count, d + r * 4 * h + block_of_state * h + begin, block);
      if (db_hh != nullptr) add_rows(rows, block, bias_hh);
      const std::int64_t from = std::max(r, first), to = std::min(r + rows, last);
      if (dw_hh != nullptr && from < to)
        add_product<wide>(h, panel, to - from, y + (from + shift) * h, 1, h, block + (from - r) * panel, hh, panel);
    }
    if (dw_ih != nullptr) add_transposed(count, z.in, ih, dw_ih + out * z.in);
    if (dw_hh != nullptr) add_transposed(count, h, hh, dw_hh + out * h);
    if (db_ih != nullptr) array(db_ih + out, count) += array(bias_ih, count);
    if (db_hh != nullptr) array(db_hh + out, count) += array(bias_hh, count);
  }
};

/// Asks for what the next step of a walk reads: its rows lie far behind those of this one.
inline void fetch_ahead(const float* data, std::int64_t count) {
  for (std::int64_t i = 0; i < count; i += 16) __builtin_prefetch(data + i, 0, 2);
}

/// row(offsets of a row now and before, dh, kept) turns one row's dh into its d; `kept` (2 hidden floats) is the row's own from
/// step to step, zero at first. With `direct`, the first half of `kept` reaches the state before and is part of its dh.
template <int G, class Row>
void backward(Stream& stream, const RecurrentShape& z, const float* x, const float* w_ih, const float* w_hh, const float* gates,
              const float* y, const float* dy, float* dx, float* dw_ih, float* dw_hh, float* db_ih, float* db_hh, bool direct,
              const Row& row) {
  const std::int64_t h = z.hidden, total = z.steps * z.rows, walking = walkers(z);
  const std::int64_t hh_size = panels_size(G * h, h), ih_size = dx != nullptr ? panels_size(G * h, z.in) : 0;
  // A thread's: dh and kept while walking, then what a block of weights' gradients needs.
  const std::int64_t own = padded(std::max(3 * walking * h, WeightGradients::own_size(z)));
  ThreadTeam& team = stream.threads();
  Carver carve(stream, padded(hh_size) + padded(ih_size) + padded(total * 4 * h) + own * team.size());
  float *hh = carve.take(hh_size), *ih = carve.take(ih_size), *d = carve.take(total * 4 * h),
        *mine = carve.take(own * team.size());
  pack_panels(team, G * h, h, w_hh, hh);
  if (dx != nullptr) pack_panels(team, G * h, z.in, w_ih, ih);

  team.run(divide_up(z.rows, walking), [&](std::int64_t task, int thread) {
    const std::int64_t begin = task * walking, rows = std::min(walking, z.rows - begin);
    float *dh = mine + thread * own, *kept = dh + walking * h;
    std::fill_n(kept, 2 * walking * h, 0.0f);
    for (std::int64_t i = z.steps - 1; i >= 0; --i) {
      const Step at = step(z, i, begin);
      if (i > 0) fetch_ahead(gates + at.before * 4 * h, rows * 4 * h);
      std::copy_n(dy + at.now * h, rows * h, dh);
      for (std::int64_t m = 0; direct && m < rows; ++m) array(dh + m * h, h) += array(kept + m * 2 * h, h);
      if (i + 1 < z.steps) {
        const float* after = d + step(z, i + 1, begin).now * 4 * h;
        for (std::int64_t n = 0; n < h; n += panel)
          for (std::int64_t g = 0; g < G; ++g)
            add_product<wide>(rows, h - n, h, after + hidden_block<G>(g) * h, 4 * h, 1, hh + n * G * h + g * h * panel, dh + n,
                              h);
      }
      for (std::int64_t m = 0; m < rows; ++m)
        row(Step{at.now + m, at.before < 0 ? -1 : at.before + m}, dh + m * h, kept + m * 2 * h, d + (at.now + m) * 4 * h);
    }
  });

  if (dx != nullptr)
    team.for_ranges(total, input_rows, [&](std::int64_t begin, std::int64_t end) {
      std::fill_n(dx + begin * z.in, (end - begin) * z.in, 0.0f);
      for (std::int64_t n = 0; n < z.in; n += panel)
        for (std::int64_t g = 0; g < G; ++g)
          add_product<wide>(end - begin, z.in - n, h, d + (begin * 4 + g) * h, 4 * h, 1, ih + n * G * h + g * h * panel,
                            dx + begin * z.in + n, z.in);
    });
  const WeightGradients weights{z, d, x, y, dw_ih, dw_hh, db_ih, db_hh};
  const std::int64_t blocks = divide_up(h, panel);
  team.run(G * blocks, [&](std::int64_t task, int thread) {
    const std::int64_t gate = task / blocks, begin = task % blocks * panel;
    weights.run(gate, hidden_block<G>(gate), begin, std::min(panel, h - begin), mine + thread * own);
  });
}

void lstm_backward(Stream& stream, const RecurrentShape& z, const float* x, const float* w_ih, const float* w_hh,
                   const float* gates, const float* cells, const float* y, const float* dy, float* dx, float* dw_ih, float* dw_hh,
                   float* db_ih, float* db_hh) {
  const std::int64_t h = z.hidden;
  backward<4>(stream, z, x, w_ih, w_hh, gates, y, dy, dx, dw_ih, dw_hh, db_ih, db_hh, /*direct=*/false,
              [&](const Step& at, const float* dh, float* kept, float* d) {
                lstm_row(h, gates + at.now * 4 * h, cells + at.now * h, at.before < 0 ? nullptr : cells + at.before * h, dh, kept,
                         kept + h, d);
              });
}

void gru_backward(Stream& stream, const RecurrentShape& z, const float* x, const float* w_ih, const float* w_hh,
                  const float* gates, const float* y, const float* dy, float* dx, float* dw_ih, float* dw_hh, float* db_ih,
                  float* db_hh) {
  const std::int64_t h = z.hidden;
  backward<3>(stream, z, x, w_ih, w_hh, gates, y, dy, dx, dw_ih, dw_hh, db_ih, db_hh, /*direct=*/true,
              [&](const Step& at, const float* dh, float* kept, float* d) {
                gru_row(h, gates + at.now * 4 * h, at.before < 0 ? nullptr : y + at.before * h, dh, kept, d);
              });
}

// ---- permutation ----

void permute(Stream& stream, const PermuteShape& z, const float* x, float* y) {
  const std::int64_t columns = z.sizes[1], inner = z.sizes[2];
  stream.threads().for_ranges(z.sizes[0], rows_per_task(columns * inner), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i)
      for (std::int64_t j = 0; j < columns; ++j) {
        const float* from = x + i * z.strides[0] + j * z.strides[1];
        float* to = y + (i * columns + j) * inner;
        for (std::int64_t k = 0; k < inner; ++k) to[k] = from[k * z.strides[2]];
      }
  });
}

}  // namespace

void register_recurrent() {
  add(LstmKernels{lstm_forward, lstm_backward});
  add(GruKernels{gru_forward, gru_backward});
  add(PermuteKernels{permute});
}

}  // namespace retort::eigen
