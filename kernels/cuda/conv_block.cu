// Convolution, normalisation, ReLU and max pooling in one launch. Contract: kernels/conv_block.h.
//
// MTL-net's blocks are 1 x S, stride 1, pooled in pairs: only the lines under a window are computed, `lines` = N * OH of them. A
// block makes 16 output channels of one line. A thread holds 4 channels x 4 positions (conv_line.cuh): each two neighbours make
// one result, so what leaves its registers is 4 x 2. The normalisation is one multiply-add before the maximum, with scale and
// shift that a block works out from the running statistics once. Other shapes: one result a thread, straight from the formula.
#include "retort/kernels/conv_block.h"

#include "retort/kernels/cuda/all.h"
#include "retort/kernels/cuda/block.cuh"
#include "retort/kernels/cuda/conv_line.cuh"
#include "retort/kernels/registry.h"

namespace retort {
namespace {

constexpr int line_groups = 16;  // groups of 4 positions a block, at most
constexpr int line_positions = 4 * line_groups;

/// What a block's channels are multiplied with and moved by.
struct Affine {
  const float *bias, *gamma, *beta, *mean, *var;
  float eps;

  __device__ float2 of(std::int64_t k) const {
    const float b = bias == nullptr ? 0.0f : bias[k];
    if (gamma == nullptr) return make_float2(1.0f, b);
    const float scale = gamma[k] / sqrtf(var[k] + eps);
    return make_float2(scale, fmaf(b - mean[k], scale, beta[k]));
  }
};

/// The larger, NaN if one of them is.
__device__ inline float larger(float a, float b) { return b > a || b != b ? b : a; }
__device__ inline float relu(float a) { return a < 0.0f ? 0.0f : a; }

/// x: (N, inputs, height, in_width), y: (N, outputs, out_height, out_width) after pooling.
struct LineShape {
  int inputs, outputs, height, in_width, out_height, out_width, row_stride;
};

/// Grid and block: line_blocks.
template <int S>
__global__ void __launch_bounds__(line_groups * 4 * line_shares, 1)
    line_kernel(const LineShape p, int lines, const float* x, const float* w, const Affine affine, float* y) {
  __shared__ LineMemory<S, line_positions> memory;
  __shared__ float2 affine_of[line_k];
  const int i0 = static_cast<int>(blockIdx.x * blockDim.x) * 4, k0 = static_cast<int>(blockIdx.y) * line_k;
  const int my_i = i0 + static_cast<int>(threadIdx.x) * 4, my_k = static_cast<int>(threadIdx.y) * 4;
  const std::int64_t channel_stride = static_cast<std::int64_t>(p.height) * p.in_width;
#pragma unroll 1
  for (int k = thread_of_block(); k < line_k; k += threads_of_block())
    if (k0 + k < p.outputs) affine_of[k] = affine.of(k0 + k);

  for (int line = static_cast<int>(blockIdx.z); line < lines; line += static_cast<int>(gridDim.z)) {
    const int n = line / p.out_height, row = line % p.out_height;
    const float* line_x = x + static_cast<std::int64_t>(n) * p.inputs * channel_stride +
                          static_cast<std::int64_t>(row) * p.row_stride * p.in_width + i0;
    float sum[4][4] = {};
    line_sums<S, false>(memory, {line_x, static_cast<int>(channel_stride), i0, p.in_width}, {w, p.inputs, p.outputs, k0}, sum);
#pragma unroll
    for (int q = 0; q < 4; ++q) {
      const int k = k0 + my_k + q;
      if (!finishes(q) || k >= p.outputs) continue;
      const float2 a = affine_of[my_k + q];
      float* to = y + ((static_cast<std::int64_t>(n) * p.outputs + k) * p.out_height + row) * p.out_width;
#pragma unroll
      for (int j = 0; j < 4; j += 2)
        if ((my_i + j) / 2 < p.out_width)
          to[(my_i + j) / 2] = relu(larger(fmaf(sum[q][j], a.x, a.y), fmaf(sum[q][j + 1], a.x, a.y)));
    }
    if (line + static_cast<int>(gridDim.z) < lines) __syncthreads();  // the shares' sums have been read
  }
}

template <int S>
void launch_line(Stream& stream, const LineShape& p, std::int64_t lines, const float* x, const float* w, const Affine& affine,
                 float* y) {
  const auto [grid, block] = line_blocks(ceil_div(p.out_width, 2), line_groups, p.inputs, p.outputs, lines);
  launch({stream, "conv_block.forward", grid, block}, line_kernel<S>, p, lines, x, w, affine, y);
}

// ---- any shape

struct BlockShape {
  std::int64_t n, c, h, w, k, r, s, stride_h, stride_w, pad_h, pad_w;
  std::int64_t pool_h, pool_w, pool_stride_h, pool_stride_w, oh, ow;
};

__device__ inline float convolve(const BlockShape& p, const float* x, const float* w, std::int64_t top, std::int64_t left) {
  float sum = 0.0f;
  for (std::int64_t c = 0; c < p.c; ++c)
    for (std::int64_t r = 0; r < p.r; ++r) {
      if (top + r < 0 || top + r >= p.h) continue;
      for (std::int64_t s = 0; s < p.s; ++s)
        if (left + s >= 0 && left + s < p.w) sum = fmaf(x[(c * p.h + top + r) * p.w + left + s], w[(c * p.r + r) * p.s + s], sum);
    }
  return sum;
}

__global__ void __launch_bounds__(256)
    block_kernel(const BlockShape p, const float* x, const float* w, const Affine affine, float* y) {
  const std::int64_t at = global_thread();
  if (at >= p.n * p.k * p.oh * p.ow) return;
  const std::int64_t ow = at % p.ow, oh = at / p.ow % p.oh, k = at / (p.ow * p.oh) % p.k, n = at / (p.ow * p.oh * p.k);
  const float2 a = affine.of(k);
  float best = 0.0f;  // what a ReLU leaves at least
  for (std::int64_t r = 0; r < p.pool_h; ++r)
    for (std::int64_t s = 0; s < p.pool_w; ++s) {
      const std::int64_t top = (oh * p.pool_stride_h + r) * p.stride_h - p.pad_h;
      const std::int64_t left = (ow * p.pool_stride_w + s) * p.stride_w - p.pad_w;
      best = larger(best, fmaf(convolve(p, x + n * p.c * p.h * p.w, w + k * p.c * p.r * p.s, top, left), a.x, a.y));
    }
  y[at] = best;
}

bool is_line(const ConvBlockShape& z) {
  const Conv2dShape& p = z.conv;
  return p.c > 0 && p.r == 1 && (p.s == 3 || p.s == 5 || p.s == 9) && p.stride_h == 1 && p.stride_w == 1 && p.pad_h == 0 &&
         p.pad_w == 0 && z.pool_h == 1 && z.pool_w == 2 && z.pool_stride_w == 2 && p.w < (1 << 24) && p.k <= 65535 * line_k;
}

void forward(Stream& stream, const ConvBlockShape& z, const float* x, const float* w, const float* b,
             const BatchNormState<float>& norm, float* y) {
  const Conv2dShape& p = z.conv;
  const std::int64_t outputs = p.n * p.k * z.oh() * z.ow();
  if (outputs == 0) return;
  const Affine affine{b, norm.gamma, norm.beta, norm.mean, norm.var, z.eps};
  if (!is_line(z)) {
    const BlockShape shape{p.n,
                           p.c,
                           p.h,
                           p.w,
                           p.k,
                           p.r,
                           p.s,
                           p.stride_h,
                           p.stride_w,
                           p.pad_h,
                           p.pad_w,
                           z.pool_h,
                           z.pool_w,
                           z.pool_stride_h,
                           z.pool_stride_w,
                           z.oh(),
                           z.ow()};
    launch({stream, "conv_block.forward", dim3(count(ceil_div(outputs, 256))), dim3(256)}, block_kernel, shape, x, w, affine, y);
    return;
  }
  const auto as = [](std::int64_t i) { return static_cast<int>(i); };
  const LineShape line{as(p.c), as(p.k), as(p.h), as(p.w), as(z.oh()), as(z.ow()), as(z.pool_stride_h)};
  switch (p.s) {
    case 3:
      return launch_line<3>(stream, line, p.n * z.oh(), x, w, affine, y);
    case 5:
      return launch_line<5>(stream, line, p.n * z.oh(), x, w, affine, y);
    default:
      return launch_line<9>(stream, line, p.n * z.oh(), x, w, affine, y);
  }
}

}  // namespace

template <>
void register_conv_block<this_device>() {
  KernelTable<ConvBlockKernels>::instance().add(this_device, "cuda", 10, {forward});
}

}  // namespace retort
