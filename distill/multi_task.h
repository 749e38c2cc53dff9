// Multi-task baseline, paper eq. 1:   L = alpha CE1 + (1 - alpha) CE2
#pragma once

#include "retort/distill/method.h"

namespace retort {

class MultiTask final : public Method {
 public:
  using Method::Method;

  StepLosses losses(const nn::TwoTaskModel& student, const nn::TwoTaskModel*, const Batch& batch) override {
    const nn::Logits z = student.forward(batch.windows);
    const auto loss = ops::multitask_distill_loss(z.task1, z.task2, {}, {}, batch.labels1, batch.labels2, {.alpha = options_.alpha});
    return {loss.total, loss.values, z};
  }
};

}  // namespace retort
