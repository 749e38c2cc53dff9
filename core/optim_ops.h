// The optimisers' arithmetic on flat tensors: a call updates a whole parameter arena in place. nn/optim gives them their state.
#pragma once

#include "retort/core/tensor.h"
#include "retort/kernels/optimizer.h"

#include <span>

namespace retort::ops {

/// Adam or AdamW on `parameters` from `gradients` with moments m and v, all (n); `step` int32 scalar on the device counts
/// completed steps and is advanced. With `teacher` (n) defined, teacher = ema * teacher + (1 - ema) * parameters in the same pass
/// (paper eq. 4).
///
/// `ends`, ascending, the last one n: one kernel call for the elements up to each of them instead of one for all. The result is
/// the same; but a thread of a CPU then gets its share of each part, and not of the whole.
void adam_ema_(const AdamHyper& hyper, const Tensor& step, const Tensor& parameters, const Tensor& gradients, const Tensor& m,
               const Tensor& v, const Tensor& teacher, std::span<const std::int64_t> ends = {});

/// SGD with momentum; `velocity` undefined when momentum is 0. Advances `step`.
void sgd_(const SgdHyper& hyper, const Tensor& step, const Tensor& parameters, const Tensor& gradients, const Tensor& velocity);

/// to = beta * to + (1 - beta) * from.
void ema_(float beta, const Tensor& from, const Tensor& to);

}  // namespace retort::ops
