// Lesson 3: softmax and cross-entropy, the loss of a classifier.
//
//   p_k = exp(z_k) / sum_j exp(z_j)          CE = -(1/N) sum_n log p_{n, y_n}          d CE / d z_k = (p_k - [k = y]) / N
//
// exp(89) overflows float32. Subtracting the row's maximum changes nothing in exact arithmetic and everything in a computer's:
// log p_k = (z_k - max) - log sum_j exp(z_j - max). All kernels of this engine do that (kernels/softmax.h).
#include "lesson.h"
#include "retort/core/ops.h"

int main() {
  retort::Context context;
  const std::vector<float> z{2, -1, 0.5f, /**/ 1000, 999, -1000};  // the second row overflows a naive softmax
  const std::vector<std::int32_t> y{2, 1};
  auto logits = retort::Tensor::from(context, {2, 3}, z).set_requires_grad();
  const auto labels = retort::Tensor::from(context, {2}, y);

  const auto loss = retort::ops::cross_entropy(logits, labels);
  loss.backward();
  const auto gradient = logits.grad().to_vector();

  course::Lesson lesson;
  double by_hand = 0;
  for (std::size_t row = 0; row < 2; ++row) {
    const double top = std::fmax(z[3 * row], std::fmax(z[3 * row + 1], z[3 * row + 2]));
    double sum = 0;
    for (std::size_t k = 0; k < 3; ++k) sum += std::exp(z[3 * row + k] - top);
    const auto label = static_cast<std::size_t>(y[row]);
    by_hand -= (z[3 * row + label] - top - std::log(sum)) / 2;
    for (std::size_t k = 0; k < 3; ++k) {
      const double p = std::exp(z[3 * row + k] - top) / sum;
      lesson.expect("d CE / d z = (p - onehot) / N", gradient[3 * row + k], (p - (k == label ? 1 : 0)) / 2, 1e-6);
    }
  }
  lesson.expect("cross-entropy", loss.item(), by_hand, 1e-6);
  return lesson.end();
}
