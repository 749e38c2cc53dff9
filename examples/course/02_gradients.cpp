// Lesson 2: gradients, and how to be sure of them.
//
//   loss(w) = mean(tanh(x w^T))      d loss / d w by `backward`, and by the definition of a derivative:
//   d loss / d w_i ~ (loss(w + h e_i) - loss(w - h e_i)) / 2h
//
// Operations on tensors that require gradients record what they need; backward walks the record from the newest node to the
// oldest (core/autograd.cpp, under 200 lines). Every operation of this engine is checked in this way, in double, by
// tests/kernels_gradient_test.cpp.
#include "lesson.h"
#include "retort/core/ops.h"
#include "retort/core/random.h"

namespace ops = retort::ops;

int main() {
  retort::Context context;
  retort::Random random(7);
  std::vector<float> x_values(5 * 3), w_values(2 * 3);
  for (float& v : x_values) v = static_cast<float>(random.normal());
  for (float& v : w_values) v = static_cast<float>(random.normal());

  const auto x = retort::Tensor::from(context, {5, 3}, x_values);
  auto loss_of = [&](const retort::Tensor& w) { return ops::mean(ops::tanh(ops::linear(x, w, {}))); };

  auto w = retort::Tensor::from(context, {2, 3}, w_values).set_requires_grad();
  loss_of(w).backward();
  const auto gradient = w.grad().to_vector();

  course::Lesson lesson;
  const float h = 1e-2f;  // float32 has seven digits: a smaller step would drown in rounding, a larger one bends the curve
  for (std::size_t i = 0; i < w_values.size(); ++i) {
    auto moved = w_values;
    moved[i] = w_values[i] + h;
    const float above = loss_of(retort::Tensor::from(context, {2, 3}, moved)).item();
    moved[i] = w_values[i] - h;
    const float below = loss_of(retort::Tensor::from(context, {2, 3}, moved)).item();
    lesson.expect("d loss / d w, backward against differences", gradient[i], (above - below) / (2 * h), 2e-4);
  }

  // Gradients of a leaf add up, as in PyTorch; whoever steps must clear them.
  loss_of(w).backward();
  lesson.expect("after a second backward the gradient is double", w.grad().to_vector()[0], 2.0 * gradient[0], 1e-6);
  return lesson.end();
}
