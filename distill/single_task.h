// Single-task baseline: two nets, one a task, each trained on its own cross-entropy.
//
//   L = CE1(net 1) + CE2(net 2)        The nets share nothing, so each sees its own loss only.
#pragma once

#include "retort/distill/method.h"
#include "retort/distill/logged_values.h"

namespace retort {

class SingleTask final : public Method {
 public:
  using Method::Method;

  std::unique_ptr<nn::TwoTaskModel> make_model(Context& context, const nn::ModelSpec& spec) const override {
    return nn::make_single_task_pair(context, spec);
  }

  StepLosses losses(const nn::TwoTaskModel& student, const nn::TwoTaskModel*, const Batch& batch) override {
    const nn::Logits z = student.forward(batch.windows);
    const Tensor ce1 = ops::cross_entropy(z.task1, batch.labels1);
    const Tensor ce2 = ops::cross_entropy(z.task2, batch.labels2);
    const Tensor total = ops::add(ce1, ce2);
    return {total, logged_values(total, ce1, ce2, Tensor(), Tensor()), z};
  }
};

}  // namespace retort
