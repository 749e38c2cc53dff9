// The optimisers' arithmetic on flat tensors: one launch updates a whole parameter arena in place. nn/optim gives them their state.
#pragma once

#include "retort/core/tensor.h"
#include "retort/kernels/optimizer.h"

namespace retort::ops {

/// Adam or AdamW on `parameters` from `gradients` with moments m and v, all (n); `step` int32 scalar on the device counts completed
/// steps and is advanced. With `teacher` (n) defined, teacher = ema * teacher + (1 - ema) * parameters in the same pass (paper eq. 4).
void adam_ema_(const AdamHyper& hyper, const Tensor& step, const Tensor& parameters, const Tensor& gradients, const Tensor& m,
               const Tensor& v, const Tensor& teacher);

/// SGD with momentum; `velocity` undefined when momentum is 0. Advances `step`.
void sgd_(const SgdHyper& hyper, const Tensor& step, const Tensor& parameters, const Tensor& gradients, const Tensor& velocity);

/// to = beta * to + (1 - beta) * from.
void ema_(float beta, const Tensor& from, const Tensor& to);

}  // namespace retort::ops
