// Contract: batch normalisation over (N, spatial) for each channel, as torch.nn.functional.batch_norm, optional ReLU behind it.
//
//   y = f(gamma * (x - mean) * invstd + beta),  invstd = 1 / sqrt(var + eps),  f: identity or ReLU
//
// x, y, dx, dy: (N, C, spatial); gamma, beta, mean, invstd, running_*: (C).
// Training: mean and biased variance of the batch; running = (1 - momentum) * running + momentum * batch, where the running
// variance takes the unbiased one (N*spatial - 1). N*spatial must be at least 2 in training (checked in core/ops).
#pragma once

#include "retort/kernels/linear.h"  // Activation
#include "retort/kernels/stream.h"

#include <cstdint>

namespace retort {

struct BatchNormShape {
  std::int64_t n, c, spatial;
  float eps = 1e-5f;
  float momentum = 0.1f;
  Activation activation = Activation::none;
};

struct BatchNormKernels {
  static constexpr const char* op = "batch_norm";
  /// y, mean, invstd overwritten; running_mean, running_var updated in place (both null: not tracked).
  void (*forward_train)(Stream&, const BatchNormShape&, const float* x, const float* gamma, const float* beta,
                        float* running_mean, float* running_var, float* mean, float* invstd, float* y);
  /// Uses the running statistics; y overwritten.
  void (*forward_eval)(Stream&, const BatchNormShape&, const float* x, const float* gamma, const float* beta,
                       const float* running_mean, const float* running_var, float* y);
  /// Of forward_train, with its mean and invstd. y (the forward's output) is read only with ReLU, else it may be null. dx
  /// overwritten, dgamma, dbeta accumulate (+=); any of the three may be null.
  void (*backward_train)(Stream&, const BatchNormShape&, const float* x, const float* gamma, const float* mean,
                         const float* invstd, const float* y, const float* dy, float* dx, float* dgamma, float* dbeta);
  /// Of forward_eval: the statistics are constants. Outputs as above.
  void (*backward_eval)(Stream&, const BatchNormShape&, const float* x, const float* gamma, const float* running_mean,
                        const float* running_var, const float* y, const float* dy, float* dx, float* dgamma, float* dbeta);
};

}  // namespace retort
