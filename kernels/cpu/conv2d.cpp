// Convolution as a matrix product: a tile of samples is spread out into columns (im2col), so that
//
//   forward   y    (K, T*OH*OW)  = w  (K, C*R*S) * cols (C*R*S, T*OH*OW)
//   backward  dw^T (C*R*S, K)   += cols * dy^T (T*OH*OW, K)
//             cols (C*R*S, ...)  = w^T * dy, then added back onto the input (col2im)
//
// A tile is small enough for its columns to stay in the L2 cache between writing and reading them. Samples are dealt to a fixed
// number of groups; each group is one task with its own partial dw, and the partials are added in order: same bits for any
// number of threads.
#include "retort/kernels/conv2d.h"

#include "retort/kernels/cpu/eigen.h"
#include "retort/kernels/cpu/gemm.h"
#include "retort/kernels/cpu/register.h"
#include "retort/kernels/thread_team.h"

#include <algorithm>
#include <cstring>

namespace retort::eigen {
namespace {

constexpr std::int64_t most_groups = 16;
constexpr std::int64_t depth_rows = 16;          // of dw^T, added up by one task: a cache line in a row of dw
constexpr std::int64_t tile_floats = 96 * 1024;  // columns of one tile: 384 KB

/// The sizes that all parts of the kernel share, and how the scratch memory is laid out.
struct Plan {
  explicit Plan(const Conv2dShape& z)
      : depth(z.c * z.r * z.s),
        area(z.oh() * z.ow()),
        groups(std::min(z.n, most_groups)),
        tile(std::max<std::int64_t>(
            1, std::min(tile_floats / std::max<std::int64_t>(1, depth * area), (z.n + most_groups - 1) / most_groups))),
        columns_size(round(depth * tile * area)),
        planes_size(round(z.k * tile * area)) {}

  static std::int64_t round(std::int64_t n) { return (n + 15) / 16 * 16; }  // keeps every buffer on a cache line of its own

  std::int64_t group_begin(std::int64_t group, std::int64_t n) const { return group * n / groups; }

  std::int64_t depth, area;   ///< C*R*S and OH*OW: the columns' height, and their width for one sample
  std::int64_t groups, tile;  ///< tasks, and samples spread out at once
  std::int64_t columns_size, planes_size;
};

/// Output columns [first, last) whose tap s lies inside the input row.
struct Range {
  std::int64_t first, last;
};

Range inside(std::int64_t size, std::int64_t out, std::int64_t stride, std::int64_t pad, std::int64_t tap) {
  const std::int64_t first = pad > tap ? (pad - tap + stride - 1) / stride : 0;
  const std::int64_t last = size + pad - tap <= 0 ? 0 : (size + pad - tap - 1) / stride + 1;
  return {std::min(first, out), std::clamp(last, std::min(first, out), out)};
}

/// Calls visit(row of columns, range of ow, first input element) for each (c, r, s, oh) of one sample.
template <class Visit>
void for_each_strip(const Conv2dShape& z, Visit&& visit) {
  std::int64_t row = 0;
  for (std::int64_t c = 0; c < z.c; ++c)
    for (std::int64_t r = 0; r < z.r; ++r)
      for (std::int64_t s = 0; s < z.s; ++s, ++row) {
        const Range range = inside(z.w, z.ow(), z.stride_w, z.pad_w, s);
        for (std::int64_t oh = 0; oh < z.oh(); ++oh) {
          const std::int64_t ih = oh * z.stride_h - z.pad_h + r;
          const bool outside = ih < 0 || ih >= z.h;
          visit(row, oh, outside ? Range{0, 0} : range,
                outside ? 0 : (c * z.h + ih) * z.w + range.first * z.stride_w - z.pad_w + s);
        }
      }
}

/// Spreads one sample out; a row of columns is `width` long.
void im2col(const Conv2dShape& z, const float* x, float* columns, std::int64_t width) {
  const std::int64_t ow = z.ow();
  for_each_strip(z, [&](std::int64_t row, std::int64_t oh, Range range, std::int64_t from) {
    float* to = columns + row * width + oh * ow;
    const float* source = x + from;
    std::fill(to, to + range.first, 0.0f);
    if (z.stride_w == 1)
      std::copy(source, source + (range.last - range.first), to + range.first);
    else
      for (std::int64_t i = range.first; i < range.last; ++i) to[i] = source[(i - range.first) * z.stride_w];
    std::fill(to + range.last, to + ow, 0.0f);
  });
}

/// Adds the columns of one sample back onto its input.
void col2im(const Conv2dShape& z, const float* columns, std::int64_t width, float* dx) {
  const std::int64_t ow = z.ow();
  std::fill(dx, dx + z.c * z.h * z.w, 0.0f);
  for_each_strip(z, [&](std::int64_t row, std::int64_t oh, Range range, std::int64_t to) {
    const float* from = columns + row * width + oh * ow + range.first;
    float* target = dx + to;
    const std::int64_t count = range.last - range.first;
    if (z.stride_w == 1)
      for (std::int64_t i = 0; i < count; ++i) target[i] += from[i];
    else
      for (std::int64_t i = 0; i < count; ++i) target[i * z.stride_w] += from[i];
  });
}

void spread_tile(const Conv2dShape& z, const Plan& plan, const float* x, std::int64_t samples, float* columns) {
  for (std::int64_t t = 0; t < samples; ++t) im2col(z, x + t * z.c * z.h * z.w, columns + t * plan.area, samples * plan.area);
}

void forward(Stream& stream, const Conv2dShape& z, const float* x, const float* w, const float* b, float* y) {
  const Plan plan(z);
  const std::int64_t own = plan.columns_size + plan.planes_size;
  auto* scratch = static_cast<float*>(stream.scratch(static_cast<std::size_t>(stream.threads().size() * own) * sizeof(float)));
  stream.threads().run(plan.groups, [&](std::int64_t group, int thread) {
    float *columns = scratch + thread * own, *planes = columns + plan.columns_size;
    const std::int64_t end = plan.group_begin(group + 1, z.n);
    for (std::int64_t n = plan.group_begin(group, z.n); n < end; n += plan.tile) {
      const std::int64_t samples = std::min(plan.tile, end - n), width = samples * plan.area;
      spread_tile(z, plan, x + n * z.c * z.h * z.w, samples, columns);
      gemm(z.k, width, plan.depth, {w, plan.depth}, {columns, width}, planes, width, Write::overwrite);
      for (std::int64_t t = 0; t < samples; ++t)
        for (std::int64_t k = 0; k < z.k; ++k) {
          const float bias = b != nullptr ? b[k] : 0.0f;
          const float* from = planes + k * width + t * plan.area;
          float* to = y + ((n + t) * z.k + k) * plan.area;
          for (std::int64_t i = 0; i < plan.area; ++i) to[i] = from[i] + bias;
        }
    }
  });
}

/// What one group needs besides the operands: its thread's buffers and its own partial sums.
struct BackwardBuffers {
  float *columns, *planes, *transposed, *dw, *db;  ///< planes, dy: (K, T*OH*OW); dw: (C*R*S, K)
};

void backward_group(const Conv2dShape& z, const Plan& plan, std::int64_t group, const float* x, const float* w, const float* dy,
                    float* dx, bool want_dw, const BackwardBuffers& at) {
  const std::int64_t begin = plan.group_begin(group, z.n), end = plan.group_begin(group + 1, z.n);
  const std::int64_t in_size = z.c * z.h * z.w;
  std::fill(at.db, at.db + z.k, 0.0f);
  for (std::int64_t n = begin; n < end; n += plan.tile) {
    const std::int64_t samples = std::min(plan.tile, end - n), width = samples * plan.area;
    for (std::int64_t k = 0; k < z.k; ++k) {  // the tile's gradients side by side, one row a channel
      for (std::int64_t t = 0; t < samples; ++t) {
        const float* from = dy + ((n + t) * z.k + k) * plan.area;
        std::copy(from, from + plan.area, at.planes + k * width + t * plan.area);
      }
      at.db[k] += array(at.planes + k * width, width).sum();
    }
    if (want_dw) {
      spread_tile(z, plan, x + n * in_size, samples, at.columns);
      transpose(z.k, width, at.planes, width, at.transposed, z.k);
      gemm(plan.depth, z.k, width, {at.columns, width}, {at.transposed, z.k}, at.dw, z.k,
           n == begin ? Write::overwrite : Write::accumulate);
    }
    if (dx != nullptr) {
      gemm(plan.depth, width, z.k, {w, plan.depth, true}, {at.planes, width}, at.columns, width, Write::overwrite);
      for (std::int64_t t = 0; t < samples; ++t) col2im(z, at.columns + t * plan.area, width, dx + (n + t) * in_size);
    }
  }
}

void backward(Stream& stream, const Conv2dShape& z, const float* x, const float* w, const float* dy, float* dx, float* dw,
              float* db) {
  const Plan plan(z);
  const std::int64_t own = plan.columns_size + 2 * plan.planes_size, weights = z.k * plan.depth;
  const std::int64_t partial = Plan::round(weights) + Plan::round(z.k);
  auto* scratch = static_cast<float*>(
      stream.scratch(static_cast<std::size_t>(stream.threads().size() * own + plan.groups * partial) * sizeof(float)));
  float* partials = scratch + stream.threads().size() * own;
  stream.threads().run(plan.groups, [&](std::int64_t group, int thread) {
    float *columns = scratch + thread * own, *sums = partials + group * partial;
    backward_group(z, plan, group, x, w, dy, dx, dw != nullptr,
                   {columns, columns + plan.columns_size, columns + plan.columns_size + plan.planes_size, sums,
                    sums + Plan::round(weights)});
  });
  if (db != nullptr)
    for (std::int64_t group = 0; group < plan.groups; ++group)
      array(db, z.k) += array(partials + group * partial + Plan::round(weights), z.k);
  if (dw == nullptr || plan.groups == 0) return;
  stream.threads().for_ranges(plan.depth, depth_rows, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t d = begin; d < end; ++d) {
      float* total = partials + d * z.k;
      for (std::int64_t group = 1; group < plan.groups; ++group) array(total, z.k) += array(total + group * partial, z.k);
      for (std::int64_t k = 0; k < z.k; ++k) dw[k * plan.depth + d] += total[k];
    }
  });
}

}  // namespace

void register_conv2d() { add(Conv2dKernels{forward, backward}); }

}  // namespace retort::eigen
