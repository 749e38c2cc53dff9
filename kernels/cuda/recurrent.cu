// LSTM and GRU over a whole sequence. Contract and formulas: kernels/recurrent.h.
//
// What does not depend on the step before is one matrix product over all steps (gemm.cuh): x W_ih^T + b_ih forward; dx, dW and db
// backward. What remains, h' W_hh^T and the cell, has to go step by step; but the rows of a batch do not know of each other. So a
// block takes 1, 2 or 4 rows and walks the whole sequence alone: one launch a layer, no waiting for other blocks, h and c in
// shared memory. W_hh stays there too as far as it fits (113 of 128 units' worth of an LSTM on an H100), and the rest comes from
// the L2 cache each step.
//
// Forward, a thread makes one column of h' W_hh^T, that is one gate of one unit; then the units are made from their gates.
// Backward, W_hh^T d is cut by gates, so that the same columns are summed over the same number of values: sum over u of
// w_hh[gate, u, j] d[gate, u], and the next step adds up its unit's gates. Either way the weights are packed once a call as
// (values / 4, columns, 4): threads that follow each other read 16 bytes that follow each other.
#include "retort/kernels/recurrent.h"

#include "retort/kernels/cuda/all.h"
#include "retort/kernels/cuda/block.cuh"
#include "retort/kernels/cuda/gemm.cuh"
#include "retort/kernels/registry.h"

namespace retort {
namespace {

constexpr int walk_threads = 512;
constexpr int pack_threads = 256;

struct WalkShape {
  int steps, rows, hidden;
  int columns;  // blocks * hidden
  int quads;    // ceil(hidden / 4)
  int cached;   // of the quads, how many have their weights in shared memory
  bool reverse;

  __device__ int step_at(int i) const { return reverse ? steps - 1 - i : i; }
  /// Of row `row` and the step walked at position i, among all (steps, rows).
  __device__ std::int64_t at(int i, int row) const { return static_cast<std::int64_t>(step_at(i)) * rows + row; }
};

/// packed[q, column, e] = w_hh[column, 4 q + e], or backwards w_hh[gate, 4 q + e, j] of column (gate, j); zero from `hidden` on.
__global__ void __launch_bounds__(pack_threads)
    pack_kernel(int hidden, int columns, bool backward, const float* w_hh, float* packed) {
  const std::int64_t i = global_thread();
  const std::int64_t quads = (hidden + 3) / 4;
  if (i >= quads * columns * 4) return;
  const int k = static_cast<int>(i / (4 * columns)) * 4 + static_cast<int>(i % 4), column = static_cast<int>(i / 4 % columns);
  const int gate = column / hidden, j = column % hidden;
  const std::int64_t from =
      backward ? (static_cast<std::int64_t>(gate) * hidden + k) * hidden + j : static_cast<std::int64_t>(column) * hidden + k;
  packed[i] = k < hidden ? w_hh[from] : 0.0f;
}

/// sum[r] += sum over k of packed[k, column] v[r, k]; v: (rows, .) in shared memory, `row_quads` from row to row.
template <int rows>
__device__ inline void add_product(const WalkShape& z, const float4* cached, const float4* packed, int column, const float4* v,
                                   int row_quads, float (&sum)[rows]) {
  const auto add = [&](const float4& w, int q) {
#pragma unroll
    for (int r = 0; r < rows; ++r) {
      const float4 x = v[r * row_quads + q];
      sum[r] = fmaf(w.x, x.x, sum[r]);
      sum[r] = fmaf(w.y, x.y, sum[r]);
      sum[r] = fmaf(w.z, x.z, sum[r]);
      sum[r] = fmaf(w.w, x.w, sum[r]);
    }
  };
#pragma unroll 4
  for (int q = 0; q < z.cached; ++q) add(cached[q * z.columns + column], q);
#pragma unroll 4
  for (int q = z.cached; q < z.quads; ++q) add(__ldg(packed + static_cast<std::int64_t>(q) * z.columns + column), q);
}

/// A row of an array that may be absent.
__device__ inline float* row_of(float* array, std::int64_t row, int width) {
  return array == nullptr ? nullptr : array + row * width;
}
__device__ inline const float* row_of(const float* array, std::int64_t row, int width) {
  return array == nullptr ? nullptr : array + row * width;
}

__device__ inline float logistic(float x) { return 1.0f / (1.0f + expf(-x)); }

/// What a block keeps in shared memory. `values`: what the weights are multiplied with, `vectors` a row: h, or backwards d by
/// gate.
template <int rows, int vectors>
struct WalkMemory {
  float4* weights;  // (cached, columns, 4)
  float4* values;   // (rows, vectors, quads, 4), zero behind `hidden`
  float* sums;      // (rows, columns)
  float* state;     // (rows, hidden)

  static std::int64_t floats(std::int64_t hidden, std::int64_t columns) {
    return rows * (vectors * ceil_div(hidden, 4) * 4 + columns + hidden);
  }

  __device__ WalkMemory(const WalkShape& z, const float4* packed) {
    weights = dynamic_shared<float4>();
    values = weights + z.cached * z.columns;
    sums = reinterpret_cast<float*>(values + rows * vectors * z.quads);
    state = sums + rows * z.columns;
    const int me = static_cast<int>(threadIdx.x), threads = static_cast<int>(blockDim.x);
    for (int i = me; i < z.cached * z.columns; i += threads) weights[i] = packed[i];
    for (int i = me; i < rows * vectors * z.quads; i += threads) values[i] = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    for (int i = me; i < rows * z.hidden; i += threads) state[i] = 0.0f;
    __syncthreads();
  }
};

// ---- the cells. Their pointers are those of one row and step: gates (4, hidden), the others (hidden).

struct LstmCell {
  static constexpr int blocks = 4;
  __host__ __device__ static constexpr int hidden_block(int gate) { return gate; }

  /// Of one gate: its activation from the part of x and the part of h'.
  __device__ static float gate(int column, int hidden, float from_h, float* gates) {
    const float a = gates[column] + from_h;
    return gates[column] = column / hidden == 2 ? tanhf(a) : logistic(a);
  }
  /// Of one unit, h from its activated gates; state is c.
  __device__ static float unit(int j, int hidden, const float* gate, float* /*gates*/, float* cells, float& state,
                               float /*before*/) {
    state = gate[hidden + j] * state + gate[j] * gate[2 * hidden + j];
    cells[j] = state;
    return gate[3 * hidden + j] * tanhf(state);
  }
  /// From dh to the gradients d of the sums before the activations; state is dc, from step to step.
  __device__ static void gradient(int j, int hidden, const float* gates, const float* cells, const float* cells_before,
                                  const float* /*y_before*/, float dh, float& state, float (&d)[4]) {
    const float in = gates[j], forget = gates[hidden + j], candidate = gates[2 * hidden + j], out = gates[3 * hidden + j];
    const float tanh_c = tanhf(cells[j]), dc = state + dh * out * (1.0f - tanh_c * tanh_c);
    d[0] = dc * candidate * in * (1.0f - in);
    d[1] = cells_before == nullptr ? 0.0f : dc * cells_before[j] * forget * (1.0f - forget);
    d[2] = dc * in * (1.0f - candidate * candidate);
    d[3] = dh * tanh_c * out * (1.0f - out);
    state = dc * forget;
  }
  __device__ static float arriving(float dh, float /*state*/) { return dh; }
};

struct GruCell {
  static constexpr int blocks = 3;
  // The state's side of n is r (W_hn h' + b_hn), whose gradient is the fourth block.
  __host__ __device__ static constexpr int hidden_block(int gate) { return gate == 2 ? 3 : gate; }

  __device__ static float gate(int column, int hidden, float from_h, float* gates) {
    if (column < 2 * hidden) return gates[column] = logistic(gates[column] + from_h);
    return gates[column + hidden] = from_h;  // n needs r, which another thread makes
  }
  __device__ static float unit(int j, int hidden, const float* gate, float* gates, float* /*cells*/, float& /*state*/,
                               float before) {
    const float candidate = tanhf(gates[2 * hidden + j] + gate[j] * gate[2 * hidden + j]), u = gate[hidden + j];
    gates[2 * hidden + j] = candidate;
    return (1.0f - u) * candidate + u * before;
  }
  /// state is what reaches h' along z h'.
  __device__ static void gradient(int j, int hidden, const float* gates, const float* /*cells*/, const float* /*cells_before*/,
                                  const float* y_before, float dh, float& state, float (&d)[4]) {
    const float r = gates[j], u = gates[hidden + j], candidate = gates[2 * hidden + j], from_h = gates[3 * hidden + j];
    const float dn = dh * (1.0f - u) * (1.0f - candidate * candidate);
    d[0] = dn * from_h * r * (1.0f - r);
    d[1] = dh * ((y_before == nullptr ? 0.0f : y_before[j]) - candidate) * u * (1.0f - u);
    d[2] = dn;
    d[3] = dn * r;
    state = dh * u;
  }
  __device__ static float arriving(float dh, float state) { return dh + state; }
};

// ---- the walks. Grid: groups of `rows` rows.

/// gates: (steps, rows, 4, hidden) holds x W_ih^T + b_ih and gets the activated gates. cells: null for a GRU.
template <class Cell, int rows>
__global__ void __launch_bounds__(walk_threads)
    walk_forward_kernel(const WalkShape z, const float4* packed, const float* b_hh, float* gates, float* cells, float* y) {
  const WalkMemory<rows, 1> memory(z, packed);
  const int row0 = static_cast<int>(blockIdx.x) * rows, here = z.rows - row0 < rows ? z.rows - row0 : rows;
  const int me = static_cast<int>(threadIdx.x), threads = static_cast<int>(blockDim.x);
  auto* h = reinterpret_cast<float*>(memory.values);
  for (int i = 0; i < z.steps; ++i) {
    for (int column = me; column < z.columns; column += threads) {
      float sum[rows];
#pragma unroll
      for (int r = 0; r < rows; ++r) sum[r] = b_hh == nullptr ? 0.0f : b_hh[column];
      if (i > 0) add_product(z, memory.weights, packed, column, memory.values, z.quads, sum);
#pragma unroll
      for (int r = 0; r < rows; ++r)
        if (r < here)
          memory.sums[r * z.columns + column] = Cell::gate(column, z.hidden, sum[r], gates + z.at(i, row0 + r) * 4 * z.hidden);
    }
    __syncthreads();
    for (int e = me; e < here * z.hidden; e += threads) {
      const int r = e / z.hidden, j = e % z.hidden;
      const std::int64_t at = z.at(i, row0 + r);
      float& of_h = h[r * 4 * z.quads + j];
      of_h = Cell::unit(j, z.hidden, memory.sums + r * z.columns, gates + at * 4 * z.hidden, row_of(cells, at, z.hidden),
                        memory.state[e], of_h);
      y[at * z.hidden + j] = of_h;
    }
    __syncthreads();
  }
}

/// d: (steps, rows, 4, hidden), the gradients of the sums before the activations.
template <class Cell, int rows>
__global__ void __launch_bounds__(walk_threads)
    walk_backward_kernel(const WalkShape z, const float4* packed, const float* gates, const float* cells, const float* y,
                         const float* dy, float* d) {
  const WalkMemory<rows, 4> memory(z, packed);
  const int row0 = static_cast<int>(blockIdx.x) * rows, here = z.rows - row0 < rows ? z.rows - row0 : rows;
  const int me = static_cast<int>(threadIdx.x), threads = static_cast<int>(blockDim.x);
  auto* values = reinterpret_cast<float*>(memory.values);
  for (int i = z.steps - 1; i >= 0; --i) {
    for (int e = me; e < here * z.hidden; e += threads) {
      const int r = e / z.hidden, j = e % z.hidden;
      const std::int64_t at = z.at(i, row0 + r), before = i > 0 ? z.at(i - 1, row0 + r) : 0;
      float dh = Cell::arriving(dy[at * z.hidden + j], memory.state[e]);
      if (i + 1 < z.steps)
        for (int gate = 0; gate < Cell::blocks; ++gate) dh += memory.sums[r * z.columns + gate * z.hidden + j];
      float of_unit[4];
      Cell::gradient(j, z.hidden, gates + at * 4 * z.hidden, row_of(cells, at, z.hidden),
                     i > 0 ? row_of(cells, before, z.hidden) : nullptr, i > 0 ? y + before * z.hidden : nullptr, dh,
                     memory.state[e], of_unit);
#pragma unroll
      for (int block = 0; block < 4; ++block) {
        values[(r * 4 + block) * 4 * z.quads + j] = of_unit[block];
        d[(at * 4 + block) * z.hidden + j] = of_unit[block];
      }
    }
    __syncthreads();
    if (i == 0) break;
    for (int column = me; column < z.columns; column += threads) {
      const float4* of_gate = memory.values + Cell::hidden_block(column / z.hidden) * z.quads;
      float sum[rows] = {};
      add_product(z, memory.weights, packed, column, of_gate, 4 * z.quads, sum);
#pragma unroll
      for (int r = 0; r < rows; ++r) memory.sums[r * z.columns + column] = sum[r];
    }
    __syncthreads();
  }
}

// ---- launchers

/// Rows a block walks with: as few as leave no multiprocessor of an H100 idle, at most 4, where reading the weights and
/// multiplying them take equally long. use(rows) gets an integral constant.
template <class Use>
void with_rows(std::int64_t rows, Use&& use) {
  if (rows <= 132)
    use(std::integral_constant<int, 1>());
  else if (rows <= 264)
    use(std::integral_constant<int, 2>());
  else
    use(std::integral_constant<int, 4>());
}

std::int64_t packed_floats(std::int64_t hidden, int blocks) { return ceil_div(hidden, 4) * 4 * blocks * hidden; }

/// Packs the weights and walks. `memory_floats`: of shared memory without weights.
template <class... Parameters, class... Arguments>
void launch_walk(Stream& stream, const char* name, const RecurrentShape& s, int blocks, bool backward, int rows,
                 std::int64_t memory_floats, const float* w_hh, float* packed,
                 void (*kernel)(WalkShape, const float4*, Parameters...), Arguments... arguments) {
  check(s.steps * s.rows < (std::int64_t{1} << 31) && s.hidden < (1 << 24), "{}: ({}, {}, {}) is too large", name, s.steps,
        s.rows, s.hidden);
  const auto hidden = static_cast<int>(s.hidden);
  WalkShape z{.steps = static_cast<int>(s.steps),
              .rows = static_cast<int>(s.rows),
              .hidden = hidden,
              .columns = blocks * hidden,
              .quads = (hidden + 3) / 4,
              .cached = 0,
              .reverse = s.reverse};
  const std::int64_t capacity = static_cast<std::int64_t>(shared_capacity() / sizeof(float));
  check(memory_floats <= capacity, "{}: {} hidden units need {} KiB of shared memory a block, the device has {}", name, s.hidden,
        memory_floats / 256, capacity / 256);
  z.cached = static_cast<int>(std::min<std::int64_t>(z.quads, (capacity - memory_floats) / (4 * z.columns)));
  const std::int64_t weights = packed_floats(s.hidden, blocks);
  launch({stream, name, dim3(count(ceil_div(weights, pack_threads))), dim3(pack_threads)}, pack_kernel, hidden, z.columns,
         backward, w_hh, packed);
  const LaunchConfig config{stream, name, dim3(count(ceil_div(s.rows, rows))),
                            dim3(count(std::min<std::int64_t>(ceil_div(z.columns, 32) * 32, walk_threads))),
                            static_cast<std::size_t>(memory_floats + 4 * z.cached * z.columns) * sizeof(float)};
  launch(config, kernel, z, reinterpret_cast<const float4*>(packed), arguments...);
}

template <class Cell>
void forward(Stream& stream, const char* name, const RecurrentShape& s, const float* x, const float* w_ih, const float* w_hh,
             const float* b_ih, const float* b_hh, float* gates, float* cells, float* y) {
  const std::int64_t h = s.hidden, columns = Cell::blocks * h, rows = s.steps * s.rows, weights = packed_floats(h, Cell::blocks);
  if (rows == 0) return;
  auto* packed = static_cast<float*>(
      stream.scratch(static_cast<std::size_t>(weights + gemm_workspace(stream, rows, columns, s.in)) * sizeof(float)));
  gemm(stream, name, false, true,
       {.m = rows,
        .n = columns,
        .k = s.in,
        .a = x,
        .b = w_ih,
        .bias = b_ih,
        .c = gates,
        .c_stride = 4 * h,
        .workspace = packed + weights});
  with_rows(s.rows, [&](auto together) {
    constexpr int r = decltype(together)::value;
    launch_walk(stream, name, s, Cell::blocks, false, r, WalkMemory<r, 1>::floats(h, columns), w_hh, packed,
                walk_forward_kernel<Cell, r>, b_hh, gates, cells, y);
  });
}

/// The columns of d that belong to the state's side: the first two blocks, and from `skip_from` on those one block further.
struct StateGradient {
  const float* d;  // (rows, 4 hidden)
  std::int64_t stride, skip_from, skip;
  __device__ float operator()(std::int64_t row, std::int64_t column) const {
    return d[row * stride + column + (column >= skip_from ? skip : 0)];
  }
};

template <class Cell>
void backward(Stream& stream, const char* name, const RecurrentShape& s, const float* x, const float* w_ih, const float* w_hh,
              const float* gates, const float* cells, const float* y, const float* dy, float* dx, float* dw_ih, float* dw_hh,
              float* db_ih, float* db_hh) {
  const std::int64_t h = s.hidden, columns = Cell::blocks * h, rows = s.steps * s.rows, weights = packed_floats(h, Cell::blocks);
  if (rows == 0) return;
  const std::int64_t past = rows - s.rows;  // rows that have a step before them
  const std::int64_t shared = std::max({gemm_workspace(stream, rows, s.in, columns), gemm_workspace(stream, columns, s.in, rows),
                                        gemm_workspace(stream, columns, h, past), gemm_workspace(stream, 2 * h, h, past),
                                        gemm_workspace(stream, h, h, past), column_sum_workspace(rows, columns)});
  auto* packed = static_cast<float*>(stream.scratch(static_cast<std::size_t>(weights + rows * 4 * h + shared) * sizeof(float)));
  float *d = packed + weights, *workspace = d + rows * 4 * h;
  with_rows(s.rows, [&](auto together) {
    constexpr int r = decltype(together)::value;
    launch_walk(stream, name, s, Cell::blocks, true, r, WalkMemory<r, 4>::floats(h, columns), w_hh, packed,
                walk_backward_kernel<Cell, r>, gates, cells, y, dy, d);
  });
  if (dx != nullptr)
    gemm(stream, name, false, false,
         {.m = rows, .n = s.in, .k = columns, .a = d, .b = w_ih, .a_stride = 4 * h, .c = dx, .workspace = workspace});
  if (dw_ih != nullptr)
    gemm(stream, name, true, false,
         {.m = columns,
          .n = s.in,
          .k = rows,
          .a = d,
          .b = x,
          .a_stride = 4 * h,
          .beta = 1.0f,
          .c = dw_ih,
          .workspace = workspace});
  if (dw_hh != nullptr && past > 0) {
    // d of each step beside y of the step before.
    const float *after = s.reverse ? d : d + s.rows * 4 * h, *before = s.reverse ? y + s.rows * h : y;
    const auto product = [&](std::int64_t block, std::int64_t blocks, std::int64_t to) {
      gemm(stream, name, true, false,
           {.m = blocks * h,
            .n = h,
            .k = past,
            .a = after + block * h,
            .b = before,
            .a_stride = 4 * h,
            .beta = 1.0f,
            .c = dw_hh + to * h * h,
            .workspace = workspace});
    };
    constexpr bool in_line = Cell::hidden_block(Cell::blocks - 1) == Cell::blocks - 1;
    product(0, in_line ? Cell::blocks : 2, 0);
    if (!in_line) product(Cell::hidden_block(2), 1, 2);
  }
  const std::int64_t last = Cell::blocks - 1;
  if (db_ih != nullptr) column_sum(stream, name, rows, columns, StateGradient{d, 4 * h, columns, 0}, true, db_ih, workspace);
  if (db_hh != nullptr)
    column_sum(stream, name, rows, columns, StateGradient{d, 4 * h, last * h, (Cell::hidden_block(2) - 2) * h}, true, db_hh,
               workspace);
}

void lstm_forward(Stream& stream, const RecurrentShape& s, const float* x, const float* w_ih, const float* w_hh,
                  const float* b_ih, const float* b_hh, float* gates, float* cells, float* y) {
  forward<LstmCell>(stream, "lstm.forward", s, x, w_ih, w_hh, b_ih, b_hh, gates, cells, y);
}

void lstm_backward(Stream& stream, const RecurrentShape& s, const float* x, const float* w_ih, const float* w_hh,
                   const float* gates, const float* cells, const float* y, const float* dy, float* dx, float* dw_ih, float* dw_hh,
                   float* db_ih, float* db_hh) {
  backward<LstmCell>(stream, "lstm.backward", s, x, w_ih, w_hh, gates, cells, y, dy, dx, dw_ih, dw_hh, db_ih, db_hh);
}

void gru_forward(Stream& stream, const RecurrentShape& s, const float* x, const float* w_ih, const float* w_hh, const float* b_ih,
                 const float* b_hh, float* gates, float* y) {
  forward<GruCell>(stream, "gru.forward", s, x, w_ih, w_hh, b_ih, b_hh, gates, nullptr, y);
}

void gru_backward(Stream& stream, const RecurrentShape& s, const float* x, const float* w_ih, const float* w_hh,
                  const float* gates, const float* y, const float* dy, float* dx, float* dw_ih, float* dw_hh, float* db_ih,
                  float* db_hh) {
  backward<GruCell>(stream, "gru.backward", s, x, w_ih, w_hh, gates, nullptr, y, dy, dx, dw_ih, dw_hh, db_ih, db_hh);
}

}  // namespace

template <>
void register_recurrent<this_device>() {
  KernelTable<LstmKernels>::instance().add(this_device, "cuda", 10, {lstm_forward, lstm_backward});
  KernelTable<GruKernels>::instance().add(this_device, "cuda", 10, {gru_forward, gru_backward});
}

}  // namespace retort
