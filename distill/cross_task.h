// Cross-task contrast, a sixth method that only the authors' released code has (the paper does not describe it):
//
//   L = CE1 + CE2 + 0.5 InfoNCE(f1, f2; 0.7) + 0.01 |a|_1,   a in R^F learned, initially 0.5
//
// f1 = a f and f2 = (1 - a) f are the shared features as each task weighs them (our reading; the release gives the loss, not its
// derivation). InfoNCE is the cross-entropy of the cosine similarities of all pairs in the batch, over 0.7, with the window's own pair
// as the right answer. The heads see f. In the log, kl1 is the InfoNCE and kl2 the L1 norm, without their factors.
#pragma once

#include "retort/distill/logged_values.h"
#include "retort/distill/method.h"

namespace retort {

class CrossTask final : public Method {
 public:
  static constexpr float contrast_weight = 0.5f, temperature = 0.7f, sparsity = 0.01f;

  CrossTask(Context& context, const MethodOptions& options, std::int64_t features) : Method(options) {
    attention_ = add_parameter("attention", Tensor::full(context, {features}, 0.5f));
  }

  StepLosses losses(const nn::TwoTaskModel& student, const nn::TwoTaskModel*, const Batch& batch) override {
    return losses(student, student.features(batch.windows), batch);
  }

  StepLosses losses(const nn::TwoTaskModel& student, const Tensor& f, const Batch& batch) {
    const nn::Logits z = student.heads(f);
    const Tensor ce1 = ops::cross_entropy(z.task1, batch.labels1), ce2 = ops::cross_entropy(z.task2, batch.labels2);
    const Tensor f1 = ops::mul(f, attention_), f2 = ops::sub(f, f1);
    const Tensor similarity = ops::matmul(ops::l2_normalize(f1), ops::l2_normalize(f2), /*transpose_b=*/true);
    const Tensor contrast = ops::cross_entropy(ops::scale(similarity, 1.0f / temperature), own_pairs(f));
    const Tensor norm = ops::l1_norm(attention_);
    const Tensor total =
        ops::add(ops::add(ce1, ce2), ops::add(ops::scale(contrast, contrast_weight), ops::scale(norm, sparsity)));
    return {total, logged_values(total, ce1, ce2, contrast, norm), z};
  }

  const Tensor& attention() const { return attention_; }

 private:
  /// 0, 1, ..., N-1: the right answer of row i is column i. Kept from step to step.
  Tensor own_pairs(const Tensor& f) {
    const std::int64_t rows = f.shape()[0];
    if (!pairs_.defined() || pairs_.count() < rows) {
      std::vector<std::int32_t> order(static_cast<std::size_t>(rows));
      for (std::size_t i = 0; i < order.size(); ++i) order[i] = static_cast<std::int32_t>(i);
      pairs_ = Tensor::from(f.context(), {rows}, order);
    }
    return pairs_.alias(0, {rows});
  }

  Tensor attention_, pairs_;
};

}  // namespace retort
