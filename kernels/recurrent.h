// Contract: one layer and one direction of an LSTM or a GRU over a whole sequence, as torch.nn.LSTM and torch.nn.GRU compute it,
// and the permutation that brings windows into the order they need.
//
// Sequences are time-major, (steps, rows, features): all rows of one step lie together, so the products with the input are one
// matrix product over all steps, and the states a step starts from are simply the rows of the step before.
//
//   LSTM   a = W_ih x + b_ih + W_hh h' + b_hh        four blocks of `hidden` rows, in the order i, f, g, o; h', c': the step
//   before
//          c = s(f) c' + s(i) tanh(g)                h = s(o) tanh(c)                s: logistic function
//   GRU    three blocks in the order r, z, n:        r, z = s(W_ih x + b_ih + W_hh h' + b_hh)
//          n = tanh(W_in x + b_in + r (W_hn h' + b_hn))       h = (1 - z) n + z h'
//
// States start at zero. With `reverse` the sequence is walked from its last step to its first; y[t] belongs to x[t] all the same.
#pragma once

#include "retort/kernels/stream.h"

#include <array>
#include <cstdint>

namespace retort {

struct RecurrentShape {
  std::int64_t steps, rows, in, hidden;
  bool reverse = false;
};

struct LstmKernels {
  static constexpr const char* op = "lstm";
  /// x: (steps, rows, in), w_ih: (4 hidden, in), w_hh: (4 hidden, hidden), b_ih, b_hh: (4 hidden) or null. Overwritten: gates
  /// (steps, rows, 4 hidden), the four gates after their activations; cells c and y = h, both (steps, rows, hidden).
  void (*forward)(Stream&, const RecurrentShape&, const float* x, const float* w_ih, const float* w_hh, const float* b_ih,
                  const float* b_hh, float* gates, float* cells, float* y);
  /// gates, cells and y are the forward's. dx overwritten; dw_ih, dw_hh, db_ih, db_hh accumulate (+=); any of the five may be
  /// null.
  void (*backward)(Stream&, const RecurrentShape&, const float* x, const float* w_ih, const float* w_hh, const float* gates,
                   const float* cells, const float* y, const float* dy, float* dx, float* dw_ih, float* dw_hh, float* db_ih,
                   float* db_hh);
};

struct GruKernels {
  static constexpr const char* op = "gru";
  /// As LstmKernels with three blocks of weights: w_ih (3 hidden, in), w_hh (3 hidden, hidden), b_ih, b_hh (3 hidden) or null.
  /// gates: (steps, rows, 4 hidden) holds r, z, n and, fourth, W_hn h' + b_hn, which the gradient of r needs.
  void (*forward)(Stream&, const RecurrentShape&, const float* x, const float* w_ih, const float* w_hh, const float* b_ih,
                  const float* b_hh, float* gates, float* y);
  void (*backward)(Stream&, const RecurrentShape&, const float* x, const float* w_ih, const float* w_hh, const float* gates,
                   const float* y, const float* dy, float* dx, float* dw_ih, float* dw_hh, float* db_ih, float* db_hh);
};

/// y is contiguous with these sizes; x is read at sum_d index_d * strides_d (in elements).
struct PermuteShape {
  std::array<std::int64_t, 3> sizes, strides;
};

struct PermuteKernels {
  static constexpr const char* op = "permute";
  /// y[i, j, k] = x[i * strides[0] + j * strides[1] + k * strides[2]]; y overwritten. No overlap.
  void (*forward)(Stream&, const PermuteShape&, const float* x, float* y);
};

}  // namespace retort
