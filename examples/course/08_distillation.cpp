// Lesson 8: what a student learns from a teacher (paper eq. 2).
//
//   p_T = softmax(z_T / tau)    p_S = softmax(z_S / tau)    KL = tau^2 (1/N) sum_n sum_k p_T (log p_T - log p_S)
//   d KL / d z_S = (tau / N) (p_S - p_T)
//
// tau > 1 flattens the teacher's answer, so that "rather b than c" counts and not only "a". The factor tau^2 keeps the gradient's
// size: without it, it would shrink as 1 / tau^2.
#include "lesson.h"
#include "retort/core/ops.h"

#include <array>

namespace {

std::array<double, 3> softmax(const std::vector<float>& z, double tau) {
  std::array<double, 3> p{};
  double sum = 0;
  for (std::size_t k = 0; k < 3; ++k) sum += p[k] = std::exp(z[k] / tau);
  for (double& value : p) value /= sum;
  return p;
}

}  // namespace

int main() {
  retort::Context context;
  const std::vector<float> student{0.2f, 0.1f, -0.3f}, teacher{4.0f, 2.0f, -3.0f};
  course::Lesson lesson;
  for (const double tau : {1.0, 3.0, 10.0}) {
    auto z = retort::Tensor::from(context, {1, 3}, student).set_requires_grad();
    const auto loss = retort::ops::distill_kl(z, retort::Tensor::from(context, {1, 3}, teacher), static_cast<float>(tau));
    loss.backward();

    const auto ps = softmax(student, tau), pt = softmax(teacher, tau);
    double kl = 0;
    for (std::size_t k = 0; k < 3; ++k) kl += tau * tau * pt[k] * (std::log(pt[k]) - std::log(ps[k]));
    fmt::print("tau = {:g}: the teacher says {:.3f} {:.3f} {:.3f}\n", tau, pt[0], pt[1], pt[2]);
    lesson.expect("KL", loss.item(), kl, 1e-5);
    lesson.expect("d KL / d z_0 = tau (p_S - p_T)", z.grad().to_vector()[0], tau * (ps[0] - pt[0]), 1e-5);
  }
  return lesson.end();
}
