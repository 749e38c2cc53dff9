// What the 1 x S, stride 1 convolutions of conv2d.cu and conv_block.cu share. A block makes line_k output channels of one line of
// positions, a thread 4 channels x 4 positions in registers. For each input channel it reads 4 + S - 1 inputs and S weights of
// each output channel from shared memory for 16 S multiply-adds.
#pragma once

#include "retort/kernels/cuda/block.cuh"

namespace retort {
namespace {

constexpr int line_k = 16;  // output channels a block
constexpr int line_c = 8;   // input channels staged at a time

/// sum[q][j] += sum over c < depth and s of tile_w[c][s][k + q] * tile_x[c][i + j + s], in this order. tile_w is aligned to 16
/// bytes, k a multiple of 4.
template <int S, int row>
__device__ inline void add_line_products(const float (&tile_x)[line_c][row], const float (&tile_w)[line_c][S][line_k], int depth,
                                         int i, int k, float (&sum)[4][4]) {
  for (int c = 0; c < depth; ++c) {
    float window[4 + S - 1];
#pragma unroll
    for (int j = 0; j < 4 + S - 1; ++j) window[j] = tile_x[c][i + j];
#pragma unroll
    for (int s = 0; s < S; ++s) {
      const float4 taps = *reinterpret_cast<const float4*>(&tile_w[c][s][k]);
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        sum[0][j] = fmaf(taps.x, window[j + s], sum[0][j]);
        sum[1][j] = fmaf(taps.y, window[j + s], sum[1][j]);
        sum[2][j] = fmaf(taps.z, window[j + s], sum[2][j]);
        sum[3][j] = fmaf(taps.w, window[j + s], sum[3][j]);
      }
    }
  }
}

struct LineBlocks {
  dim3 grid, block;
};

/// Block: (groups of 4 positions, at most `most`; 4 groups of 4 output channels). Grid: (tiles of positions, tiles of outputs,
/// lines).
inline LineBlocks line_blocks(std::int64_t groups, std::int64_t most, std::int64_t outputs, std::int64_t lines) {
  const dim3 block(count(ceil_div(groups, ceil_div(groups, most))), 4);
  return {dim3(count(ceil_div(groups, block.x)), count(ceil_div(outputs, line_k)), count(std::min<std::int64_t>(lines, 65535))),
          block};
}

}  // namespace
}  // namespace retort
