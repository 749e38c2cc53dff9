// The operations on tensors, each with its gradient. All are functions from tensors to a new tensor; none changes its inputs.
// Unless said otherwise the inputs are float32 of one context, and an exception names the operation and the shapes when they do not
// fit. Matching PyTorch: torch.nn.functional of the same name, also in corner cases.
#pragma once

#include "retort/core/tensor.h"

#include <array>
#include <span>

namespace retort::ops {

// ---- element-wise (core/ops/elementwise.cpp) ----

Tensor relu(const Tensor& x);
Tensor exp(const Tensor& x);
Tensor log(const Tensor& x);
Tensor tanh(const Tensor& x);
Tensor sigmoid(const Tensor& x);

/// a (op) b. b has the shape of a, or that of a's last dimensions and is repeated over the first ones: (64, 512) * (512).
Tensor add(const Tensor& a, const Tensor& b);
Tensor sub(const Tensor& a, const Tensor& b);
Tensor mul(const Tensor& a, const Tensor& b);

/// factor * x.
Tensor scale(const Tensor& x, float factor);

/// Keeps each element with probability 1 - p and divides it by that; the mask comes from the context's random state (Philox, the
/// same on every device) and is not stored. p in [0, 1).
Tensor dropout(const Tensor& x, float p);
/// The mask alone, 0 or 1/(1-p) per element: dropout(x) = mul(x, dropout_mask(...)). No gradient.
Tensor dropout_mask(Context& context, const Shape& shape, float p);

// ---- whole-tensor reductions to a scalar (core/ops/reduce.cpp) ----

Tensor sum(const Tensor& x);
Tensor mean(const Tensor& x);
/// Sum of absolute values; gradient sign(x), 0 at 0.
Tensor l1_norm(const Tensor& x);

// ---- shape (core/ops/shape.cpp) ----

/// The same data under another shape with the same number of elements; one size may be -1 and follows from the others.
Tensor reshape(const Tensor& x, std::span<const std::int64_t> sizes);
Tensor reshape(const Tensor& x, std::initializer_list<std::int64_t> sizes);
inline Tensor view(const Tensor& x, std::initializer_list<std::int64_t> sizes) { return reshape(x, sizes); }
/// (N, ...) to (N, product of the rest).
Tensor flatten(const Tensor& x);
/// Joins tensors that agree in all other dimensions; negative `dimension` counts from the end.
Tensor concat(std::span<const Tensor> inputs, int dimension);
/// Rows index[i] of a float32 or int32 tensor, along dimension 0. No gradient. index: int32 (rows), trusted to be in range.
Tensor gather(const Tensor& from, const Tensor& index);

// ---- batches (core/ops/batch.cpp); no gradients ----

/// Windows, or whatever a row is, with two labels each: float32 (N, ...), int32 (N) twice.
struct LabelledRows {
  Tensor rows, labels1, labels2;
};
/// Which rows make which batch, on the device: batch b is rows order[b * stride], ... of the data; `counter` (int32, one element)
/// holds the b whose turn it is.
struct BatchOrder {
  Tensor order, counter;
  std::int64_t stride = 1;
};
/// The first `rows` (at most stride) of the batch whose turn it is. The order is trusted to be in range.
LabelledRows gather_batch(const LabelledRows& data, const BatchOrder& order, std::int64_t rows);
/// history[counter] = values, and it is the next batch's turn. values: (n), history: (batches, n).
void record_(const Tensor& values, const Tensor& history, const Tensor& counter);

// ---- sequences (core/ops/recurrent.cpp); time-major: (steps, rows, features) ----

/// Dimension order[i] of x, (a, b, c), becomes dimension i: windows (N, C, T) in the order {2, 0, 1} are a sequence (T, N, C).
Tensor permute(const Tensor& x, const std::array<int, 3>& order);
/// x[index] along the first dimension, which the result does not have; a negative index counts from the end. No copy is made.
Tensor select(const Tensor& x, std::int64_t index);

/// Weights of one layer and direction, as torch.nn.LSTM (4 blocks of H rows, in the order i, f, g, o) and torch.nn.GRU (3: r, z, n)
/// hold them: weight_ih (blocks H, in), weight_hh (blocks H, H), bias_ih and bias_hh (blocks H), both or neither undefined.
struct RecurrentWeights {
  Tensor weight_ih, weight_hh, bias_ih, bias_hh;
};
/// The hidden states (T, N, H) of all steps of x (T, N, in), from a state of zeros. With `reverse` the sequence is read from its last
/// step to its first and the final state is that of step 0.
Tensor lstm(const Tensor& x, const RecurrentWeights& weights, bool reverse = false);
Tensor gru(const Tensor& x, const RecurrentWeights& weights, bool reverse = false);

// ---- layers (core/ops/{conv2d,linear,batch_norm,max_pool2d,batch_norm_pool}.cpp) ----

struct Conv2dOptions {
  std::array<std::int64_t, 2> stride{1, 1}, padding{0, 0};
};
/// x: (N, C, H, W), w: (K, C, R, S), b: (K) or undefined; (N, K, OH, OW).
Tensor conv2d(const Tensor& x, const Tensor& w, const Tensor& b, const Conv2dOptions& options = {});

/// x: (..., in), w: (out, in), b: (out) or undefined; (..., out) = x w^T + b, then ReLU when asked for (one kernel).
Tensor linear(const Tensor& x, const Tensor& w, const Tensor& b, bool relu = false);

/// a: (m, k), b: (k, n); (m, n). With transpose_b, b is (n, k).
Tensor matmul(const Tensor& a, const Tensor& b, bool transpose_b = false);

struct BatchNormOptions {
  bool training = true;
  float momentum = 0.1f, eps = 1e-5f;
  bool relu = false;  ///< ReLU behind it, in the same kernel
};
/// x: (N, C) or (N, C, ...); weight, bias, running_mean, running_var: (C). Training normalises with the batch's statistics and moves
/// the running ones in place; needs more than one value per channel. Evaluation uses the running ones.
Tensor batch_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, const Tensor& running_mean, const Tensor& running_var,
                  const BatchNormOptions& options);

/// x: (N, C, H, W); windows of `kernel` every `stride`, no padding, incomplete windows dropped.
Tensor max_pool2d(const Tensor& x, std::array<std::int64_t, 2> kernel, std::array<std::int64_t, 2> stride);

/// Parameters and running statistics of a batch normalisation, (K) each; all undefined: there is none.
struct NormState {
  Tensor weight, bias, running_mean, running_var;
};
/// max_pool2d(batch_norm(x)). In training it is one kernel, and backward another: the normalised plane is never in memory, and the
/// graph keeps nothing of x's size but x.
Tensor batch_norm_pool(const Tensor& x, const NormState& norm, const BatchNormOptions& options, std::array<std::int64_t, 2> kernel,
                       std::array<std::int64_t, 2> stride);

struct ConvBlockOptions {
  Conv2dOptions conv;
  std::array<std::int64_t, 2> pool{1, 2}, pool_stride{2, 2};
  float eps = 1e-5f;
};
/// max_pool2d(relu(batch_norm(conv2d(x, w, b)))) with the running statistics, in one kernel. No gradient: throws when one would be
/// recorded.
Tensor conv_block(const Tensor& x, const Tensor& w, const Tensor& b, const NormState& norm, const ConvBlockOptions& options = {});

// ---- losses (core/ops/loss.cpp); means over the rows ----

/// x: (N, C), over C.
Tensor log_softmax(const Tensor& x);
/// logits: (N, C), labels: int32 (N) in [0, C).
Tensor cross_entropy(const Tensor& logits, const Tensor& labels);
/// tau^2 KL(softmax(teacher/tau) || softmax(student/tau)), paper eq. 2. Gradients flow to both sides when both ask for them.
Tensor distill_kl(const Tensor& student, const Tensor& teacher, float tau);

struct MultitaskOptions {
  float alpha = 0.5f, lambda = 0.5f, tau = 3.0f;
};
struct MultitaskLosses {
  Tensor total;   ///< scalar, differentiable with respect to the two students' logits
  Tensor values;  ///< (5): total, ce1, ce2, kl1, kl2 (kl without lambda); outside the graph
};
/// alpha (CE1 + lambda KL1) + (1 - alpha)(CE2 + lambda KL2), paper eq. 5, in one kernel with its gradient. Teachers undefined: eq. 1.
MultitaskLosses multitask_distill_loss(const Tensor& logits1, const Tensor& logits2, const Tensor& teacher1, const Tensor& teacher2,
                                       const Tensor& labels1, const Tensor& labels2, const MultitaskOptions& options);

/// Rows divided by max(Euclidean length, 1e-12); x: (N, C).
Tensor l2_normalize(const Tensor& x);

// ---- counting (core/ops/loss.cpp) ----

/// counts[label, argmax logits] += 1 for every row. logits: (N, C), labels: int32 (N), counts: int32 (C, C), changed in place.
void count_confusion(const Tensor& logits, const Tensor& labels, const Tensor& counts);

}  // namespace retort::ops
