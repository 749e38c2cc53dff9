// Optimisers over a ParameterArena, matching torch.optim. Each step is one kernel over the flat arrays (Adam on a CPU: one for
// each large tensor, so that a thread updates weights that are in its cache); the step counter lives on the device (so that a
// captured step replays) and is part of the state that a checkpoint saves.
#pragma once

#include "retort/core/optim_ops.h"
#include "retort/nn/parameter_arena.h"

namespace retort::nn {

/// torch.optim.Adam (AdamW with hyper.decoupled), fused with the teacher's exponential moving average (paper eq. 4).
class Adam {
 public:
  Adam(Context& context, const ParameterArena& arena, const AdamHyper& hyper);

  /// One step; with a teacher arena of the same layout its parameters follow with hyper.ema. Gradients are left as they are.
  void step(const ParameterArena* teacher = nullptr);

  AdamHyper& hyper() { return hyper_; }
  const Tensor& m() const { return m_; }
  const Tensor& v() const { return v_; }
  const Tensor& steps() const { return steps_; }  ///< int32 scalar: steps completed

 private:
  AdamHyper hyper_;
  ParameterArena arena_;  ///< handles
  Tensor m_, v_, steps_;
};

/// torch.optim.SGD with momentum (dampening 0, no Nesterov).
class Sgd {
 public:
  Sgd(Context& context, const ParameterArena& arena, const SgdHyper& hyper);
  void step();
  const Tensor& velocity() const { return velocity_; }
  const Tensor& steps() const { return steps_; }

 private:
  SgdHyper hyper_;
  ParameterArena arena_;
  Tensor velocity_, steps_;
};

/// How a teacher's running statistics follow the student's: averaged like the weights, copied, or not at all, which leaves them
/// at their initial 0 and 1 (what eq. 4 says if it is taken to speak of trained parameters only).
enum class EmaBuffers { average, copy, frozen };

/// The buffers' part of the teacher's update, after Adam::step has done the weights'. Does nothing for a model without buffers.
void ema_buffers(const ParameterArena& student, const ParameterArena& teacher, float beta, EmaBuffers how);

}  // namespace retort::nn
