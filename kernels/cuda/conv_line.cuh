// What the 1 x S, stride 1 convolutions of conv2d.cu and conv_block.cu share: the sums of one line of positions,
//   sum[k, i] = sum over c, s of w[k, c, s] x[c, i + s]
// A block makes line_k output channels of a line. Inputs and weights of up to line_stage channels at a time go through shared
// memory: each thread has its next loads on their way together before it stores any. A thread holds 4 channels x 4 positions in
// registers; for each input channel it reads 4 + S - 1 inputs and S weights of each of its channels for 16 S multiply-adds. Up to
// four such groups of threads share the input channels and add up their sums in the end: the lines of a batch are few and short,
// so a block must bring its own warps.
#pragma once

#include "retort/kernels/cuda/block.cuh"

namespace retort {
namespace {

constexpr int line_k = 16;      // output channels a block
constexpr int line_c = 8;       // input channels a group of threads, staged at a time
constexpr int line_shares = 4;  // groups of threads, at most (threadIdx.z)
constexpr int line_stage = line_c * line_shares;

/// Inputs and weights of up to line_stage channels: x[c][position], w[c * S + s][output]. Rows of x begin on 16 bytes and have
/// room for what InputCopy and a thread's window read past the last position; those of w are padded so that 8 rows x 4 outputs
/// lie in different banks.
template <int S, int positions>
struct alignas(16) LineMemory {
  static constexpr int row = positions + 16, w_row = line_k + 4;
  float x[line_stage][row];
  float w[(line_stage * S + 7) / 8 * 8][w_row];
};

/// A line of all channels: element (c, i) at from[c * channel_stride + i], which stands for position first + i; it counts as 0
/// where that is not in [0, width).
struct LineInput {
  const float* from;
  int channel_stride, first, width;
};

/// w[k, c, s] of (outputs, inputs, S), or `reversed`: w[c, k, S-1-s] of (inputs, outputs, S); the block's outputs are those from
/// k0 on.
struct LineWeights {
  const float* w;
  int inputs, outputs, k0;
};

/// Inputs on their way to shared memory: elements (c, i) of channels c0 .. c0 + depth - 1 and i < length, and a few behind so
/// that every row is a whole number of eights: eight threads take eight neighbours, a sector of memory.
template <int S, int positions>
class InputCopy {
 public:
  __device__ InputCopy(const LineInput& x, int c0, int depth, int length)
      : depth_(depth), width_(static_cast<unsigned>(x.width)) {
    const int threads = threads_of_block(), me = thread_of_block();
    const int lanes = threads < 8 ? 4 : 8, groups = threads / lanes, group = me / lanes;  // there are at least four threads
    const int blocks = (length + lanes - 1) / lanes, j = group % blocks * lanes + me % lanes;
    c_ = group < groups ? group / blocks : depth;
    row_ = blocks * lanes;
    at_ = x.first + j, end_ = x.first + row_;
    from_ = x.from + static_cast<std::int64_t>(c0 + c_) * x.channel_stride + j;
    to_ = c_ * width_of_row + j;
    step_c_ = groups / blocks, step_at_ = groups % blocks * lanes;
    step_from_ = step_c_ * x.channel_stride + step_at_, wrap_from_ = x.channel_stride - row_;
  }

  __device__ bool left() const { return c_ < depth_; }

  /// The next `together` elements of this thread.
  __device__ void fetch() {
#pragma unroll
    for (int i = 0; i < together; ++i) {
      to_of_[i] = c_ < depth_ ? to_ : -1;
      value_[i] = c_ < depth_ && static_cast<unsigned>(at_) < width_ ? *from_ : 0.0f;
      c_ += step_c_, at_ += step_at_, from_ += step_from_, to_ += step_c_ * width_of_row + step_at_;
      if (at_ >= end_) at_ -= row_, from_ += wrap_from_, to_ += width_of_row - row_, ++c_;
    }
  }

  __device__ void put(LineMemory<S, positions>& memory) const {
#pragma unroll
    for (int i = 0; i < together; ++i)
      if (to_of_[i] >= 0) (&memory.x[0][0])[to_of_[i]] = value_[i];
  }

 private:
  static constexpr int together = 6, width_of_row = LineMemory<S, positions>::row;
  const float* from_;        // the next element
  int depth_, c_, at_, to_;  // its channel, position, and place in LineMemory::x
  int end_, row_;            // position behind a row, a row's length
  int step_c_, step_at_, step_from_, wrap_from_;
  unsigned width_;
  int to_of_[together];
  float value_[together];
};

/// Weights on their way to shared memory: those of channels c0 .. c0 + depth - 1 to the block's outputs; 0, or not written,
/// beyond the last output, whose sums nobody keeps. They are read as they lie in memory, in rows: of an input channel (reversed)
/// or of an output; four values at once where they are aligned.
template <int S, bool reversed, int positions>
class WeightCopy {
 public:
  __device__ WeightCopy(const LineWeights& w, int c0, int depth) : f_(thread_of_block()), threads_(threads_of_block()) {
    const int channels = w.outputs - w.k0 < line_k ? w.outputs - w.k0 : line_k;
    stride_ = (reversed ? w.outputs : w.inputs) * S;
    row_ = (reversed ? channels : depth) * S;
    rows_ = reversed ? depth : channels;
    const std::int64_t first =
        reversed ? static_cast<std::int64_t>(c0) * w.outputs + w.k0 : static_cast<std::int64_t>(w.k0) * w.inputs + c0;
    from_ = w.w + first * S;
    vector_ = row_ % 4 == 0 && stride_ % 4 == 0 && reinterpret_cast<std::uintptr_t>(from_) % 16 == 0 && channels == line_k;
    end_ = reversed ? rows_ * (vector_ ? line_k * S / 4 : line_k * S)
                    : (vector_ ? (row_ / 4 + 1) / 2 * 2 : (row_ + 7) / 8 * 8) * line_k;
  }

  __device__ bool left() const { return f_ < end_; }

  __device__ void fetch() {
    if (vector_) {
#pragma unroll
      for (int i = 0; i < together; ++i) {
        const int f = f_ + i * threads_, place = vector_place(f);
        value_[i] = f < end_ && place < row_ ? *reinterpret_cast<const float4*>(from_ + vector_row(f) * stride_ + place)
                                             : make_float4(0.0f, 0.0f, 0.0f, 0.0f);
      }
    } else {
#pragma unroll
      for (int i = 0; i < together; ++i) {
        const int f = f_ + i * threads_, row = single_row(f), place = single_place(f);
        value_[i].x = f < end_ && row < rows_ && place < row_ ? from_[row * stride_ + place] : 0.0f;
      }
    }
  }

  __device__ void put(LineMemory<S, positions>& memory) {
    if (vector_) {
#pragma unroll
      for (int i = 0; i < together; ++i) {
        const int f = f_ + i * threads_, row = vector_row(f), place = vector_place(f);
        if (f >= end_ || place >= row_) continue;
        at(memory, row, place) = value_[i].x, at(memory, row, place + 1) = value_[i].y;
        at(memory, row, place + 2) = value_[i].z, at(memory, row, place + 3) = value_[i].w;
      }
    } else {
#pragma unroll
      for (int i = 0; i < together; ++i) {
        const int f = f_ + i * threads_;
        if (f < end_) at(memory, single_row(f), single_place(f)) = value_[i].x;  // behind the last tap, too, where nobody reads
      }
    }
    f_ += together * threads_;
  }

 private:
  static constexpr int together = 4;
  // Fetch f's row and place in it. A warp takes two quads of 16 outputs, or eight values of 4 outputs: whole sectors of memory,
  // and its stores meet different banks. Reversed rows are long; it takes neighbours, and at most three stores meet in a bank.
  __device__ static int vector_row(int f) { return reversed ? f / (line_k * S / 4) : f / 2 % line_k; }
  __device__ static int vector_place(int f) { return reversed ? f % (line_k * S / 4) * 4 : (f / (2 * line_k) * 2 + f % 2) * 4; }
  __device__ static int single_row(int f) { return reversed ? f / (line_k * S) : f / 8 % line_k; }
  __device__ static int single_place(int f) { return reversed ? f % (line_k * S) : f / (8 * line_k) * 8 + f % 8; }
  __device__ static float& at(LineMemory<S, positions>& memory, int row, int place) {
    if constexpr (reversed)
      return memory.w[row * S + S - 1 - place % S][place / S];
    else
      return memory.w[place][row];
  }

  const float* from_;
  int f_, end_, threads_;    // the thread's next fetch, the block's number of them
  int stride_, row_, rows_;  // from row to row, a row's length, how many
  bool vector_;
  float4 value_[together];
};

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

/// Whether the sums of output channel q (of a thread's four) are added up, and finished, in this thread's share.
__device__ inline bool finishes(int q) { return q % static_cast<int>(blockDim.z) == static_cast<int>(threadIdx.z); }

/// Adds up the sums of all shares, in their order, where `finishes` says. The memory's content is lost; nobody may still read it.
template <int S, int positions>
__device__ inline void add_shares(LineMemory<S, positions>& memory, float (&sum)[4][4]) {
  static_assert(sizeof(memory) >= (line_shares - 1) * positions * 16 * sizeof(float));
  const int shares = static_cast<int>(blockDim.z), share = static_cast<int>(threadIdx.z);
  if (shares == 1) return;
  float* kept = &memory.x[0][0] + threadIdx.y * blockDim.x + threadIdx.x;
  const int threads = static_cast<int>(blockDim.x * blockDim.y);
  // Where share z leaves its sums of channel q, which another share finishes.
  const auto place = [&](int q, int z) { return kept + (q * (shares - 1) + (z < q % shares ? z : z - 1)) * 4 * threads; };
#pragma unroll
  for (int q = 0; q < 4; ++q)
    if (!finishes(q))
#pragma unroll
      for (int j = 0; j < 4; ++j) place(q, share)[j * threads] = sum[q][j];
  __syncthreads();
#pragma unroll
  for (int q = 0; q < 4; ++q) {
    if (!finishes(q)) continue;
    float total[4] = {};
    for (int z = 0; z < shares; ++z)
#pragma unroll
      for (int j = 0; j < 4; ++j) total[j] += z == share ? sum[q][j] : place(q, z)[j * threads];
#pragma unroll
    for (int j = 0; j < 4; ++j) sum[q][j] = total[j];
  }
}

/// sum[q][j] = sum over c and s of w[k0 + k + q, c, s] x[c, i + j + s] with i = 4 threadIdx.x and k = 4 threadIdx.y; whole where
/// `finishes` says. There is at least one channel. Every thread of the block calls it; between two calls there is a barrier.
template <int S, bool reversed, int positions>
__device__ inline void line_sums(LineMemory<S, positions>& memory, const LineInput& x, const LineWeights& w, float (&sum)[4][4]) {
  const int length = static_cast<int>(blockDim.x) * 4 + S - 1, stage = static_cast<int>(blockDim.z) * line_c;
  for (int c0 = 0; c0 < w.inputs; c0 += stage) {
    const int depth = w.inputs - c0 < stage ? w.inputs - c0 : stage;
    InputCopy<S, positions> input(x, c0, depth, length);
    WeightCopy<S, reversed, positions> weight(w, c0, depth);
    do {
      input.fetch(), weight.fetch();
      input.put(memory), weight.put(memory);
    } while (input.left() || weight.left());
    __syncthreads();
    add_line_products(memory, static_cast<int>(threadIdx.z), depth, static_cast<int>(threadIdx.x) * 4,
                      static_cast<int>(threadIdx.y) * 4, sum);
    __syncthreads();
  }
  add_shares(memory, sum);
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
