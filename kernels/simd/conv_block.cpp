// Convolution, normalisation, ReLU and pooling in one pass, for MTL-net's blocks: kernels one row high, stride 1, no padding, and
// windows of two neighbours. The normalisation goes into the weights, which are packed with the output channels side by side. A
// tile of sums then holds an even number of positions by a few vectors of channels; the larger of each two neighbours is all that
// leaves the registers. A row of results is transposed from the L1 cache. With many channels the sums come from minimal filtering
// (winograd-inl.h) and are pooled afterwards. All other shapes go to the Eigen kernel.
#include "retort/kernels/conv_block.h"

#include "retort/kernels/simd/register.h"
#include "retort/kernels/simd/targets.h"
#include "retort/kernels/thread_team.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "retort/kernels/simd/conv_block.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "retort/kernels/simd/winograd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace retort::simd {
namespace HWY_NAMESPACE {

#if HWY_TARGET == HWY_SCALAR || HWY_TARGET == HWY_EMU128
ConvBlockKernels conv_block_kernels() { return {}; }
#else

constexpr std::int64_t task_work = 1 << 19;  // multiply-adds worth a task

bool is_special(const ConvBlockShape& z) {
  const Conv2dShape& conv = z.conv;
  return conv.r == 1 && conv.stride_h == 1 && conv.stride_w == 1 && conv.pad_h == 0 && conv.pad_w == 0 && z.pool_h == 1 &&
         z.pool_w == 2 && z.pool_stride_w == 2;
}

/// What all tiles of a call share.
struct Block {
  std::int64_t channels, taps, plane;  ///< plane: floats from one input channel to the next
  std::int64_t outputs;                ///< padded to whole vectors
  const float *weights, *shift;        ///< (channels, taps, outputs) and (outputs)
};

/// The larger of two neighbours behind a ReLU; the second if it is a NaN.
HWY_INLINE V pool(D d, V even, V odd) {
  const auto second = hn::Or(hn::Gt(odd, even), hn::IsNaN(odd));
  return Relu()(d, hn::IfThenElse(second, odd, even));
}

/// M positions of one row, from x on, by N vectors of channels: M / 2 rows of `outputs` results.
template <int M, int N>
void pooled_tile(const Block& z, const float* x, std::int64_t first, float* to) {
  const D d;
  V sum[M][N];
#pragma GCC unroll 12
  for (int m = 0; m < M; ++m)
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n) sum[m][n] = hn::LoadU(d, z.shift + first + n * lanes);
  const float* w = z.weights + first;
  for (std::int64_t c = 0; c < z.channels; ++c)
    for (std::int64_t s = 0; s < z.taps; ++s, w += z.outputs) {
      const float* at = x + c * z.plane + s;
      V vectors[N];
#pragma GCC unroll 4
      for (int n = 0; n < N; ++n) vectors[n] = hn::LoadU(d, w + n * lanes);
#pragma GCC unroll 12
      for (int m = 0; m < M; ++m) {
        const V scalar = hn::Set(d, at[m]);
#pragma GCC unroll 4
        for (int n = 0; n < N; ++n) sum[m][n] = hn::MulAdd(scalar, vectors[n], sum[m][n]);
      }
    }
#pragma GCC unroll 12
  for (int m = 0; m < M; m += 2)
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n) hn::StoreU(pool(d, sum[m][n], sum[m + 1][n]), d, to + m / 2 * z.outputs + first + n * lanes);
}

/// Positions of the tallest tile that is n vectors wide, as in tile-inl.h but even.
constexpr int positions(int n) { return many_registers ? (n == 4 ? 6 : n == 3 ? 8 : 12) : n == 3 ? 4 : n == 2 ? 6 : 8; }

/// `pooled` results of a row for N vectors of channels.
template <int N>
void pooled_row(const Block& z, const float* x, std::int64_t pooled, std::int64_t first, float* to) {
  constexpr int most = positions(N);
  std::int64_t p = 0;
  for (; p + most / 2 <= pooled; p += most / 2) pooled_tile<most, N>(z, x + 2 * p, first, to + p * z.outputs);
  constexpr int some = most > 6 ? most - 4 : 4;  // what is often left: 8 of 92 positions
  for (; p + some / 2 <= pooled; p += some / 2) pooled_tile<some, N>(z, x + 2 * p, first, to + p * z.outputs);
  for (; p < pooled; ++p) pooled_tile<2, N>(z, x + 2 * p, first, to + p * z.outputs);
}

void all_channels(const Block& z, const float* x, std::int64_t pooled, float* to) {
  const std::int64_t vectors = z.outputs / lanes, width = tile_width(vectors);
  for (std::int64_t v = 0; v < vectors; v += width) switch (std::min(width, vectors - v)) {
      case 1:
        pooled_row<1>(z, x, pooled, v * lanes, to);
        break;
      case 2:
        pooled_row<2>(z, x, pooled, v * lanes, to);
        break;
      case 3:
        pooled_row<3>(z, x, pooled, v * lanes, to);
        break;
      default:
        pooled_row<widest>(z, x, pooled, v * lanes, to);
    }
}

/// The normalisation of each output as a factor and a summand, zeros behind the last.
void set_affine(const ConvBlockShape& z, const float* b, const BatchNormState<float>& norm, std::int64_t outputs, float* scale,
                float* shift) {
  std::fill(scale, scale + outputs, 0.0f);
  std::fill(shift, shift + outputs, 0.0f);
  for (std::int64_t i = 0; i < z.conv.k; ++i) {
    const ChannelAffine<float> at(b, norm, z.eps, i);
    scale[i] = static_cast<float>(at.scale), shift[i] = static_cast<float>(at.shift);
  }
}

/// weights (rows, outputs): each column times its factor.
void scale_columns(std::int64_t rows, std::int64_t outputs, const float* scale, float* weights) {
  const D d;
  for (std::int64_t t = 0; t < rows; ++t)
    for (std::int64_t i = 0; i < outputs; i += lanes) {
      float* at = weights + t * outputs + i;
      hn::StoreU(hn::Mul(hn::LoadU(d, at), hn::LoadU(d, scale + i)), d, at);
    }
}

/// Weights with the channels side by side and the normalisation in them; `scale` is work space for one number a channel.
void pack(const ConvBlockShape& z, const float* w, const float* b, const BatchNormState<float>& norm, std::int64_t outputs,
          float* scale, float* shift, float* weights) {
  const std::int64_t k = z.conv.k, terms = z.conv.c * z.conv.s;
  if (outputs > k) std::fill(weights, weights + terms * outputs, 0.0f);
  transpose(k, terms, w, terms, weights, outputs, Identity());
  set_affine(z, b, norm, outputs, scale, shift);
  if (norm.gamma != nullptr) scale_columns(terms, outputs, scale, weights);
}

void forward_winograd(Stream& stream, const ConvBlockShape& z, const float* x, const float* w, const float* b,
                      const BatchNormState<float>& norm, float* y) {
  const Conv2dShape& conv = z.conv;
  const WinogradRows rows(conv);
  const std::int64_t oh = z.oh(), ow = z.ow();
  forward_winograd(
      stream, rows, conv.n * oh, w, conv.h * conv.w,
      [&](float* scale, float* shift) { set_affine(z, b, norm, rows.k, scale, shift); },
      [&](std::int64_t i) { return x + (i / oh * conv.c * conv.h + i % oh * z.pool_stride_h) * conv.w; },
      [&](std::int64_t i, float* yt) {
        const D d;
        for (std::int64_t p = 0; p < ow; ++p)  // in place: what is written has been read
          for (std::int64_t j = 0; j < rows.k; j += lanes) {
            const float* at = yt + 2 * p * rows.k + j;
            hn::Store(pool(d, hn::Load(d, at), hn::Load(d, at + rows.k)), d, yt + p * rows.k + j);
          }
        transpose(ow, conv.k, yt, rows.k, y + (i / oh * conv.k * oh + i % oh) * ow, oh * ow, Identity());
      });
}

void forward(Stream& stream, const ConvBlockShape& z, const float* x, const float* w, const float* b,
             const BatchNormState<float>& norm, float* y) {
  if (!is_special(z)) return fallback<ConvBlockKernels>().forward(stream, z, x, w, b, norm, y);
  if (WinogradRows::serves(z.conv)) return forward_winograd(stream, z, x, w, b, norm, y);
  const Conv2dShape& conv = z.conv;
  const std::int64_t outputs = round_up(conv.k, lanes), terms = conv.c * conv.s, oh = z.oh(), ow = z.ow();
  const std::int64_t own = round_up(ow * outputs, 16), packed = round_up((terms + 2) * outputs, 16);
  ThreadTeam& team = stream.threads();
  auto* weights = static_cast<float*>(stream.scratch(static_cast<std::size_t>(packed + team.size() * own) * sizeof(float)));
  float *scale = weights + terms * outputs, *shift = scale + outputs, *buffers = weights + packed;
  pack(z, w, b, norm, outputs, scale, shift, weights);
  const Block block{conv.c, conv.s, conv.h * conv.w, outputs, weights, shift};
  const std::int64_t rows = conv.n * oh,
                     grain = std::max<std::int64_t>(1, task_work / std::max<std::int64_t>(1, 2 * ow * outputs * terms));
  team.run(divide_up(rows, grain), [&](std::int64_t task, int thread) {
    float* results = buffers + thread * own;
    for (std::int64_t i = task * grain; i < std::min(rows, (task + 1) * grain); ++i) {
      const std::int64_t n = i / oh, row = i % oh;
      all_channels(block, x + (n * conv.c * conv.h + row * z.pool_stride_h) * conv.w, ow, results);
      transpose(ow, conv.k, results, outputs, y + (n * conv.k * oh + row) * ow, oh * ow, Identity());
    }
  });
}

ConvBlockKernels conv_block_kernels() { return {forward}; }

#endif

}  // namespace HWY_NAMESPACE
}  // namespace retort::simd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace retort::simd {

HWY_EXPORT(conv_block_kernels);
void register_conv_block() { add(HWY_DYNAMIC_DISPATCH(conv_block_kernels)()); }

}  // namespace retort::simd
#endif
