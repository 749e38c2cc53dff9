// LSTM and GRU. Rows of a batch do not know of each other, so a task is a few rows and walks the whole sequence alone: no thread
// waits for another between two steps, and what a step leaves for the next lies in the cache of its thread.
//
//   forward   a step's gates are x W_ih^T + h' W_hh^T, summed where they will stay; the activations are applied there.
//   backward  a step's gradients of the gates, d, give dx = d W_ih and what reaches h', d W_hh. After some steps the weights'
//             gradients, transposed, get these steps' share: (x 1)^T d and (h' 1)^T d, where the ones give the biases'. So d
//             never leaves the cache. Each task has sums of its own, which are added up at the end.
//
// GRU's n has two gradients, that of its sum from x and that of its sum from h'. d's blocks are ordered n(x), r, z, n(h), so that
// both weights' gates lie side by side: W_ih's begin at the first block, W_hh's end with the last.
#include "retort/kernels/recurrent.h"

#include "retort/kernels/simd/arena.h"
#include "retort/kernels/simd/register.h"
#include "retort/kernels/simd/targets.h"
#include "retort/kernels/thread_team.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "retort/kernels/simd/recurrent.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "retort/kernels/simd/tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace retort::simd {
namespace HWY_NAMESPACE {

#if HWY_TARGET == HWY_SCALAR || HWY_TARGET == HWY_EMU128
LstmKernels lstm_kernels() { return {}; }
GruKernels gru_kernels() { return {}; }
#else

constexpr std::int64_t panel = 3 * lanes;  // columns of weights that lie together; tiles of that width have 8 or 4 rows
constexpr std::int64_t block_rows = 128;   // rows of d that add to the weights' gradients at once
constexpr std::int64_t most_sums = 64;     // tasks of backward, each with sums as large as the weights

/// Rows that walk through the sequence together. More of them read the weights less often, fewer keep more threads busy.
std::int64_t walkers(const RecurrentShape& z) { return z.rows >= 64 ? 16 : 8; }

/// Where a step's rows are: `now` is its first row, `before` that of the step walked before it, or -1.
struct Step {
  std::int64_t now, before;
};
Step step(const RecurrentShape& z, std::int64_t i, std::int64_t row) {
  const auto at = [&](std::int64_t j) { return (z.reverse ? z.steps - 1 - j : j) * z.rows + row; };
  return {at(i), i == 0 ? -1 : at(i - 1)};
}

// ---- vectors ----

struct WholeVector {
  HWY_INLINE V load(const float* p) const { return hn::LoadU(D(), p); }
  HWY_INLINE void store(V v, float* p) const { hn::StoreU(v, D(), p); }
};
struct FirstLanes {
  std::int64_t n;
  HWY_INLINE V load(const float* p) const { return load_first(D(), p, n); }
  HWY_INLINE void store(V v, float* p) const { store_first(v, D(), p, n); }
};

/// body(j, how to load and store) for vectors that cover [0, n).
template <class Body>
HWY_INLINE void in_vectors(std::int64_t n, Body&& body) {
  std::int64_t j = 0;
  for (; j + lanes <= n; j += lanes) body(j, WholeVector());
  if (j < n) body(j, FirstLanes{n - j});
}

HWY_INLINE V number(float x) { return hn::Set(D(), x); }

/// Eigen's quotient of polynomials: off by less than 3e-7 of the value. NaN stays NaN.
HWY_INLINE V tanh(V v) {
  const V limit = number(7.99881172180175781f), x = hn::Max(hn::Neg(limit), hn::Min(limit, v)), x2 = hn::Mul(x, x);
  V p = hn::MulAdd(x2, number(-2.76076847742355e-16f), number(2.00018790482477e-13f));
  p = hn::MulAdd(x2, p, number(-8.60467152213735e-11f));
  p = hn::MulAdd(x2, p, number(5.12229709037114e-08f));
  p = hn::MulAdd(x2, p, number(1.48572235717979e-05f));
  p = hn::MulAdd(x2, p, number(6.37261928875436e-04f));
  p = hn::MulAdd(x2, p, number(4.89352455891786e-03f));
  V q = hn::MulAdd(x2, number(1.19825839466702e-06f), number(1.18534705686654e-04f));
  q = hn::MulAdd(x2, q, number(2.26843463243900e-03f));
  q = hn::MulAdd(x2, q, number(4.89352518554385e-03f));
  return hn::Div(hn::Mul(x, p), q);
}
HWY_INLINE V logistic(V v) { return hn::MulAdd(number(0.5f), tanh(hn::Mul(number(0.5f), v)), number(0.5f)); }

/// v (1 - v), the derivative of the logistic function, and 1 - v v, that of tanh, from their values.
HWY_INLINE V logistic_slope(V v) { return hn::NegMulAdd(v, v, v); }
HWY_INLINE V tanh_slope(V v) { return hn::NegMulAdd(v, v, number(1)); }

// ---- what tells the cells apart ----

struct Lstm {
  static constexpr std::int64_t gates = 4, joint = 4;  // joint: the gates whose two sums are added
  static constexpr std::int64_t in_block(std::int64_t gate) { return gate; }
  static constexpr std::int64_t state_block(std::int64_t gate) { return gate; }

  /// A row's gates from sums to activations, its c and h. before: c', null at the first step.
  static void activate(std::int64_t h, float* gate, const float* before, float* c, float* y) {
    in_vectors(h, [&](std::int64_t j, auto part) HWY_ATTR {
      const V in = logistic(part.load(gate + j)), forget = logistic(part.load(gate + h + j)),
              candidate = tanh(part.load(gate + 2 * h + j)), out = logistic(part.load(gate + 3 * h + j));
      const V old = before != nullptr ? part.load(before + j) : number(0);
      const V now = hn::MulAdd(forget, old, hn::Mul(in, candidate));
      part.store(in, gate + j);
      part.store(forget, gate + h + j);
      part.store(candidate, gate + 2 * h + j);
      part.store(out, gate + 3 * h + j);
      part.store(now, c + j);
      part.store(hn::Mul(out, tanh(now)), y + j);
    });
  }

  /// A row's d. dh: what reaches h from later steps, dc the same for c; dc becomes that of the step before.
  static void gradient(std::int64_t h, const float* gate, const float* c, const float* before, const float* dy, float* dh,
                       float* dc, float* d) {
    in_vectors(h, [&](std::int64_t j, auto part) HWY_ATTR {
      const V in = part.load(gate + j), forget = part.load(gate + h + j), candidate = part.load(gate + 2 * h + j),
              out = part.load(gate + 3 * h + j), t = tanh(part.load(c + j));
      const V old = before != nullptr ? part.load(before + j) : number(0);
      const V g = hn::Add(part.load(dh + j), part.load(dy + j));
      const V dcell = hn::MulAdd(hn::Mul(g, out), tanh_slope(t), part.load(dc + j));
      part.store(hn::Mul(hn::Mul(dcell, candidate), logistic_slope(in)), d + j);
      part.store(hn::Mul(hn::Mul(dcell, old), logistic_slope(forget)), d + h + j);
      part.store(hn::Mul(hn::Mul(dcell, in), tanh_slope(candidate)), d + 2 * h + j);
      part.store(hn::Mul(hn::Mul(g, t), logistic_slope(out)), d + 3 * h + j);
      part.store(hn::Mul(dcell, forget), dc + j);
    });
  }
};

struct Gru {
  static constexpr std::int64_t gates = 3, joint = 2;
  static constexpr std::int64_t in_block(std::int64_t gate) { return gate == 2 ? 0 : gate + 1; }
  static constexpr std::int64_t state_block(std::int64_t gate) { return gate + 1; }

  static void activate(std::int64_t h, float* gate, const float* before, float* y, float*) {
    in_vectors(h, [&](std::int64_t j, auto part) HWY_ATTR {
      const V r = logistic(part.load(gate + j)), update = logistic(part.load(gate + h + j));
      const V n = tanh(hn::MulAdd(r, part.load(gate + 3 * h + j), part.load(gate + 2 * h + j)));
      const V old = before != nullptr ? part.load(before + j) : number(0);
      part.store(r, gate + j);
      part.store(update, gate + h + j);
      part.store(n, gate + 2 * h + j);
      part.store(hn::MulAdd(update, hn::Sub(old, n), n), y + j);
    });
  }

  /// dh becomes what reaches h' without going through a gate.
  static void gradient(std::int64_t h, const float* gate, const float*, const float* before, const float* dy, float* dh, float*,
                       float* d) {
    in_vectors(h, [&](std::int64_t j, auto part) HWY_ATTR {
      const V r = part.load(gate + j), update = part.load(gate + h + j), n = part.load(gate + 2 * h + j);
      const V old = before != nullptr ? part.load(before + j) : number(0);
      const V g = hn::Add(part.load(dh + j), part.load(dy + j));
      const V dn = hn::Mul(hn::NegMulAdd(g, update, g), tanh_slope(n));
      part.store(dn, d + j);
      part.store(hn::Mul(hn::Mul(dn, part.load(gate + 3 * h + j)), logistic_slope(r)), d + h + j);
      part.store(hn::Mul(hn::Mul(g, hn::Sub(old, n)), logistic_slope(update)), d + 2 * h + j);
      part.store(hn::Mul(dn, r), d + 3 * h + j);
      part.store(hn::Mul(g, update), dh + j);
    });
  }
};

// ---- weights in panels ----

std::int64_t panels_size(std::int64_t depth, std::int64_t columns) { return depth * round_up(columns, panel); }

/// start + A B with B (depth, columns) in panels, for multiply().
Product product(std::int64_t depth, const float* a, std::int64_t a_row, const float* packed, float* c, std::int64_t c_row,
                Start start = Start::zero, const float* from = nullptr, std::int64_t a_ahead = 0, std::int64_t c_ahead = 0) {
  return {1, depth, a, a_row, 0, 1, packed, 0, panel, c, c_row, start, from, a_ahead, 0, c_ahead, panel / lanes};
}

/// Panels of w^T: w has `columns` rows of `depth`.
void pack_transposed(ThreadTeam& team, std::int64_t depth, std::int64_t columns, const float* w, float* packed) {
  team.for_ranges(columns, panel, [&](std::int64_t begin, std::int64_t end) {
    float* to = packed + begin * depth;
    transpose(end - begin, depth, w + begin * depth, depth, to, panel, Identity());
    for (std::int64_t k = 0; k < depth; ++k) std::fill(to + k * panel + end - begin, to + (k + 1) * panel, 0.0f);
  });
}

/// Panels of w (gates * hidden, columns), its gates' rows in the order of d.
template <class Block>
void pack_gates(ThreadTeam& team, std::int64_t gates, std::int64_t hidden, std::int64_t columns, const float* w, Block block,
                float* packed) {
  const std::int64_t first = std::min(block(0), block(gates - 1));
  team.for_ranges(columns, panel, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t g = 0; g < gates; ++g)
      for (std::int64_t u = 0; u < hidden; ++u) {
        float* to = packed + begin * gates * hidden + ((block(g) - first) * hidden + u) * panel;
        std::copy_n(w + (g * hidden + u) * columns + begin, end - begin, to);
        std::fill(to + end - begin, to + panel, 0.0f);
      }
  });
}

// ---- forward ----

/// What the sums of all four blocks of `gates` begin with: GRU's third holds what comes from x, the fourth what comes from h'.
template <class Cell>
void sum_biases(std::int64_t h, const float* b_ih, const float* b_hh, float* bias) {
  constexpr std::int64_t joint = Cell::joint;
  std::fill_n(bias, 4 * h, 0.0f);
  if (b_ih != nullptr) std::copy_n(b_ih, Cell::gates * h, bias);
  for (std::int64_t j = 0; b_hh != nullptr && j < Cell::gates * h; ++j) bias[j < joint * h ? j : j + h] += b_hh[j];
}

/// states: what a cell hands on to itself, cells of an LSTM, y of a GRU.
template <class Cell>
void forward(Stream& stream, const RecurrentShape& z, const float* x, const float* w_ih, const float* w_hh, const float* b_ih,
             const float* b_hh, float* gates, float* states, float* y) {
  constexpr std::int64_t joint = Cell::joint;
  constexpr bool apart = joint < Cell::gates;
  const std::int64_t h = z.hidden, in = z.in;
  float *ih = nullptr, *hh = nullptr, *n_hh = nullptr, *bias = nullptr;
  const auto lay_out = [&](Arena arena) {
    ih = arena.take(panels_size(in, Cell::gates * h));
    hh = arena.take(panels_size(h, joint * h));
    n_hh = arena.take(apart ? panels_size(h, h) : 0);
    bias = arena.take(4 * h);
    return arena.used();
  };
  lay_out(Arena(stream.scratch(lay_out(Arena()))));
  ThreadTeam& team = stream.threads();
  pack_transposed(team, in, Cell::gates * h, w_ih, ih);
  pack_transposed(team, h, joint * h, w_hh, hh);
  if (apart) pack_transposed(team, h, h, w_hh + joint * h * h, n_hh);
  sum_biases<Cell>(h, b_ih, b_hh, bias);
  team.for_ranges(z.rows, walkers(z), [&](std::int64_t begin, std::int64_t end) {
    const std::int64_t rows = end - begin;
    for (std::int64_t i = 0; i < z.steps; ++i) {
      const Step at = step(z, i, begin);
      float* gate = gates + at.now * 4 * h;
      const float* before = y + (i > 0 ? at.before * h : 0);
      const std::int64_t next = i + 1 < z.steps ? (step(z, i + 1, begin).now - at.now) * 4 * h : 0;
      multiply(product(in, x + at.now * in, in, ih, gate, 4 * h, Start::columns, bias), rows, Cell::gates * h);
      if (i > 0) multiply(product(h, before, h, hh, gate, 4 * h, Start::result, nullptr, 0, next), rows, joint * h);
      if (apart) {
        const std::int64_t column = joint * h + h;
        multiply(product(i > 0 ? h : 0, before, h, n_hh, gate + column, 4 * h, Start::columns, bias + column, 0, next), rows, h);
      }
      for (std::int64_t m = 0; m < rows; ++m)
        Cell::activate(h, gate + m * 4 * h, i > 0 ? states + (at.before + m) * h : nullptr, states + (at.now + m) * h,
                       y + (at.now + m) * h);
    }
  });
}

// ---- backward ----

template <class Cell>
struct Backward {
  static constexpr std::int64_t first_block = 4 - Cell::gates;  // of d, for W_hh

  RecurrentShape z;
  const float *x, *gates, *states, *y, *dy;
  float *dx, *dw_ih, *dw_hh, *db_ih, *db_hh;
  const float *ih = nullptr, *hh = nullptr;  // packed
  std::int64_t h = z.hidden, walking = std::min(walkers(z), z.rows),
               block_steps = std::clamp<std::int64_t>(block_rows / walking, 1, z.steps), d_row = odd_lines(4 * h),
               inputs_row = odd_lines(z.in + h + 2);

  /// Floats of a row of n that is an odd number of cache lines long, so that columns do not crowd into a few sets of the cache.
  static std::int64_t odd_lines(std::int64_t n) { return round_up(n, 32) + 16; }
  /// Of one task: (x 1)^T d and, below, (h' 1)^T d.
  std::int64_t sums_size() const { return round_up((z.in + h + 2) * 4 * h, 16); }

  /// A thread's own memory.
  struct Own {
    float *d, *inputs, *dh, *dc;
  };
  Own own(Arena& arena) const {
    const std::int64_t rows = block_steps * walking;
    return {arena.take(rows * d_row), arena.take(rows * inputs_row), arena.take(walking * h), arena.take(walking * h)};
  }

  /// The whole sequence of rows [begin, begin + rows).
  void walk(std::int64_t begin, std::int64_t rows, const Own& to, Start start, float* sums) const {
    std::fill_n(to.dh, rows * h, 0.0f);
    std::fill_n(to.dc, rows * h, 0.0f);
    for (std::int64_t last = z.steps; last > 0; last -= block_steps) {
      const std::int64_t first = std::max<std::int64_t>(0, last - block_steps);
      for (std::int64_t i = last - 1; i >= first; --i) back_step(i, begin, rows, to, to.d + (i - first) * rows * d_row);
      for (std::int64_t i = first; i < last; ++i) copy_inputs(i, begin, rows, to.inputs + (i - first) * rows * inputs_row);
      add_to_sums((last - first) * rows, to, last == z.steps ? start : Start::result, sums);
    }
  }

  /// d of step i, its dx, and what reaches the step before. Meanwhile what that step will read is fetched, for each step's rows
  /// lie far from the last one's: gates, dy and x during the products, the cells and y, of which a step reads the step before,
  /// here.
  void back_step(std::int64_t i, std::int64_t begin, std::int64_t rows, const Own& to, float* d) const {
    const Step at = step(z, i, begin);
    const std::int64_t two_before = i > 1 ? step(z, i - 1, begin).before : -1;
    for (std::int64_t m = 0; m < rows; ++m) {
      const std::int64_t row = (at.now + m) * h;
      if (two_before >= 0) fetch(states + (two_before + m) * h, h);
      if (two_before >= 0 && states != y) fetch(y + (two_before + m) * h, h);
      Cell::gradient(h, gates + 4 * row, states + row, i > 0 ? states + (at.before + m) * h : nullptr, dy + row, to.dh + m * h,
                     to.dc + m * h, d + m * d_row);
    }
    const std::int64_t depth = Cell::gates * h;
    if (i > 0)
      multiply(product(depth, d + first_block * h, d_row, hh, to.dh, h, first_block == 0 ? Start::zero : Start::result, nullptr,
                       distance(d + first_block * h, gates + at.before * 4 * h), distance(to.dh, dy + at.before * h)),
               rows, h);
    if (dx != nullptr)
      multiply(product(depth, d, d_row, ih, dx + at.now * z.in, z.in, Start::zero, nullptr, 0,
                       i > 0 ? distance(dx + at.now * z.in, x + at.before * z.in) : 0),
               rows, z.in);
  }
  static void fetch(const float* data, std::int64_t count) {
    for (std::int64_t j = 0; j < count; j += 16) hwy::Prefetch(data + j);
  }
  static std::int64_t distance(const float* from, const float* to) {
    return static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(to) - reinterpret_cast<std::uintptr_t>(from)) / 4;
  }

  /// Rows (x, 1, h', 1).
  void copy_inputs(std::int64_t i, std::int64_t begin, std::int64_t rows, float* to) const {
    const Step at = step(z, i, begin);
    for (std::int64_t m = 0; m < rows; ++m, to += inputs_row) {
      std::copy_n(x + (at.now + m) * z.in, z.in, to);
      float* state = to + z.in + 1;
      if (i > 0)
        std::copy_n(y + (at.before + m) * h, h, state);
      else
        std::fill_n(state, h, 0.0f);
      state[-1] = state[h] = 1;
    }
  }

  /// The gradients of `depth` rows of d.
  void add_to_sums(std::int64_t depth, const Own& to, Start start, float* sums) const {
    const auto add = [&](std::int64_t first, std::int64_t rows, std::int64_t column) {
      multiply({1, depth, to.inputs + first, 1, 0, inputs_row, to.d + column, 0, d_row, sums + first * 4 * h + column, 4 * h,
                start, nullptr, 0, 0, tallest(widest) * 4 * h},
               rows, Cell::gates * h);
    };
    const bool from_x = dw_ih != nullptr || db_ih != nullptr, from_h = dw_hh != nullptr || db_hh != nullptr;
    if (first_block == 0 && from_x && from_h) return add(0, z.in + h + 2, 0);
    if (from_x) add(0, z.in + 1, 0);
    if (from_h) add(z.in + 1, h + 1, first_block * h);
  }

  /// Adds up all tasks' sums of rows [first, first + rows), columns [column, column + count): to (count, rows) += their
  /// transpose.
  void add_transposed(float* sums, std::int64_t tasks, std::int64_t first, std::int64_t rows, std::int64_t column,
                      std::int64_t count, float* to) const {
    constexpr std::int64_t height = 64;
    HWY_ALIGN float transposed[panel * height];
    for (std::int64_t r = 0; r < rows; r += height) {
      const std::int64_t some = std::min(height, rows - r);
      float* total = sums + (first + r) * 4 * h + column;
      for (std::int64_t k = 0; k < some; ++k)
        for (std::int64_t t = 1; t < tasks; ++t)
          for (std::int64_t j = k * 4 * h; j < k * 4 * h + count; ++j) total[j] += total[t * sums_size() + j];
      transpose(some, count, total, 4 * h, transposed, height, Identity());
      for (std::int64_t j = 0; j < count; ++j)
        for (std::int64_t k = 0; k < some; ++k) to[j * rows + r + k] += transposed[j * height + k];
    }
  }

  /// Units [begin, begin + count) of a gate.
  void finish(float* sums, std::int64_t tasks, std::int64_t gate, std::int64_t begin, std::int64_t count) const {
    const std::int64_t unit = gate * h + begin, in = Cell::in_block(gate) * h + begin,
                       state = Cell::state_block(gate) * h + begin;
    const auto add = [&](std::int64_t first, std::int64_t rows, std::int64_t column, float* to) {
      if (to != nullptr) add_transposed(sums, tasks, first, rows, column, count, to + unit * rows);
    };
    add(0, z.in, in, dw_ih);
    add(z.in, 1, in, db_ih);
    add(z.in + 1, h, state, dw_hh);
    add(z.in + 1 + h, 1, state, db_hh);
  }
};

template <class Cell>
void backward(Stream& stream, const RecurrentShape& z, const float* x, const float* w_ih, const float* w_hh, const float* gates,
              const float* states, const float* y, const float* dy, float* dx, float* dw_ih, float* dw_hh, float* db_ih,
              float* db_hh) {
  if (z.rows == 0) return;  // no dx, and nothing to add
  Backward<Cell> at{z, x, gates, states, y, dy, dx, dw_ih, dw_hh, db_ih, db_hh};
  ThreadTeam& team = stream.threads();
  const std::int64_t h = z.hidden, depth = Cell::gates * h, groups = divide_up(z.rows, at.walking),
                     tasks = std::min(groups, most_sums);
  float *ih = nullptr, *hh = nullptr, *sums = nullptr;
  std::byte* own = nullptr;
  Arena one;
  at.own(one);
  const std::int64_t own_size = static_cast<std::int64_t>(one.used());
  const auto lay_out = [&](Arena arena) {
    ih = dx != nullptr ? arena.take(panels_size(depth, z.in)) : nullptr;
    hh = arena.take(panels_size(depth, h));
    sums = arena.take(tasks * at.sums_size());
    own = arena.take<std::byte>(team.size() * own_size);
    return arena.used();
  };
  lay_out(Arena(stream.scratch(lay_out(Arena()))));
  at.ih = ih, at.hh = hh;
  if (dx != nullptr) pack_gates(team, Cell::gates, h, z.in, w_ih, Cell::in_block, ih);
  pack_gates(team, Cell::gates, h, h, w_hh, Cell::state_block, hh);
  team.run(tasks, [&](std::int64_t task, int thread) {
    Arena arena(own + thread * own_size);
    const auto mine = at.own(arena);
    float* sum = sums + task * at.sums_size();
    const std::int64_t first = groups * task / tasks, last = groups * (task + 1) / tasks;
    for (std::int64_t g = first; g < last; ++g)
      at.walk(g * at.walking, std::min(at.walking, z.rows - g * at.walking), mine, g == first ? Start::zero : Start::result, sum);
  });
  const std::int64_t blocks = divide_up(h, panel);
  team.run(Cell::gates * blocks, [&](std::int64_t task, int) {
    const std::int64_t begin = task % blocks * panel;
    at.finish(sums, tasks, task / blocks, begin, std::min(panel, h - begin));
  });
}

void gru_forward(Stream& stream, const RecurrentShape& z, const float* x, const float* w_ih, const float* w_hh, const float* b_ih,
                 const float* b_hh, float* gates, float* y) {
  forward<Gru>(stream, z, x, w_ih, w_hh, b_ih, b_hh, gates, y, y);
}

void gru_backward(Stream& stream, const RecurrentShape& z, const float* x, const float* w_ih, const float* w_hh,
                  const float* gates, const float* y, const float* dy, float* dx, float* dw_ih, float* dw_hh, float* db_ih,
                  float* db_hh) {
  backward<Gru>(stream, z, x, w_ih, w_hh, gates, y, y, dy, dx, dw_ih, dw_hh, db_ih, db_hh);
}

LstmKernels lstm_kernels() { return {forward<Lstm>, backward<Lstm>}; }
GruKernels gru_kernels() { return {gru_forward, gru_backward}; }

#endif

}  // namespace HWY_NAMESPACE
}  // namespace retort::simd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace retort::simd {

HWY_EXPORT(lstm_kernels);
HWY_EXPORT(gru_kernels);
void register_recurrent() {
  add(HWY_DYNAMIC_DISPATCH(lstm_kernels)());
  add(HWY_DYNAMIC_DISPATCH(gru_kernels)());
}

}  // namespace retort::simd
#endif
