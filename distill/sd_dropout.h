// Self-distillation via dropout (Lee et al. 2022, as section 4.2.2 of the paper uses it): two views of the shared features f, made by
// dropout, must agree in both directions; a pair of views for each task. The labels' loss sees f itself.
//
//   L_i = CE(h_i(f)) + lambda [KL_tau(p_a || p_b) + KL_tau(p_b || p_a)],  p_a = softmax(h_i(m_a f) / tau),  m a dropout mask, p = 0.5
//   L   = alpha L_1 + (1 - alpha) L_2                                      Gradients flow through both sides of each KL.
#pragma once

#include "retort/distill/logged_values.h"
#include "retort/distill/method.h"

namespace retort {

class SdDropout final : public Method {
 public:
  using Method::Method;
  static constexpr float drop = 0.5f;
  /// Masks of task 1's views a and b, then task 2's; each has the shape of the features.
  using Masks = std::array<Tensor, 4>;

  StepLosses losses(const nn::TwoTaskModel& student, const nn::TwoTaskModel*, const Batch& batch) override {
    const Tensor f = student.features(batch.windows);
    Masks masks;
    for (Tensor& mask : masks) mask = ops::dropout_mask(f.context(), f.shape(), drop);
    return losses(student, f, masks, batch);
  }

  StepLosses losses(const nn::TwoTaskModel& student, const Tensor& f, const Masks& masks, const Batch& batch) const {
    const nn::Logits z = student.heads(f);
    const auto labels = ops::multitask_distill_loss(z.task1, z.task2, {}, {}, batch.labels1, batch.labels2, {.alpha = options_.alpha});
    auto view = [&](const Tensor& mask) { return student.heads(ops::mul(f, mask)); };
    auto both_ways = [&](const Tensor& a, const Tensor& b) {
      return ops::add(ops::distill_kl(b, a, options_.tau), ops::distill_kl(a, b, options_.tau));
    };
    const Tensor kl1 = both_ways(view(masks[0]).task1, view(masks[1]).task1);
    const Tensor kl2 = both_ways(view(masks[2]).task2, view(masks[3]).task2);
    const float lambda1 = options_.alpha * options_.lambda, lambda2 = (1.0f - options_.alpha) * options_.lambda;
    const Tensor total = ops::add(labels.total, ops::add(ops::scale(kl1, lambda1), ops::scale(kl2, lambda2)));
    return {total, logged_values(total, labels.values.alias(1, Shape{}), labels.values.alias(2, Shape{}), kl1, kl2), z};
  }
};

}  // namespace retort
