// Linear layers. The weights (out, in) are large and used once a step, the batch is small: so the batch is what gets rearranged.
//
//   forward   y^T (out, batch) = W (out, in) * x^T (in, batch): x is transposed once into panels of 4 vectors of batch rows, the
//             weights are read in place, one broadcast after the other; a block of y^T is transposed back from the L1 cache.
//   dx        (batch, in) = g (batch, out) * W (out, in), with vectors along W's rows as they are.
//   dw        (out, in) = beta dw + g^T (out, batch) * x (batch, in), with vectors along x's rows, copied into panels once.
//
// In a training step the weights come from memory, not from a cache; so the tiles ask for the next tile's weights as they go.
//
// Behind a ReLU half of x and of g is zero, or more: where enough is, forward and both gradients are sparse products
// (sparse-inl.h).
//
// A batch of up to 8 rows is bound by reading the weights: forward is then plain dot products along `in`. With up to 16 outputs,
// a head's, it is too, and backward reads x and g where they lie: rearranging would take longer than the products.
#include "retort/kernels/linear.h"

#include "retort/kernels/simd/arena.h"
#include "retort/kernels/simd/register.h"
#include "retort/kernels/simd/targets.h"
#include "retort/kernels/thread_team.h"

#include <numeric>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "retort/kernels/simd/linear.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "retort/kernels/simd/sparse-inl.h"

HWY_BEFORE_NAMESPACE();
namespace retort::simd {
namespace HWY_NAMESPACE {

#if HWY_TARGET == HWY_SCALAR || HWY_TARGET == HWY_EMU128
LinearKernels linear_kernels() { return {}; }
#else

constexpr std::int64_t panel = widest * lanes;  // batch rows (or columns of `in`) worked on at once
constexpr std::int64_t out_block = 24;          // outputs of one forward task: a whole number of tiles
constexpr std::int64_t in_block = 128;          // inputs transposed by one task
constexpr std::int64_t depth_block = 128;       // rows of W copied at once: with a panel, 32 KB of L1
constexpr std::int64_t few_rows = 8;
constexpr std::int64_t few_outputs = 16;
constexpr std::int64_t sparse_rows = 256;  // rows of one task of a sparse product
constexpr std::int64_t half_unit = 256;    // half the rows of W are a multiple of so many
constexpr std::int64_t sum_block = 8192;   // elements of dx that one task adds up

// ---- forward, a few rows ----

/// y[r, o] for M outputs and R rows, sums over `in` in the lanes of M * R vectors.
template <int M, int R>
void dot_tile(const LinearShape& z, const float* x, const float* w, const float* b, float* y) {
  const D d;
  V sum[M][R];
#pragma GCC unroll 8
  for (int m = 0; m < M; ++m)
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) sum[m][r] = hn::Zero(d);
  const auto step = [&](auto&& load, std::int64_t i) HWY_ATTR {
    V rows[R];
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) rows[r] = load(x + r * z.in + i);
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m) {
      const V weights = load(w + m * z.in + i);
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r) sum[m][r] = hn::MulAdd(weights, rows[r], sum[m][r]);
    }
  };
  std::int64_t i = 0;
  for (; i + lanes <= z.in; i += lanes) step([&](const float* p) HWY_ATTR { return hn::LoadU(d, p); }, i);
  if (i < z.in) step([&](const float* p) HWY_ATTR { return load_first(d, p, z.in - i); }, i);
#pragma GCC unroll 8
  for (int m = 0; m < M; ++m)
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
      const float value = hn::GetLane(hn::SumOfLanes(d, sum[m][r])) + (b != nullptr ? b[m] : 0.0f);
      y[r * z.out + m] = z.activation == Activation::relu ? Relu()(value) : value;
    }
}

template <int M>
void dot_rows(const LinearShape& z, const float* x, const float* w, const float* b, float* y) {
  constexpr auto tile = [](std::int64_t rows) {
    return rows == 1 ? dot_tile<M, 1> : rows == 2 ? dot_tile<M, 2> : rows == 3 ? dot_tile<M, 3> : dot_tile<M, 4>;
  };
  for (std::int64_t r = 0; r < z.rows; r += 4) tile(z.rows - r)(z, x + r * z.in, w, b, y + r * z.out);
}

/// Outputs [begin, end). One row alone has registers to spare for twice as many streams of weights.
void forward_few_rows(const LinearShape& z, const float* x, const float* w, const float* b, float* y, std::int64_t begin,
                      std::int64_t end) {
  const auto bias = [&](std::int64_t o) { return b != nullptr ? b + o : nullptr; };
  std::int64_t o = begin;
  if (z.rows == 1)
    for (; o + 8 <= end; o += 8) dot_tile<8, 1>(z, x, w + o * z.in, bias(o), y + o);
  for (; o + 4 <= end; o += 4) dot_rows<4>(z, x, w + o * z.in, bias(o), y + o);
  for (; o < end; ++o) dot_rows<1>(z, x, w + o * z.in, bias(o), y + o);
}

// ---- forward, x sparse ----

/// Whether some of x's rows let expect that all of them are sparse.
bool looks_sparse(const LinearShape& z, const float* x) {
  constexpr std::int64_t samples = 4;
  if (z.rows < 4 * few_rows || z.out < sparse_width) return false;
  std::int64_t count = 0;
  for (std::int64_t i = 0; i < samples; ++i)
    for (std::int64_t j = 0; j < z.in; j += word)
      count += std::popcount(non_zero_bits(x + i * (z.rows / samples) * z.in + j, std::min(word, z.in - j)));
  return is_sparse(count, samples * z.in);
}

/// Outputs [begin, end), at most sparse_width of them, for rows [first, first + rows).
void forward_sparse_block(const LinearShape& z, const float* x, const std::uint64_t* words, const float* w, const float* b,
                          std::int64_t first, std::int64_t rows, std::int64_t begin, std::int64_t end, float* y) {
  HWY_ALIGN float tile[sparse_tile];
  const std::int64_t blocks = divide_up(z.in, word), outputs = end - begin, width = round_up(outputs, lanes);
  if (outputs < width) std::fill(tile, tile + word * width, 0.0f);
  for (std::int64_t k = 0; k < blocks; ++k) {
    const std::int64_t from = k * word, depth = std::min(word, z.in - from);
    transpose(outputs, depth, w + begin * z.in + from, z.in, tile, width, Identity());
    SparseProduct p{rows, x + first * z.in + from,   z.in, words + first * blocks + k, blocks,
                    tile, y + first * z.out + begin, z.out};
    if (k == 0) p.start = b != nullptr ? Start::columns : Start::zero, p.from = b + begin;
    if (from + depth < z.in)
      p.next = w + begin * z.in + from + depth, p.next_rows = outputs, p.next_row = z.in,
      p.next_columns = std::min(word, z.in - from - depth);
    p.relu = k + 1 == blocks && z.activation == Activation::relu;
    multiply_sparse(p, outputs);
  }
}

void forward_sparse(Stream& stream, const LinearShape& z, const float* x, const float* w, const float* b, float* y) {
  constexpr std::int64_t marked_rows = 16;
  ThreadTeam& team = stream.threads();
  const std::int64_t blocks = divide_up(z.in, word), panels = divide_up(z.out, sparse_width);
  auto* words = static_cast<std::uint64_t*>(stream.scratch(static_cast<std::size_t>(z.rows * blocks) * sizeof(std::uint64_t)));
  team.for_ranges(z.rows, marked_rows, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) mark_non_zero(x + r * z.in, z.in, words + r * blocks);
  });
  team.run(panels * divide_up(z.rows, sparse_rows), [&](std::int64_t task, int) {
    const std::int64_t begin = task % panels * sparse_width, first = task / panels * sparse_rows;
    forward_sparse_block(z, x, words, w, b, first, std::min(sparse_rows, z.rows - first), begin,
                         std::min(begin + sparse_width, z.out), y);
  });
}

// ---- forward ----

/// x^T of one panel of rows: (in, width), width a whole number of vectors; what is behind the last row is zero.
void transpose_panel(const LinearShape& z, const float* x, std::int64_t begin, std::int64_t end, std::int64_t rows,
                     std::int64_t width, float* xt) {
  transpose(rows, end - begin, x + begin, z.in, xt + begin * width, width, Identity());
  if (rows < width)
    for (std::int64_t i = begin; i < end; ++i) std::fill(xt + i * width + rows, xt + (i + 1) * width, 0.0f);
}

/// Outputs [begin, end) of one panel of rows.
void forward_block(const LinearShape& z, const float* xt, std::int64_t rows, std::int64_t width, const float* w, const float* b,
                   std::int64_t begin, std::int64_t end, float* y) {
  HWY_ALIGN float block[out_block * panel];
  Product p{1, z.in, w + begin * z.in, z.in, 0, 1, xt, 0, width, block, width};
  if (b != nullptr) p.start = Start::rows, p.from = b + begin;
  if (end < z.out) p.a_ahead = tallest(widest) * z.in;
  multiply(p, end - begin, width);
  if (z.activation == Activation::relu)
    transpose(end - begin, rows, block, width, y + begin, z.out, Relu());
  else
    transpose(end - begin, rows, block, width, y + begin, z.out, Identity());
}

void forward(Stream& stream, const LinearShape& z, const float* x, const float* w, const float* b, float* y) {
  ThreadTeam& team = stream.threads();
  if (z.rows <= few_rows) {
    team.for_ranges(z.out, out_block, [&](std::int64_t begin, std::int64_t end) { forward_few_rows(z, x, w, b, y, begin, end); });
    return;
  }
  if (z.out <= few_outputs) {
    team.for_ranges(z.rows, few_rows, [&](std::int64_t begin, std::int64_t end) {
      const LinearShape part{end - begin, z.in, z.out, z.activation};
      forward_few_rows(part, x + begin * z.in, w, b, y + begin * z.out, 0, z.out);
    });
    return;
  }
  if (looks_sparse(z, x)) return forward_sparse(stream, z, x, w, b, y);
  const std::int64_t panels = divide_up(z.rows, panel), in_blocks = divide_up(z.in, in_block),
                     out_blocks = divide_up(z.out, out_block);
  auto* xt = static_cast<float*>(stream.scratch(static_cast<std::size_t>(round_up(z.rows, lanes) * z.in) * sizeof(float)));
  const auto rows_of = [&](std::int64_t p) { return std::min(panel, z.rows - p * panel); };
  team.run(panels * in_blocks, [&](std::int64_t task, int) {
    const std::int64_t p = task / in_blocks, begin = task % in_blocks * in_block, rows = rows_of(p);
    transpose_panel(z, x + p * panel * z.in, begin, std::min(begin + in_block, z.in), rows, round_up(rows, lanes),
                    xt + p * panel * z.in);
  });
  team.run(panels * out_blocks, [&](std::int64_t task, int) {
    const std::int64_t p = task / out_blocks, begin = task % out_blocks * out_block, rows = rows_of(p);
    forward_block(z, xt + p * panel * z.in, rows, round_up(rows, lanes), w, b, begin, std::min(begin + out_block, z.out),
                  y + p * panel * z.out);
  });
}

// ---- backward ----

/// A block of a row-major matrix side by side: (rows, width), width a whole number of vectors, zeros behind the last column.
void copy_block(const float* from, std::int64_t stride, std::int64_t rows, std::int64_t columns, float* to) {
  const D d;
  const std::int64_t width = round_up(columns, lanes), whole = columns / lanes * lanes;
  for (std::int64_t i = 0; i < rows; ++i, from += stride, to += width) {
    for (std::int64_t j = 0; j < whole; j += lanes) hn::Store(hn::LoadU(d, from + j), d, to + j);
    if (whole < width) hn::Store(load_first(d, from + whole, columns - whole), d, to + whole);
  }
}

/// dx's columns of one panel, or what `count` rows of W from this one on give of it: (rows, columns) = g (rows, count) W (count,
/// columns).
void input_gradient(const LinearShape& z, std::int64_t count, std::int64_t columns, const float* g, const float* w, float* dx) {
  if (columns % lanes == 0 || count == 0) {
    Product p{1, count, g, z.out, 0, 1, w, 0, z.in, dx, z.in};
    p.b_ahead = 12 * z.in;
    return multiply(p, z.rows, columns);
  }
  // The last vector of W's last row would be read beyond its end: a few columns are copied together.
  HWY_ALIGN float block[depth_block * panel];
  const std::int64_t width = round_up(columns, lanes);
  for (std::int64_t k = 0; k < count; k += depth_block) {
    const std::int64_t depth = std::min(depth_block, count - k);
    copy_block(w + k * z.in, z.in, depth, columns, block);
    multiply({1, depth, g + k, z.out, 0, 1, block, 0, width, dx, z.in, k == 0 ? Start::zero : Start::result}, z.rows, columns);
  }
}

/// The same where g is sparse; words: of g, (rows, out / 64). The first row is that of a word.
void sparse_input_gradient(const LinearShape& z, std::int64_t count, std::int64_t columns, const float* g,
                           const std::uint64_t* words, const float* w, float* dx) {
  HWY_ALIGN float tile[sparse_tile];
  for (std::int64_t from = 0; from < count; from += word, ++words) {
    const std::int64_t next = from + word;
    copy_block(w + from * z.in, z.in, std::min(word, count - from), columns, tile);
    SparseProduct p{
        z.rows, g + from, z.out, words, divide_up(z.out, word), tile, dx, z.in, from == 0 ? Start::zero : Start::result};
    if (next < count)
      p.next = w + next * z.in, p.next_rows = std::min(word, count - next), p.next_row = z.in, p.next_columns = columns;
    multiply_sparse(p, columns);
  }
}

/// dw's rows [begin, end) = start + g^T (rows of it, batch) x (batch, in), x in panels. A tile's rows are finished from left to
/// right, so that dw, which is far larger than the caches, is read and written as it lies in memory.
void weight_gradient(const LinearShape& z, std::int64_t begin, std::int64_t end, const float* transposed, const float* x_panels,
                     Start start, float* dw) {
  constexpr std::int64_t height = tallest(widest);
  for (std::int64_t o = begin; o < end; o += height)
    for (std::int64_t i = 0; i < z.in; i += sparse_width) {
      const std::int64_t columns = std::min(sparse_width, z.in - i);
      Product p{1,
                z.rows,
                transposed + o * z.rows,
                z.rows,
                0,
                1,
                x_panels + i * z.rows,
                0,
                round_up(columns, lanes),
                dw + o * z.in + i,
                z.in,
                start};
      if (i + 2 * panel <= z.in) p.c_ahead = panel;
      multiply(p, std::min(height, end - o), columns);
    }
}

/// The same for one panel of x, where g is sparse; words: of g^T, (out, rows / 64).
void sparse_weight_gradient(const LinearShape& z, std::int64_t begin, std::int64_t end, std::int64_t columns,
                            const float* transposed, const std::uint64_t* words, const float* x_panel, Start start, float* dw) {
  const std::int64_t blocks = divide_up(z.rows, word), width = round_up(columns, lanes);
  for (std::int64_t r = 0; r < blocks; ++r) {
    SparseProduct p{end - begin,
                    transposed + begin * z.rows + r * word,
                    z.rows,
                    words + begin * blocks + r,
                    blocks,
                    x_panel + r * word * width,
                    dw + begin * z.in,
                    z.in,
                    r == 0 ? start : Start::result};
    p.c_ahead = 4;
    multiply_sparse(p, columns);
  }
}

/// What both gradients are made of: dy behind the ReLU, as it is and transposed, with the words of both, and x in panels.
struct Gradient {
  const float* g;  ///< (rows, out)
  float *masked, *transposed, *x_panels;
  std::uint64_t *words, *transposed_words;  ///< (rows, out / 64), (out, rows / 64); null: not wanted

  /// Columns [begin, end) of dy, at most 64: masked, transposed, marked, and summed over the batch. Returns how many are not
  /// zero.
  std::int64_t prepare(const LinearShape& z, const float* y, const float* dy, std::int64_t begin, std::int64_t end,
                       float* db) const {
    if (z.activation == Activation::relu)
      for (std::int64_t r = 0; r < z.rows; ++r)
        for (std::int64_t o = r * z.out + begin; o < r * z.out + end; ++o) masked[o] = y[o] > 0 ? dy[o] : 0.0f;
    transpose(z.rows, end - begin, g + begin, z.out, transposed + begin * z.rows, z.rows, Identity());
    if (db != nullptr)
      for (std::int64_t o = begin; o < end; ++o) db[o] += sum(transposed + o * z.rows, z.rows);
    if (words == nullptr) return z.rows * (end - begin);
    for (std::int64_t r = 0; r < z.rows; ++r)
      words[r * divide_up(z.out, word) + begin / word] = non_zero_bits(g + r * z.out + begin, end - begin);
    std::int64_t count = 0;
    for (std::int64_t o = begin; o < end; ++o)
      count += mark_non_zero(transposed + o * z.rows, z.rows, transposed_words + o * divide_up(z.rows, word));
    return count;
  }

  static float sum(const float* row, std::int64_t n) {
    const D d;
    const std::int64_t whole = n / lanes * lanes;
    V total = load_first(d, row + whole, n - whole);
    for (std::int64_t r = 0; r < whole; r += lanes) total = hn::Add(total, hn::LoadU(d, row + r));
    return hn::GetLane(hn::SumOfLanes(d, total));
  }
};

/// Without a ReLU, and with whole vectors in a row of x. A task has the same columns of dx and dw, the first one db.
void backward_few_outputs(Stream& stream, const LinearShape& z, const float* x, const float* w, const float* dy, float* dx,
                          Start start, float* dw, float* db) {
  stream.threads().for_ranges(z.in, panel, [&](std::int64_t begin, std::int64_t end) {
    if (dx != nullptr) input_gradient(z, z.out, end - begin, dy, w + begin, dx + begin);
    if (dw != nullptr) multiply({1, z.rows, dy, 1, 0, z.out, x + begin, 0, z.in, dw + begin, z.in, start}, z.out, end - begin);
    if (db == nullptr || begin != 0) return;
    double sums[few_outputs] = {};
    for (std::int64_t r = 0; r < z.rows; ++r)
      for (std::int64_t o = 0; o < z.out; ++o) sums[o] += static_cast<double>(dy[r * z.out + o]);
    for (std::int64_t o = 0; o < z.out; ++o) db[o] += static_cast<float>(sums[o]);
  });
}

void backward(Stream& stream, const LinearShape& z, const float* x, const float* w, const float* y, const float* dy, float* dx,
              float beta, float* dw, float* db) {
  ThreadTeam& team = stream.threads();
  const Start start = beta == 0 ? Start::zero : Start::result;
  const bool relu = z.activation == Activation::relu, marked = relu && z.rows >= 4 * few_rows && z.out >= word;
  if (z.out <= few_outputs && !relu && z.in > 0 && z.in % lanes == 0)
    return backward_few_outputs(stream, z, x, w, dy, dx, start, dw, db);
  const std::int64_t blocks = divide_up(z.out, word), row_blocks = divide_up(z.rows, word),
                     x_panels = divide_up(z.in, sparse_width);
  Gradient at{};
  std::int64_t* counts = nullptr;
  float* second_half = nullptr;  // of dx's sum
  const std::int64_t half = divide_up(divide_up(z.out, 2), half_unit) * half_unit;
  const auto lay_out = [&](Arena arena) {
    at.masked = relu ? arena.take(z.rows * z.out) : nullptr;
    at.transposed = arena.take(z.rows * z.out);
    at.x_panels = dw != nullptr ? arena.take(z.rows * round_up(z.in, lanes)) : nullptr;
    second_half = dx != nullptr && half < z.out ? arena.take(z.rows * z.in) : nullptr;
    counts = arena.take<std::int64_t>(blocks);
    at.words = marked ? arena.take<std::uint64_t>(z.rows * blocks) : nullptr;
    at.transposed_words = marked ? arena.take<std::uint64_t>(z.out * row_blocks) : nullptr;
    return arena.used();
  };
  lay_out(Arena(stream.scratch(lay_out(Arena()))));
  at.g = relu ? at.masked : dy;
  team.run(blocks + (dw != nullptr ? x_panels : 0), [&](std::int64_t task, int) {
    const std::int64_t begin = task * word, column = (task - blocks) * sparse_width;
    if (task < blocks)
      counts[task] = at.prepare(z, y, dy, begin, std::min(begin + word, z.out), db);
    else
      copy_block(x + column, z.in, z.rows, std::min(sparse_width, z.in - column), at.x_panels + column * z.rows);
  });
  const bool sparse = marked && is_sparse(std::accumulate(counts, counts + blocks, std::int64_t{0}), z.rows * z.out);
  // W's rows in two halves: what needs a half's weights or makes their gradients comes one after the other, so that as a rule one
  // thread has it, the one that has the same rows in forward and updates them. Where processors do not share a cache, weights
  // that both have read take five times as long to update.
  const std::int64_t width = sparse ? sparse_width : panel, height = sparse ? sparse_rows : out_block,
                     dw_panels = sparse ? x_panels : 1, dx_tasks = dx != nullptr ? divide_up(z.in, width) : 0,
                     dw_tasks = dw != nullptr ? divide_up(half, height) * dw_panels : 0, tasks = dx_tasks + dw_tasks;
  team.run((half < z.out ? 2 : 1) * tasks, [&](std::int64_t i, int) {
    const std::int64_t task = i % tasks, dw_task = task - dx_tasks, first = i / tasks * half,
                       last = std::min(first + half, z.out), column = (task < dx_tasks ? task : dw_task % dw_panels) * width,
                       columns = std::min(width, z.in - column), begin = first + dw_task / dw_panels * height,
                       end = std::min(begin + height, last);
    float* to = first == 0 ? dx : second_half;
    if (task < dx_tasks && sparse)
      sparse_input_gradient(z, last - first, columns, at.g + first, at.words + first / word, w + first * z.in + column,
                            to + column);
    else if (task < dx_tasks)
      input_gradient(z, last - first, columns, at.g + first, w + first * z.in + column, to + column);
    else if (begin < end && sparse)
      sparse_weight_gradient(z, begin, end, columns, at.transposed, at.transposed_words, at.x_panels + column * z.rows, start,
                             dw + column);
    else if (begin < end)
      weight_gradient(z, begin, end, at.transposed, at.x_panels, start, dw);
  });
  if (second_half != nullptr)
    team.for_ranges(z.rows * z.in, sum_block, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) dx[i] += second_half[i];
    });
}

LinearKernels linear_kernels() { return {forward, backward}; }

#endif

}  // namespace HWY_NAMESPACE
}  // namespace retort::simd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace retort::simd {

HWY_EXPORT(linear_kernels);
void register_linear() { add(HWY_DYNAMIC_DISPATCH(linear_kernels)()); }

}  // namespace retort::simd
#endif
