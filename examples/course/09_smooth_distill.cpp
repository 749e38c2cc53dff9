// Lesson 9: Smooth-Distill (paper algorithm 2) from its parts, in a loop you can read in one breath.
//
//   the student learns from labels and from its own moving average:
//   L = alpha (CE1 + lambda KL1) + (1 - alpha) (CE2 + lambda KL2)        (eq. 5)
//   theta_T <- beta theta_T + (1 - beta) theta_S after every step        (eq. 4)
//
// `retort train` does the same, plus epochs, validation and checkpoints (distill/trainer.h).
#include "lesson.h"
#include "retort/core/ops.h"
#include "retort/core/random.h"
#include "retort/nn/models/model.h"
#include "retort/nn/optim/optimizers.h"

namespace ops = retort::ops;

namespace {

/// Windows whose frequency tells task 1 and whose direction of gravity tells task 2, with noise.
struct Toy {
  std::vector<float> windows;
  std::vector<std::int32_t> task1, task2;
};

Toy make_windows(std::int64_t count, std::uint64_t seed) {
  Toy toy;
  retort::Random random(seed);
  for (std::int64_t i = 0; i < count; ++i) {
    toy.task1.push_back(static_cast<std::int32_t>(random.below(3)));
    toy.task2.push_back(static_cast<std::int32_t>(random.below(2)));
    for (int axis = 0; axis < 3; ++axis)
      for (int t = 0; t < 100; ++t)
        toy.windows.push_back(static_cast<float>(std::sin(0.2 * (toy.task1.back() + 1) * t) +
                                                 (toy.task2.back() ? 0.5 : -0.5) * axis + 0.5 * random.normal()));
  }
  return toy;
}

}  // namespace

int main() {
  const float alpha = 0.5f, lambda = 0.5f, tau = 3.0f;
  const std::int64_t batch = 32;
  retort::Context context;

  retort::nn::ModelSpec spec;
  spec.classes = {3, 2};
  const auto student = retort::nn::make_model(context, spec), teacher = retort::nn::make_model(context, spec);
  retort::nn::ParameterArena weights(context, *student, /*gradients=*/true), average(context, *teacher, /*gradients=*/false);
  average.copy_from(weights);
  teacher->eval();
  retort::AdamHyper hyper;
  hyper.ema = 0.9f;  // beta; 0.999 in the paper, for runs of many thousand steps
  retort::nn::Adam adam(context, weights, hyper);

  float first = 0, last = 0;
  for (std::uint64_t step = 0; step < 40; ++step) {
    const Toy toy = make_windows(batch, step);
    const auto x = retort::Tensor::from(context, {batch, 1, 3, 100}, toy.windows);
    const auto y1 = retort::Tensor::from(context, {batch}, toy.task1), y2 = retort::Tensor::from(context, {batch}, toy.task2);

    weights.zero_gradients();
    const auto t = [&] {
      retort::NoGrad no_grad(context);
      return teacher->forward(x);
    }();
    const auto s = student->forward(x);
    const auto loss = ops::multitask_distill_loss(s.task1, s.task2, t.task1, t.task2, y1, y2, {alpha, lambda, tau});
    loss.total.backward();
    adam.step(&average);  // eq. 4 for the weights, in Adam's own pass over memory
    retort::nn::ema_buffers(weights, average, hyper.ema, retort::nn::EmaBuffers::average);

    last = loss.total.item();
    if (step == 0) first = last;
    if (step % 10 == 0) fmt::print("  step {:>2}: loss {:.4f}\n", step, last);
  }

  course::Lesson lesson;
  lesson.expect("the loss falls below a quarter of its start", last < first / 4 ? 1 : 0, 1, 0);
  const Toy fresh = make_windows(200, 1000);
  const auto x = retort::Tensor::from(context, {200, 1, 3, 100}, fresh.windows);
  const auto counts = retort::Tensor::zeros(context, {3, 3}, retort::DType::i32);
  retort::NoGrad no_grad(context);
  ops::count_confusion(teacher->forward(x).task1, retort::Tensor::from(context, {200}, fresh.task1), counts);
  const auto c = counts.to_ints();
  lesson.expect("the teacher knows the task: over 180 of 200 right", c[0] + c[4] + c[8] > 180 ? 1 : 0, 1, 0);
  return lesson.end();
}
