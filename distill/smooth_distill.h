// Smooth-Distill (paper algorithm 2): the student learns from its own moving average.
//
//   theta_T <- beta theta_T + (1 - beta) theta_S   after every step                        (eq. 4, the trainer's fused Adam+EMA)
//   L = alpha (CE1 + lambda KL1) + (1 - alpha) (CE2 + lambda KL2),  KL = KL_tau(T || S)    (eq. 5)
//
// Born-Again (paper algorithm 1, adapted to two tasks as section 4.2.2 says) minimises the same loss against a teacher that was
// trained first, by multi-task learning, and stays as it is; the student starts again from the first initialisation.
#pragma once

#include "retort/core/branch.h"
#include "retort/distill/method.h"

namespace retort {

class TeacherDistill : public Method {
 public:
  using Method::Method;

  StepLosses losses(const nn::TwoTaskModel& student, const nn::TwoTaskModel* teacher, const Batch& batch) override {
    Branch beside(batch.windows.context());  // where the device can, the teacher looks at the batch while the student does
    const nn::Logits t = beside.run([&] {
      NoGrad no_grad(batch.windows.context());
      return teacher->forward(batch.windows);
    });
    const nn::Logits s = student.forward(batch.windows);
    beside.join();
    const auto loss = ops::multitask_distill_loss(s.task1, s.task2, t.task1, t.task2, batch.labels1, batch.labels2,
                                                  {options_.alpha, options_.lambda, options_.tau});
    return {loss.total, loss.values, s};
  }
};

class SmoothDistill final : public TeacherDistill {
 public:
  using TeacherDistill::TeacherDistill;
  Teacher teacher() const override { return Teacher::ema; }
};

class BornAgain final : public TeacherDistill {
 public:
  using TeacherDistill::TeacherDistill;
  Teacher teacher() const override { return Teacher::frozen; }
  std::string_view first_stage() const override { return "multi-task"; }
};

}  // namespace retort
