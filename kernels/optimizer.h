// Contract: optimisers over one flat arena of n parameters, in one pass. `step` is a device counter of the steps completed so
// far; the kernel uses t = *step + 1 and the caller advances it once afterwards with `advance`, so a captured step replays.
#pragma once

#include "retort/kernels/stream.h"

#include <cstdint>

namespace retort {

struct AdamHyper {
  float lr = 1e-3f, beta1 = 0.9f, beta2 = 0.999f, eps = 1e-8f;
  float weight_decay = 0.0f;  ///< L2 added to the gradient (Adam) or taken off the weights directly (AdamW)
  bool decoupled = false;     ///< AdamW
  float ema = 0.0f;           ///< beta of the teacher (paper eq. 4); used only with a teacher
};

struct SgdHyper {
  float lr = 1e-2f, momentum = 0.0f, weight_decay = 0.0f;
};

struct OptimizerKernels {
  static constexpr const char* op = "optimizer";
  /// torch.optim.Adam, then teacher = ema * teacher + (1 - ema) * p (new p) when teacher is not null. All arrays: (n).
  ///   m = b1 m + (1-b1) g; v = b2 v + (1-b2) g^2; p -= lr / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + eps)
  void (*adam_ema)(Stream&, std::int64_t n, const AdamHyper&, const std::int32_t* step, float* p, const float* g, float* m,
                   float* v, float* teacher);
  /// torch.optim.SGD: velocity = momentum * velocity + g (g itself at the first step); p -= lr * velocity. velocity is null
  /// when momentum is 0.
  void (*sgd)(Stream&, std::int64_t n, const SgdHyper&, const std::int32_t* step, float* p, const float* g, float* velocity);
  /// to = beta * to + (1 - beta) * from: the EMA of buffers, or of weights under another optimiser.
  void (*ema)(Stream&, std::int64_t n, float beta, const float* from, float* to);
  /// *step += 1.
  void (*advance)(Stream&, std::int32_t* step);
};

}  // namespace retort
