// What the 1 x S, stride 1 convolutions of conv2d.cu and conv_block.cu share. A block makes line_k output channels of one line of
// positions, a thread 4 channels x 4 positions in registers. For each input channel it reads 4 + S - 1 inputs and S weights of
// each output channel from shared memory for 16 S multiply-adds. Up to four such groups of threads share the input channels and
// add up their sums in the end: the lines of a batch are few and short, so a block must bring its own warps.
#pragma once

#include "retort/kernels/cuda/block.cuh"

namespace retort {
namespace {

constexpr int line_k = 16;      // output channels a block
constexpr int line_c = 8;       // input channels a group of threads, staged at a time
constexpr int line_shares = 4;  // groups of threads, at most (threadIdx.z)
constexpr int line_stage = line_c * line_shares;

/// Inputs and weights of up to line_stage channels. Rows of inputs begin on 16 bytes; those of weights, one a channel and tap,
/// are padded so that 8 rows x 4 channels lie in different banks.
template <int S, int positions>
struct alignas(16) LineMemory {
  static constexpr int row = positions + 12, w_row = line_k + 4;
  float x[line_stage][row];
  float w[(line_stage * S + 7) / 8 * 8][w_row];
};

/// Copies load(f) to *place(f) for first <= f < end, every step-th, eight loads on their way together.
template <class Load, class Place>
__device__ inline void copy_in_eights(int first, int end, int step, const Load& load, const Place& place) {
  for (int f = first; f < end; f += 8 * step) {
    float values[8];
#pragma unroll
    for (int i = 0; i < 8; ++i) values[i] = f + i * step < end ? load(f + i * step) : 0.0f;
#pragma unroll
    for (int i = 0; i < 8; ++i)
      if (f + i * step < end) *place(f + i * step) = values[i];
  }
}

/// x[c][j] = from[c * channel_stride + first + j] for c < depth, j < length; 0 where first + j is outside [0, width).
template <int S, int positions>
__device__ inline void stage_inputs(LineMemory<S, positions>& memory, const float* from, std::int64_t channel_stride, int first,
                                    int width, int depth, int length, int me, int threads) {
  const int lanes = threads < 8 ? 4 : 8, rows = threads / lanes;  // lanes of a row; there are at least four threads
  if (me >= rows * lanes) return;
  for (int c = me / lanes; c < depth; c += rows) {
    const float* row = from + c * channel_stride + first;
    copy_in_eights(
        me % lanes, length, lanes, [&](int j) { return first + j >= 0 && first + j < width ? row[j] : 0.0f; },
        [&](int j) { return &memory.x[c][j]; });
  }
}

/// Weights of channels c0 .. c0 + depth - 1 to outputs k0 .. k0 + line_k - 1, 0 beyond the last. `reversed`: weight (k, c, s) is
/// w[c, k, S-1-s] of w: (inputs, outputs, S); else w[k, c, s] of (outputs, inputs, S).
template <int S, bool reversed, int positions>
__device__ inline void stage_weights(LineMemory<S, positions>& memory, const float* w, int inputs, int outputs, int c0, int depth,
                                     int k0, int me, int threads) {
  const int channels = outputs - k0 < line_k ? outputs - k0 : line_k;
  if constexpr (reversed) {
    constexpr int of_channel = line_k * S;  // one after another in memory
    const float* from = w + (static_cast<std::int64_t>(c0) * outputs + k0) * S;
    const int stride = outputs * S;
    copy_in_eights(
        me, depth * of_channel, threads,
        [&](int f) { return f % of_channel < channels * S ? from[f / of_channel * stride + f % of_channel] : 0.0f; },
        [&](int f) { return &memory.w[f / of_channel * S + S - 1 - f % S][f % of_channel / S]; });
  } else {
    const int taps = depth * S;  // of one output, one after another in memory
    const float* from = w + (static_cast<std::int64_t>(k0) * inputs + c0) * S;
    const int stride = inputs * S;
    const auto tap = [](int f) { return f / (8 * line_k) * 8 + f % 8; };
    const auto k = [](int f) { return f / 8 % line_k; };
    // The last eight taps of an output may be fewer: the others' places are written, and never read.
    copy_in_eights(
        me, (taps + 7) / 8 * 8 * line_k, threads,
        [&](int f) { return tap(f) < taps && k(f) < channels ? from[k(f) * stride + tap(f)] : 0.0f; },
        [&](int f) { return &memory.w[tap(f)][k(f)]; });
  }
}

/// sum[q][j] += sum over the share's c < depth and s of w[c][s][k + q] * x[c][i + j + s]. i and k are multiples of 4.
template <int S, int positions>
__device__ inline void add_line_products(const LineMemory<S, positions>& memory, int share, int depth, int i, int k,
                                         float (&sum)[4][4]) {
  const int end = (share + 1) * line_c < depth ? (share + 1) * line_c : depth;
  for (int c = share * line_c; c < end; ++c) {
    float window[4 + S - 1];
#pragma unroll
    for (int j = 0; j < 4 + S - 1; j += 4) {
      if (j + 4 <= 4 + S - 1) {
        const float4 four = *reinterpret_cast<const float4*>(&memory.x[c][i + j]);
        window[j] = four.x, window[j + 1] = four.y, window[j + 2] = four.z, window[j + 3] = four.w;
      } else {
        for (int e = j; e < 4 + S - 1; ++e) window[e] = memory.x[c][i + e];
      }
    }
#pragma unroll
    for (int s = 0; s < S; ++s) {
      const float4 taps = *reinterpret_cast<const float4*>(&memory.w[c * S + s][k]);
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

/// Adds up the sums of all shares, in their order, in the threads of share 0. The memory's content is lost; nobody may still read
/// it.
template <int S, int positions>
__device__ inline void add_shares(LineMemory<S, positions>& memory, float (&sum)[4][4]) {
  static_assert(sizeof(memory) >= (line_shares - 1) * positions * 16 * sizeof(float));
  if (blockDim.z == 1) return;
  float* kept = &memory.x[0][0];
  const unsigned threads = blockDim.x * blockDim.y, me = threadIdx.y * blockDim.x + threadIdx.x;
  if (threadIdx.z > 0)
    for (int v = 0; v < 16; ++v) kept[((threadIdx.z - 1) * 16 + v) * threads + me] = sum[v / 4][v % 4];
  __syncthreads();
  if (threadIdx.z > 0) return;
  for (unsigned share = 0; share + 1 < blockDim.z; ++share)
#pragma unroll
    for (int v = 0; v < 16; ++v) sum[v / 4][v % 4] += kept[(share * 16 + v) * threads + me];
}

struct LineBlocks {
  dim3 grid, block;
};

/// Block: (groups of 4 positions, at most `most`; 4 groups of 4 output channels; shares of the input channels). Grid: (tiles of
/// positions, tiles of outputs, lines).
inline LineBlocks line_blocks(std::int64_t groups, std::int64_t most, std::int64_t inputs, std::int64_t outputs,
                              std::int64_t lines) {
  const dim3 block(count(ceil_div(groups, ceil_div(groups, most))), 4,
                   count(std::clamp<std::int64_t>(ceil_div(inputs, line_c), 1, line_shares)));
  return {dim3(count(ceil_div(groups, block.x)), count(ceil_div(outputs, line_k)), count(std::min<std::int64_t>(lines, 65535))),
          block};
}

}  // namespace
}  // namespace retort
