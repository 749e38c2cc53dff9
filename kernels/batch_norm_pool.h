// Contract: batch normalisation with the batch's statistics, ReLU and max pooling in one: what a network does in training. The
// normalised plane never reaches memory, nor does the gradient in front of the pooling.
//
//   y[n,c,oh,ow] = max over the window of v,  v = f(gamma * (x - mean) * invstd + beta)
//
// Statistics as in batch_norm.h, over the whole plane: rows that no window covers take part. Windows as in max_pool2d.h: no
// padding, incomplete ones dropped, the first maximum wins, NaN wins over all.
#pragma once

#include "retort/kernels/batch_norm.h"
#include "retort/kernels/max_pool2d.h"

namespace retort {

struct BatchNormPoolShape {
  MaxPool2dShape pool;
  float eps = 1e-5f;
  float momentum = 0.1f;
  Activation activation = Activation::relu;

  BatchNormShape norm() const { return {pool.n, pool.c, pool.h * pool.w, eps, momentum, activation}; }
};

struct BatchNormPoolKernels {
  static constexpr const char* op = "batch_norm_pool";
  /// x: (N, C, H, W); y: (N, C, OH, OW), mean, invstd: (C), overwritten; running_mean, running_var updated in place (both null:
  /// not tracked).
  void (*forward_train)(Stream&, const BatchNormPoolShape&, const float* x, const float* gamma, const float* beta,
                        float* running_mean, float* running_var, float* mean, float* invstd, float* y);
  /// Of forward_train, with its mean and invstd. dy: (N, C, OH, OW). Nobody has kept which element won a window: it is found
  /// again from x, by the forward's arithmetic to the last bit. dx: (N, C, H, W) overwritten, dgamma, dbeta accumulate (+=); any
  /// of the three may be null.
  void (*backward_train)(Stream&, const BatchNormPoolShape&, const float* x, const float* gamma, const float* beta,
                         const float* mean, const float* invstd, const float* dy, float* dx, float* dgamma, float* dbeta);
};

}  // namespace retort
