// Convolution, normalisation, ReLU and pooling in one pass, for any shape: the rows under one row of pooling windows are spread
// out (im2col) for a few samples at once, multiplied, and pooled while they are in the cache.
#include "retort/kernels/conv_block.h"

#include "retort/kernels/cpu/eigen.h"
#include "retort/kernels/cpu/gemm.h"
#include "retort/kernels/cpu/max_pool_plane.h"
#include "retort/kernels/cpu/register.h"
#include "retort/kernels/thread_team.h"

#include <algorithm>

namespace retort::eigen {
namespace {

constexpr std::int64_t tile_floats = 64 * 1024;  // columns of one tile: 256 KB
constexpr std::int64_t most_groups = 16;         // tasks a row of windows

constexpr std::int64_t round(std::int64_t n) { return (n + 15) / 16 * 16; }

/// One row of windows in a few samples.
struct Strip {
  std::int64_t row, n, samples;
};

/// columns (C*R*S, samples * pool_h * OW): what each tap of the kernel sees.
void spread(const ConvBlockShape& z, const float* x, const Strip& at, float* columns) {
  const Conv2dShape& conv = z.conv;
  const std::int64_t ow = conv.ow(), plane = conv.h * conv.w;
  for (std::int64_t c = 0; c < conv.c; ++c)
    for (std::int64_t r = 0; r < conv.r; ++r)
      for (std::int64_t s = 0; s < conv.s; ++s)
        for (std::int64_t n = at.n; n < at.n + at.samples; ++n)
          for (std::int64_t q = 0; q < z.pool_h; ++q, columns += ow) {
            const std::int64_t ih = (at.row * z.pool_stride_h + q) * conv.stride_h - conv.pad_h + r;
            const float* from = x + (n * conv.c + c) * plane + ih * conv.w;
            const bool outside = ih < 0 || ih >= conv.h;
            std::int64_t i = 0, iw = s - conv.pad_w;
            if (!outside && conv.stride_w == 1 && iw >= 0 && iw + ow <= conv.w)
              std::copy(from + iw, from + iw + ow, columns);
            else
              for (; i < ow; ++i, iw += conv.stride_w) columns[i] = outside || iw < 0 || iw >= conv.w ? 0.0f : from[iw];
          }
}

/// relu(scale * v + shift), in place, and the maximum over the windows of one row; rows: pool_h of them, OW apart.
void pool(const ConvBlockShape& z, float* rows, float scale, float shift, float* y) {
  const MaxPool2dShape windows{1, 1, z.pool_h, z.conv.ow(), z.pool_h, z.pool_w, z.pool_h, z.pool_stride_w};
  const std::int64_t n = z.pool_h * z.conv.ow();
  for (std::int64_t i = 0; i < n; ++i) {
    const float value = scale * rows[i] + shift;
    rows[i] = value < 0 ? 0.0f : value;  // NaN stays NaN
  }
  plane_function<false>(windows)(windows, rows, y, nullptr);
}

void forward(Stream& stream, const ConvBlockShape& z, const float* x, const float* w, const float* b,
             const BatchNormState<float>& norm, float* y) {
  const Conv2dShape& conv = z.conv;
  const std::int64_t depth = conv.c * conv.r * conv.s, width = z.pool_h * conv.ow(), oh = z.oh(), ow = z.ow();
  const std::int64_t groups = std::min(conv.n, most_groups);
  const std::int64_t tile = std::max<std::int64_t>(
      1, std::min(tile_floats / std::max<std::int64_t>(1, depth * width), (conv.n + most_groups - 1) / most_groups));
  const std::int64_t columns_size = round(depth * tile * width), own = columns_size + round(conv.k * tile * width);
  ThreadTeam& team = stream.threads();
  auto* affine =
      static_cast<float*>(stream.scratch(static_cast<std::size_t>(round(2 * conv.k) + team.size() * own) * sizeof(float)));
  float* buffers = affine + round(2 * conv.k);
  for (std::int64_t k = 0; k < conv.k; ++k) {
    const ChannelAffine<float> at(b, norm, z.eps, k);
    affine[2 * k] = static_cast<float>(at.scale), affine[2 * k + 1] = static_cast<float>(at.shift);
  }
  team.run(groups * oh, [&](std::int64_t task, int thread) {
    float *columns = buffers + thread * own, *planes = columns + columns_size;
    const std::int64_t group = task / oh, row = task % oh, end = (group + 1) * conv.n / groups;
    for (std::int64_t n = group * conv.n / groups; n < end; n += tile) {
      const std::int64_t samples = std::min(tile, end - n), all = samples * width;
      spread(z, x, {row, n, samples}, columns);
      gemm(conv.k, all, depth, {w, depth}, {columns, all}, planes, all, Write::overwrite);
      for (std::int64_t t = 0; t < samples; ++t)
        for (std::int64_t k = 0; k < conv.k; ++k)
          pool(z, planes + k * all + t * width, affine[2 * k], affine[2 * k + 1], y + (((n + t) * conv.k + k) * oh + row) * ow);
    }
  });
}

}  // namespace

void register_conv_block() { add(ConvBlockKernels{forward}); }

}  // namespace retort::eigen
