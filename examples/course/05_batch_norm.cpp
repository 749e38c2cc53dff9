// Lesson 5: batch normalisation lives two lives.
//
// Training:    y = gamma (x - mean_B) / sqrt(var_B + eps) + beta, with the batch's own mean and (biased) variance, while running
//              statistics follow:  r <- (1 - momentum) r + momentum * statistic   (with the unbiased variance, as PyTorch does).
// Evaluation:  the running statistics, so that a window's result does not depend on its neighbours.
//
// A teacher that is a moving average of the student needs the running statistics too: without them it would normalise with mean 0
// and variance 1 for ever (docs/methods.md, --ema-buffers).
#include "lesson.h"
#include "retort/core/ops.h"

int main() {
  retort::Context context;
  const std::vector<float> values{1, 2, 3, 4, /**/ 10, 20, 30, 40};  // two windows of one channel
  const auto x = retort::Tensor::from(context, {2, 1, 1, 4}, values);
  const auto gamma = retort::Tensor::full(context, {1}, 1), beta = retort::Tensor::zeros(context, {1});
  const auto running_mean = retort::Tensor::zeros(context, {1}), running_var = retort::Tensor::full(context, {1}, 1);

  const auto y = retort::ops::batch_norm(x, gamma, beta, running_mean, running_var, {.training = true});

  double mean = 0, square = 0;
  for (const float v : values) mean += v / 8.0;
  for (const float v : values) square += (v - mean) * (v - mean);
  course::Lesson lesson;
  lesson.expect("training: first value", y.to_vector()[0], (1 - mean) / std::sqrt(square / 8 + 1e-5), 1e-6);
  lesson.expect("training: the batch has mean 0", retort::ops::mean(y).item(), 0, 1e-6);
  lesson.expect("running mean after one batch", running_mean.item(), 0.1 * mean, 1e-6);
  lesson.expect("running variance after one batch", running_var.item(), 0.9 + 0.1 * square / 7, 1e-6);

  const auto z = retort::ops::batch_norm(x, gamma, beta, running_mean, running_var, {.training = false});
  lesson.expect("evaluation: first value", z.to_vector()[0], (1 - 0.1 * mean) / std::sqrt(0.9 + 0.1 * square / 7 + 1e-5), 1e-6);
  return lesson.end();
}
