// Linear layers. The weights (out, in) are large and used once a step, the batch is small: so the batch is what gets rearranged.
//
//   forward   y^T (out, batch) = W (out, in) * x^T (in, batch): x is transposed once into panels of 4 vectors of batch rows, the
//             weights are read in place, one broadcast after the other; a block of y^T is transposed back from the L1 cache.
//   dx        (batch, in) = g (batch, out) * W (out, in), with vectors along W's rows as they are.
//   dw        (out, in) += g^T (out, batch) * x (batch, in), with vectors along x's rows, copied into panels once.
//
// In a training step the weights come from memory, not from a cache; so the tiles ask for the next tile's weights as they go.
//
// A batch of up to 8 rows is bound by reading the weights: forward is then plain dot products along `in`.
#include "retort/kernels/linear.h"

#include "retort/kernels/simd/register.h"
#include "retort/kernels/simd/targets.h"
#include "retort/kernels/thread_team.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "retort/kernels/simd/linear.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "retort/kernels/simd/tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace retort::simd {
namespace HWY_NAMESPACE {

#if HWY_TARGET == HWY_SCALAR || HWY_TARGET == HWY_EMU128
LinearKernels linear_kernels() { return {}; }
#else

constexpr std::int64_t panel = widest * lanes;  // batch rows (or columns of `in`) worked on at once
constexpr std::int64_t out_block = 48;          // outputs of one forward task: a whole number of tiles
constexpr std::int64_t in_block = 128;          // inputs transposed by one task
constexpr std::int64_t depth_block = 128;       // rows of W copied at once: with a panel, 32 KB of L1
constexpr std::int64_t few_rows = 8;

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

/// dx's columns of one panel: (rows, columns) = g (rows, out) W (out, columns).
void input_gradient(const LinearShape& z, std::int64_t columns, const float* g, const float* w, float* dx) {
  if (columns % lanes == 0) {
    Product p{1, z.out, g, z.out, 0, 1, w, 0, z.in, dx, z.in};
    p.b_ahead = 12 * z.in;
    return multiply(p, z.rows, columns);
  }
  // The last vector of W's last row would be read beyond its end: a few columns are copied together.
  HWY_ALIGN float block[depth_block * panel];
  const std::int64_t width = round_up(columns, lanes);
  for (std::int64_t k = 0; k < z.out; k += depth_block) {
    const std::int64_t count = std::min(depth_block, z.out - k);
    copy_block(w + k * z.in, z.in, count, columns, block);
    multiply({1, count, g + k, z.out, 0, 1, block, 0, width, dx, z.in, k == 0 ? Start::zero : Start::result}, z.rows, columns);
  }
}

/// dw's rows [begin, end) += g^T (rows of it, batch) x (batch, in), x in panels. A tile's rows are finished from left to right,
/// so that dw, which is far larger than the caches, is read and written as it lies in memory.
void weight_gradient(const LinearShape& z, std::int64_t begin, std::int64_t end, const float* transposed, const float* x_panels,
                     float* dw) {
  constexpr std::int64_t height = tallest(widest);
  for (std::int64_t o = begin; o < end; o += height)
    for (std::int64_t i = 0; i < z.in; i += panel) {
      const std::int64_t columns = std::min(panel, z.in - i);
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
                Start::result};
      if (i + 2 * panel <= z.in) p.c_ahead = panel;
      multiply(p, std::min(height, end - o), columns);
    }
}

/// Columns [begin, end) of dy: masked, transposed, and summed over the batch.
void prepare_gradient(const LinearShape& z, const float* y, const float* dy, std::int64_t begin, std::int64_t end, float* masked,
                      float* transposed, float* db) {
  const D d;
  const float* g = dy;
  if (z.activation == Activation::relu) {
    for (std::int64_t r = 0; r < z.rows; ++r)
      for (std::int64_t o = r * z.out + begin; o < r * z.out + end; ++o) masked[o] = y[o] > 0 ? dy[o] : 0.0f;
    g = masked;
  }
  transpose(z.rows, end - begin, g + begin, z.out, transposed + begin * z.rows, z.rows, Identity());
  if (db == nullptr) return;
  for (std::int64_t o = begin; o < end; ++o) {
    const float* row = transposed + o * z.rows;
    const std::int64_t whole = z.rows / lanes * lanes;
    V sum = load_first(d, row + whole, z.rows - whole);
    for (std::int64_t r = 0; r < whole; r += lanes) sum = hn::Add(sum, hn::LoadU(d, row + r));
    db[o] += hn::GetLane(hn::SumOfLanes(d, sum));
  }
}

void backward(Stream& stream, const LinearShape& z, const float* x, const float* w, const float* y, const float* dy, float* dx,
              float* dw, float* db) {
  constexpr std::int64_t gradient_block = 64;
  ThreadTeam& team = stream.threads();
  const std::int64_t size = round_up(z.rows * z.out, 16), panels = divide_up(z.in, panel);
  const std::int64_t x_size = dw != nullptr ? z.rows * round_up(z.in, lanes) : 0;
  auto* masked = static_cast<float*>(stream.scratch(static_cast<std::size_t>(2 * size + x_size) * sizeof(float)));
  float *transposed = masked + size, *x_panels = transposed + size;
  const std::int64_t blocks = divide_up(z.out, gradient_block), copies = dw != nullptr ? panels : 0;
  team.run(blocks + copies, [&](std::int64_t task, int) {
    const std::int64_t begin = task * gradient_block, column = (task - blocks) * panel;
    if (task < blocks)
      prepare_gradient(z, y, dy, begin, std::min(begin + gradient_block, z.out), masked, transposed, db);
    else
      copy_block(x + column, z.in, z.rows, std::min(panel, z.in - column), x_panels + column * z.rows);
  });
  const float* g = z.activation == Activation::relu ? masked : dy;
  // Tasks of both gradients in one region, so that no thread idles between the two.
  const std::int64_t dx_tasks = dx != nullptr ? panels : 0, dw_tasks = dw != nullptr ? divide_up(z.out, out_block) : 0;
  team.run(dx_tasks + dw_tasks, [&](std::int64_t task, int) {
    const std::int64_t column = task * panel, begin = (task - dx_tasks) * out_block;
    if (task < dx_tasks)
      input_gradient(z, std::min(panel, z.in - column), g, w + column, dx + column);
    else
      weight_gradient(z, begin, std::min(begin + out_block, z.out), transposed, x_panels, dw);
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
