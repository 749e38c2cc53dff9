// Lesson 7: Adam, and the teacher that follows (paper eq. 4), in one pass over memory.
//
//   m <- b1 m + (1 - b1) g        v <- b2 v + (1 - b2) g^2
//   w <- w - lr * (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)
//   teacher <- ema * teacher + (1 - ema) * w
//
// A step of a small net reads and writes each of these arrays once; doing all of it in one kernel is the difference between five
// trips to memory and one. All parameters of a model stand in one flat array for that reason (nn/parameter_arena.h).
#include "lesson.h"
#include "retort/core/ops.h"
#include "retort/core/optim_ops.h"

int main() {
  retort::Context context;
  retort::AdamHyper hyper;
  hyper.lr = 0.1f;
  hyper.ema = 0.9f;
  const std::vector<float> start{1.0f, -2.0f, 3.0f};
  const auto w = retort::Tensor::from(context, {3}, start), teacher = w.clone();
  const auto m = retort::Tensor::zeros(context, {3}), v = retort::Tensor::zeros(context, {3}),
             g = retort::Tensor::zeros(context, {3});
  const auto step =
      retort::Tensor::zeros(context, {}, retort::DType::i32);  // on the device, so that a captured step can be replayed

  double w0 = start[0], t0 = w0, m0 = 0, v0 = 0;  // the first element, by hand
  for (int t = 1; t <= 20; ++t) {
    g.copy_from(retort::ops::scale(w, 2.0f));  // the gradient of w^2
    retort::ops::adam_ema_(hyper, step, w, g, m, v, teacher);
    const double gradient = 2 * w0;
    m0 = 0.9 * m0 + 0.1 * gradient;
    v0 = 0.999 * v0 + 0.001 * gradient * gradient;
    w0 -= 0.1 * (m0 / (1 - std::pow(0.9, t))) / (std::sqrt(v0 / (1 - std::pow(0.999, t))) + 1e-8);
    t0 = 0.9 * t0 + 0.1 * w0;
  }
  course::Lesson lesson;
  lesson.expect("w after 20 steps towards the minimum of w^2", w.to_vector()[0], w0, 1e-5);
  lesson.expect("the teacher, some way behind", teacher.to_vector()[0], t0, 1e-5);
  lesson.expect("steps counted on the device", step.to_ints()[0], 20, 0);
  return lesson.end();
}
