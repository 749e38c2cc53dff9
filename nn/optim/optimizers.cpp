#include "retort/nn/optim/optimizers.h"

namespace retort::nn {

Adam::Adam(Context& context, const ParameterArena& arena, const AdamHyper& hyper) : hyper_(hyper), arena_(arena) {
  check(arena_.gradients().defined(), "Adam: the arena has no gradients");
  m_ = Tensor::zeros(context, arena_.parameters().shape());
  v_ = Tensor::zeros(context, arena_.parameters().shape());
  steps_ = Tensor::zeros(context, Shape{}, DType::i32);
}

void Adam::step(const ParameterArena* teacher) {
  std::span<const std::int64_t> ends;
  if (arena_.parameters().device() == Device::cpu) ends = arena_.part_ends();  // on a GPU one launch is better
  ops::adam_ema_(hyper_, steps_, arena_.parameters(), arena_.gradients(), m_, v_, teacher ? teacher->parameters() : Tensor(),
                 ends);
}

Sgd::Sgd(Context& context, const ParameterArena& arena, const SgdHyper& hyper) : hyper_(hyper), arena_(arena) {
  check(arena_.gradients().defined(), "Sgd: the arena has no gradients");
  if (hyper.momentum != 0.0f) velocity_ = Tensor::zeros(context, arena_.parameters().shape());
  steps_ = Tensor::zeros(context, Shape{}, DType::i32);
}

void Sgd::step() { ops::sgd_(hyper_, steps_, arena_.parameters(), arena_.gradients(), velocity_); }

void ema_buffers(const ParameterArena& student, const ParameterArena& teacher, float beta, EmaBuffers how) {
  if (!student.buffers().defined() || how == EmaBuffers::frozen) return;
  if (how == EmaBuffers::copy)
    teacher.buffers().copy_from(student.buffers());
  else
    ops::ema_(beta, student.buffers(), teacher.buffers());
}

}  // namespace retort::nn
