// 2-D convolution. Contract and work: kernels/conv2d.h.
//
// MTL-net's convolutions are 1 high, stride 1: every row of the image is a line of its own, `lines` = N*H of them, and
//   y[k, i] = b[k] + sum_{c,s} w[k,c,s] x[c, i - pad + s]
// A block makes 16 output channels of one line (up to 128 positions) as conv_line.cuh has it. dx is the same sum with the
// channels' roles swapped, the taps reversed and pad S - 1 - pad, so it is the same kernel.
//   dw[k,c,s] = sum over lines and positions of dy[k, i] x[c, i - pad + s]
// A thread has one (k, c) and its S sums in registers, and db falls off; up to four groups of threads share a line's positions,
// blocks share the lines, and a second kernel adds up what the blocks have. Everything else (R > 1, strides, vertical padding,
// other S) goes through plain kernels, one output a thread. With Stream::tf32 all of it is matrix products on tensor cores
// (conv2d_gemm.cuh).
#include "retort/kernels/conv2d.h"

#include "retort/kernels/cuda/all.h"
#include "retort/kernels/cuda/block.cuh"
#include "retort/kernels/cuda/conv2d_gemm.cuh"
#include "retort/kernels/cuda/conv_line.cuh"
#include "retort/kernels/registry.h"

namespace retort {
namespace {

// ---- 1 x S, stride 1

constexpr int line_groups = 32;  // groups of 4 positions a block, at most
constexpr int line_positions = 4 * line_groups;

/// Lines of `inputs` channels to lines of `outputs` channels. Planes: element (n, channel, h, i) at ((n*channels +
/// channel)*h_count + h)*width + i.
struct LineShape {
  int inputs, outputs, height, in_width, out_width, pad;
};

/// Grid and block: line_blocks. `reversed`: how w lies, see LineWeights.
template <int S, bool reversed>
__global__ void __launch_bounds__(line_groups * 4 * line_shares, 1)
    line_kernel(const LineShape p, int lines, const float* x, const float* w, const float* bias, float* y) {
  __shared__ LineMemory<S, line_positions> memory;
  __shared__ float bias_of[line_k];
  const int i0 = static_cast<int>(blockIdx.x * blockDim.x) * 4, k0 = static_cast<int>(blockIdx.y) * line_k;
  const int my_i = i0 + static_cast<int>(threadIdx.x) * 4, my_k = static_cast<int>(threadIdx.y) * 4;
  const std::int64_t channel_stride = static_cast<std::int64_t>(p.height) * p.in_width;
#pragma unroll 1
  for (int k = thread_of_block(); k < line_k; k += threads_of_block())
    bias_of[k] = bias != nullptr && k0 + k < p.outputs ? bias[k0 + k] : 0.0f;

  for (int line = static_cast<int>(blockIdx.z); line < lines; line += static_cast<int>(gridDim.z)) {
    const int n = line / p.height, h = line % p.height;
    const float* line_x = x + static_cast<std::int64_t>(n) * p.inputs * channel_stride + h * p.in_width + i0 - p.pad;
    float sum[4][4] = {};
    line_sums<S, reversed>(memory, {line_x, static_cast<int>(channel_stride), i0 - p.pad, p.in_width},
                           {w, p.inputs, p.outputs, k0}, sum);
#pragma unroll
    for (int q = 0; q < 4; ++q) {
      const int k = k0 + my_k + q;
      if (!finishes(q) || k >= p.outputs) continue;
      const float b = bias_of[my_k + q];
      float* to = y + ((static_cast<std::int64_t>(n) * p.outputs + k) * p.height + h) * p.out_width + my_i;
#pragma unroll
      for (int j = 0; j < 4; ++j)
        if (my_i + j < p.out_width) to[j] = sum[q][j] + b;
    }
    if (line + static_cast<int>(gridDim.z) < lines) __syncthreads();  // the shares' sums have been read
  }
}

template <int S, bool reversed>
void launch_line(Stream& stream, const char* name, const LineShape& p, std::int64_t lines, const float* x, const float* w,
                 const float* bias, float* y) {
  const auto [grid, block] = line_blocks(ceil_div(p.out_width, 4), line_groups, p.inputs, p.outputs, lines);
  launch({stream, name, grid, block}, line_kernel<S, reversed>, p, lines, x, w, bias, y);
}

template <bool reversed>
void line_conv(Stream& stream, const char* name, std::int64_t s, const LineShape& p, std::int64_t lines, const float* x,
               const float* w, const float* bias, float* y) {
  switch (s) {
    case 3:
      return launch_line<3, reversed>(stream, name, p, lines, x, w, bias, y);
    case 5:
      return launch_line<5, reversed>(stream, name, p, lines, x, w, bias, y);
    default:
      return launch_line<9, reversed>(stream, name, p, lines, x, w, bias, y);
  }
}

constexpr int dw_width = 8;  // positions a thread handles at once
constexpr int dw_threads = 384;

/// to[i] for i < length: from[i] where first <= i < first + width, else 0. By the threads `lane` of `lanes`.
__device__ inline void copy_row(float* to, int length, const float* from, int first, int width, int lane, int lanes) {
  constexpr int together = 4;  // loads on their way
  for (int i0 = lane; i0 < length; i0 += together * lanes) {
    float values[together];
#pragma unroll
    for (int j = 0; j < together; ++j) {
      const int i = i0 + j * lanes;
      values[j] = i < length && static_cast<unsigned>(i - first) < static_cast<unsigned>(width) ? from[i] : 0.0f;
    }
#pragma unroll
    for (int j = 0; j < together; ++j)
      if (const int i = i0 + j * lanes; i < length) to[i] = values[j];
  }
}

/// A thread's sums: those of one (k, c), and dy's of k.
template <int S>
struct DwSums {
  float dw[S] = {}, db = 0.0f;

  /// row_x: dw_width + S - 1 inputs, row_dy: dw_width gradients.
  __device__ void add(const float* row_x, const float* row_dy) {
    float window[dw_width + S - 1];
#pragma unroll
    for (int j = 0; j < dw_width + S - 1; ++j) window[j] = row_x[j];
#pragma unroll
    for (int j = 0; j < dw_width; ++j) {
      const float g = row_dy[j];
      db += g;
#pragma unroll
      for (int s = 0; s < S; ++s) dw[s] = fmaf(g, window[j + s], dw[s]);
    }
  }

  /// Adds up those of all shares (threadIdx.z), in their order, in share 0. Every thread of the block calls it; nobody may still
  /// read `memory`.
  __device__ void add_shares(float* memory) {
    const int of_share = static_cast<int>(blockDim.x * blockDim.y), shares = static_cast<int>(blockDim.z);
    if (shares == 1) return;
    // Share z's begin at (z - 1) (S + 1) of_share.
    float* kept = memory + threadIdx.y * blockDim.x + threadIdx.x;
    if (threadIdx.z > 0) {
      float* mine = kept + (static_cast<int>(threadIdx.z) - 1) * (S + 1) * of_share;
#pragma unroll
      for (int s = 0; s < S; ++s) mine[s * of_share] = dw[s];
      mine[S * of_share] = db;
    }
    __syncthreads();
    if (threadIdx.z > 0) return;
    for (int z = 1; z < shares; ++z, kept += (S + 1) * of_share) {
#pragma unroll
      for (int s = 0; s < S; ++s) dw[s] += kept[s * of_share];
      db += kept[S * of_share];
    }
  }
};

/// Block (c tile, k tile, shares of the positions), grid (c tiles, k tiles, parts of the lines). partial: (parts, K C S + K),
/// dw's sums and then db's. A line's x and dy tiles are in dynamic shared memory, rows of odd length so that threads of a warp
/// meet different banks.
template <int S>
__global__ void __launch_bounds__(dw_threads)
    line_dw_kernel(const LineShape p, int lines, int lines_per_part, const float* x, const float* dy, float* partial) {
  const int tile_c = static_cast<int>(blockDim.x), tile_k = static_cast<int>(blockDim.y);
  const int positions = (p.out_width + dw_width - 1) / dw_width * dw_width;
  const int x_row = (positions + S - 1) | 1, dy_row = positions | 1;
  float* tile_x = dynamic_shared<float>();
  float* tile_dy = tile_x + tile_c * x_row;
  const int c0 = static_cast<int>(blockIdx.x) * tile_c, k0 = static_cast<int>(blockIdx.y) * tile_k;
  const int begin = static_cast<int>(blockIdx.z) * lines_per_part,
            end = begin + lines_per_part < lines ? begin + lines_per_part : lines;
  // A row is fetched by 16 threads where their four loads each are enough (56 positions and S - 1 beside them), else by 32.
  const int threads = threads_of_block(), wanted = positions > 56 ? 32 : 16, lanes = threads < wanted ? threads : wanted;
  const int groups = threads / lanes, group = thread_of_block() / lanes, lane = thread_of_block() % lanes;
  const std::int64_t x_stride = static_cast<std::int64_t>(p.height) * p.in_width,
                     dy_stride = static_cast<std::int64_t>(p.height) * p.out_width;

  DwSums<S> sum;
  for (int line = begin; line < end; ++line) {
    const int n = line / p.height, h = line % p.height;
    const float* line_x = x + (static_cast<std::int64_t>(n) * p.inputs + c0) * x_stride + h * p.in_width - p.pad;
    const float* line_dy = dy + (static_cast<std::int64_t>(n) * p.outputs + k0) * dy_stride + h * p.out_width;
    // Rows of x, then those of dy; one call, so that a warp with rows of both does not wait twice.
    for (int row = group; group < groups && row < tile_c + tile_k; row += groups) {
      const bool of_x = row < tile_c;
      const int r = of_x ? row : row - tile_c;
      const bool inside = of_x ? c0 + r < p.inputs : k0 + r < p.outputs;
      copy_row(of_x ? tile_x + r * x_row : tile_dy + r * dy_row, of_x ? x_row : dy_row,
               of_x ? line_x + r * x_stride : line_dy + r * dy_stride, of_x ? p.pad : 0,
               inside ? (of_x ? p.in_width : p.out_width) : 0, lane, lanes);
    }
    __syncthreads();
    for (int i = static_cast<int>(threadIdx.z) * dw_width; i < positions; i += static_cast<int>(blockDim.z) * dw_width)
      sum.add(tile_x + threadIdx.x * x_row + i, tile_dy + threadIdx.y * dy_row + i);
    __syncthreads();
  }
  sum.add_shares(tile_x);
  const int c = c0 + static_cast<int>(threadIdx.x), k = k0 + static_cast<int>(threadIdx.y);
  if (threadIdx.z > 0 || c >= p.inputs || k >= p.outputs) return;
  const std::int64_t weights = static_cast<std::int64_t>(p.outputs) * p.inputs * S;
  float* to = partial + blockIdx.z * (weights + p.outputs);
#pragma unroll
  for (int s = 0; s < S; ++s) to[(static_cast<std::int64_t>(k) * p.inputs + c) * S + s] = sum.dw[s];
  if (c == 0) to[weights + k] = sum.db;
}

/// Adds the parts' sums to dw (weights) and db (channels). 32 of them a block in threadIdx.x, 8 parts at a time in threadIdx.y.
__global__ void __launch_bounds__(256) add_parts_kernel(std::int64_t parts, std::int64_t weights, std::int64_t channels,
                                                        const float* partial, float* dw, float* db) {
  __shared__ float sums[8][33];
  const std::int64_t at = static_cast<std::int64_t>(blockIdx.x) * 32 + threadIdx.x, of_part = weights + channels;
  const float total = column_total(at, of_part, threadIdx.y, parts, RowsOf{partial, of_part}, sums);
  if (threadIdx.y != 0 || at >= of_part) return;
  if (at < weights)
    dw[at] += total;
  else if (db != nullptr)
    db[at - weights] += total;
}

/// The block of line_dw_kernel.
struct DwTiles {
  std::int64_t c, k, shares;
  std::size_t shared_bytes;
};

DwTiles dw_tiles(const LineShape& p, std::int64_t s) {
  const std::int64_t positions = ceil_div(p.out_width, dw_width) * dw_width;
  DwTiles t{std::min<std::int64_t>(p.inputs, 16), 16, 1, 0};
  if (t.c < 8) t.k = 32;
  t.k = std::min<std::int64_t>(t.k, p.outputs);
  t.shares = std::clamp<std::int64_t>(std::min(positions / dw_width, dw_threads / (t.c * t.k)), 1, 4);
  const std::int64_t tiles = t.c * ((positions + s - 1) | 1) + t.k * (positions | 1), sums = (t.shares - 1) * (s + 1) * t.c * t.k;
  t.shared_bytes = static_cast<std::size_t>(std::max(tiles, sums)) * sizeof(float);
  return t;
}

template <int S>
void launch_line_dw(Stream& stream, const LineShape& p, std::int64_t lines, const float* x, const float* dy, float* dw,
                    float* db) {
  const char* name = "conv2d.backward.dw";
  constexpr std::int64_t enough_blocks = 264;  // two for each of an H100's multiprocessors, on every GPU
  const DwTiles tile = dw_tiles(p, S);
  const std::int64_t c_tiles = ceil_div(p.inputs, tile.c), k_tiles = ceil_div(p.outputs, tile.k);
  const std::int64_t parts = std::clamp<std::int64_t>(ceil_div(enough_blocks, c_tiles * k_tiles), 1, lines);
  const std::int64_t lines_per_part = ceil_div(lines, parts), used = ceil_div(lines, lines_per_part);
  const std::int64_t weights = static_cast<std::int64_t>(p.outputs) * p.inputs * S, of_part = weights + p.outputs;
  auto* partial = static_cast<float*>(stream.scratch(static_cast<std::size_t>(used * of_part) * sizeof(float)));
  launch({stream, name, dim3(count(c_tiles), count(k_tiles), count(used)), dim3(count(tile.c), count(tile.k), count(tile.shares)),
          tile.shared_bytes},
         line_dw_kernel<S>, p, lines, lines_per_part, x, dy, partial);
  launch({stream, name, dim3(count(ceil_div(of_part, 32))), dim3(32, 8)}, add_parts_kernel, used, weights, p.outputs, partial, dw,
         db);
}

// ---- any shape

ConvShape with_outputs(const Conv2dShape& p) {
  return {p.n, p.c, p.h, p.w, p.k, p.r, p.s, p.stride_h, p.stride_w, p.pad_h, p.pad_w, p.oh(), p.ow()};
}

/// One output a thread.
__global__ void __launch_bounds__(256)
    conv_kernel(const ConvShape p, const float* x, const float* w, const float* bias, float* y) {
  const std::int64_t at = global_thread();
  if (at >= p.n * p.k * p.oh * p.ow) return;
  const std::int64_t ow = at % p.ow, oh = at / p.ow % p.oh, k = at / (p.ow * p.oh) % p.k, n = at / (p.ow * p.oh * p.k);
  float sum = bias == nullptr ? 0.0f : bias[k];
  for (std::int64_t c = 0; c < p.c; ++c)
    for (std::int64_t r = 0; r < p.r; ++r) {
      const std::int64_t h = oh * p.stride_h - p.pad_h + r;
      if (h < 0 || h >= p.h) continue;
      for (std::int64_t s = 0; s < p.s; ++s) {
        const std::int64_t i = ow * p.stride_w - p.pad_w + s;
        if (i >= 0 && i < p.w) sum = fmaf(x[((n * p.c + c) * p.h + h) * p.w + i], w[((k * p.c + c) * p.r + r) * p.s + s], sum);
      }
    }
  y[at] = sum;
}

/// One input element a thread: gathers from the outputs that saw it, so nothing is added atomically.
__global__ void __launch_bounds__(256) conv_dx_kernel(const ConvShape p, const float* w, const float* dy, float* dx) {
  const std::int64_t at = global_thread();
  if (at >= p.n * p.c * p.h * p.w) return;
  const std::int64_t i = at % p.w, h = at / p.w % p.h, c = at / (p.w * p.h) % p.c, n = at / (p.w * p.h * p.c);
  float sum = 0.0f;
  for (std::int64_t r = 0; r < p.r; ++r) {
    const std::int64_t up = h + p.pad_h - r, oh = up / p.stride_h;
    if (up < 0 || up % p.stride_h != 0 || oh >= p.oh) continue;
    for (std::int64_t s = 0; s < p.s; ++s) {
      const std::int64_t left = i + p.pad_w - s, ow = left / p.stride_w;
      if (left < 0 || left % p.stride_w != 0 || ow >= p.ow) continue;
      for (std::int64_t k = 0; k < p.k; ++k)
        sum = fmaf(dy[((n * p.k + k) * p.oh + oh) * p.ow + ow], w[((k * p.c + c) * p.r + r) * p.s + s], sum);
    }
  }
  dx[at] = sum;
}

/// One weight a warp; the lanes share the positions.
__global__ void __launch_bounds__(256) conv_dw_kernel(const ConvShape p, const float* x, const float* dy, float* dw) {
  const std::int64_t at = global_thread() / 32, lane = threadIdx.x % 32;
  if (at >= p.k * p.c * p.r * p.s) return;
  const std::int64_t s = at % p.s, r = at / p.s % p.r, c = at / (p.s * p.r) % p.c, k = at / (p.s * p.r * p.c);
  float sum = 0.0f;
  for (std::int64_t e = lane; e < p.n * p.oh * p.ow; e += 32) {
    const std::int64_t ow = e % p.ow, oh = e / p.ow % p.oh, n = e / (p.ow * p.oh);
    const std::int64_t h = oh * p.stride_h - p.pad_h + r, i = ow * p.stride_w - p.pad_w + s;
    if (h >= 0 && h < p.h && i >= 0 && i < p.w)
      sum = fmaf(dy[((n * p.k + k) * p.oh + oh) * p.ow + ow], x[((n * p.c + c) * p.h + h) * p.w + i], sum);
  }
  sum = warp_sum(sum);
  if (lane == 0) dw[at] += sum;
}

/// db[k] += sum of dy over samples and positions: one block a channel. dy: (N, K, positions).
__global__ void __launch_bounds__(256)
    conv_db_kernel(std::int64_t n, std::int64_t channels, std::int64_t positions, const float* dy, float* db) {
  __shared__ float warps[8];
  const std::int64_t k = blockIdx.x;
  float sum = 0.0f;
  for (ChannelWalk at(n, channels, positions, k); at.inside(); at.next()) sum += dy[at.index];
  sum = block_sum(sum, warps);
  if (threadIdx.x == 0) db[k] += sum;
}

// ---- launchers

LineShape line_shape(const Conv2dShape& p) {
  return {static_cast<int>(p.c), static_cast<int>(p.k),    static_cast<int>(p.h),
          static_cast<int>(p.w), static_cast<int>(p.ow()), static_cast<int>(p.pad_w)};
}

bool is_line(const Conv2dShape& p) {
  return p.c > 0 && p.r == 1 && (p.s == 3 || p.s == 5 || p.s == 9) && p.stride_h == 1 && p.stride_w == 1 && p.pad_h == 0 &&
         p.pad_w < p.s && p.w < (1 << 24) && p.c <= 65535 * line_k && p.k <= 65535 * line_k &&
         p.n * p.h < (std::int64_t{1} << 31) && p.h * p.w * p.c < (std::int64_t{1} << 31);
}

bool on_tensor_cores(const Stream& stream, const Conv2dShape& p) {
  if (!stream.tf32() || !fits_implicit_gemm(with_outputs(p))) return false;
  require_tensor_cores();
  return true;
}

void conv2d_forward(Stream& stream, const Conv2dShape& p, const float* x, const float* w, const float* b, float* y) {
  const std::int64_t outputs = p.n * p.k * p.oh() * p.ow();
  if (outputs == 0) return;
  const std::int64_t taps = p.c * p.r * p.s;
  if (on_tensor_cores(stream, p))
    launch_gemm<TensorTile>(stream, "conv2d.forward", ConvForward{with_outputs(p), x, w, b, y, p.k, p.n * p.oh() * p.ow(), taps});
  else if (is_line(p))
    line_conv<false>(stream, "conv2d.forward", p.s, line_shape(p), p.n * p.h, x, w, b, y);
  else
    launch({stream, "conv2d.forward", dim3(count(ceil_div(outputs, 256))), dim3(256)}, conv_kernel, with_outputs(p), x, w, b, y);
}

void backward_dx(Stream& stream, const Conv2dShape& p, const float* w, const float* dy, float* dx) {
  const char* name = "conv2d.backward.dx";
  if (on_tensor_cores(stream, p)) {
    launch_gemm<TensorTile>(stream, name, ConvInputGradient{with_outputs(p), w, dy, dx, p.c, p.n * p.h * p.w, p.k * p.r * p.s});
    return;
  }
  if (is_line(p)) {
    const LineShape forward = line_shape(p);
    const LineShape swapped{forward.outputs,   forward.inputs,   forward.height,
                            forward.out_width, forward.in_width, static_cast<int>(p.s - 1 - p.pad_w)};
    line_conv<true>(stream, name, p.s, swapped, p.n * p.h, dy, w, nullptr, dx);
    return;
  }
  launch({stream, name, dim3(count(ceil_div(p.n * p.c * p.h * p.w, 256))), dim3(256)}, conv_dx_kernel, with_outputs(p), w, dy,
         dx);
}

void backward_db(Stream& stream, const Conv2dShape& p, const float* dy, float* db) {
  launch({stream, "conv2d.backward.db", dim3(count(p.k)), dim3(256)}, conv_db_kernel, p.n, p.k, p.oh() * p.ow(), dy, db);
}

/// And db, if it is not null.
void backward_dw(Stream& stream, const Conv2dShape& p, const float* x, const float* dy, float* dw, float* db) {
  const LineShape line = line_shape(p);
  const bool tensor_cores = on_tensor_cores(stream, p);
  if (!tensor_cores && is_line(p) && dw_tiles(line, p.s).shared_bytes <= 48 * 1024) {
    switch (p.s) {
      case 3:
        return launch_line_dw<3>(stream, line, p.n * p.h, x, dy, dw, db);
      case 5:
        return launch_line_dw<5>(stream, line, p.n * p.h, x, dy, dw, db);
      default:
        return launch_line_dw<9>(stream, line, p.n * p.h, x, dy, dw, db);
    }
  }
  const std::int64_t weights = p.k * p.c * p.r * p.s;
  if (tensor_cores)
    launch_gemm<TensorTile>(stream, "conv2d.backward.dw",
                            ConvWeightGradient{with_outputs(p), x, dy, dw, p.k, p.c * p.r * p.s, p.n * p.oh() * p.ow()});
  else
    launch({stream, "conv2d.backward.dw", dim3(count(ceil_div(weights * 32, 256))), dim3(256)}, conv_dw_kernel, with_outputs(p),
           x, dy, dw);
  if (db != nullptr) backward_db(stream, p, dy, db);
}

void conv2d_backward(Stream& stream, const Conv2dShape& p, const float* x, const float* w, const float* dy, float* dx, float* dw,
                     float* db) {
  if (p.n * p.c * p.h * p.w == 0 || p.k == 0) return;
  if (dx != nullptr) backward_dx(stream, p, w, dy, dx);
  if (dw != nullptr)
    backward_dw(stream, p, x, dy, dw, db);
  else if (db != nullptr)
    backward_db(stream, p, dy, db);
}

}  // namespace

template <>
void register_conv2d<this_device>() {
  KernelTable<Conv2dKernels>::instance().add(this_device, "cuda", 10, {conv2d_forward, conv2d_backward});
}

}  // namespace retort
