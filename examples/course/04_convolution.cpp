// Lesson 4: the convolution of MTL-net, and its trap.
//
//   y[n, k, h, t] = b[k] + sum_c sum_s w[k, c, 0, s] x[n, c, h, t + s]          a kernel one high and nine long
//
// A window of acceleration is (3 axes, 100 samples). Seen as three *rows* of one channel, a kernel that is one high never mixes
// axes, and a pool with stride two in both directions then drops rows: of x, y and z only x reaches the classifier. Seen as three
// *channels* (the form `mtl-net`) every axis counts. This lesson shows both, by moving one value of the z axis.
#include "lesson.h"
#include "retort/core/ops.h"
#include "retort/core/random.h"

namespace ops = retort::ops;

namespace {

/// Conv(1x9), ReLU, pool(1x2, stride 2), twice, as MTL-net has them; the sum of all that is left.
float what_is_left(const retort::Tensor& x, std::int64_t in_channels) {
  retort::Random random(1);
  auto weight = [&](std::int64_t out, std::int64_t in) {
    std::vector<float> values(static_cast<std::size_t>(out * in * 9));
    for (float& v : values) v = static_cast<float>(random.uniform(0, 0.1));  // positive, so that ReLU hides nothing
    return retort::Tensor::from(x.context(), {out, in, 1, 9}, values);
  };
  const auto a = ops::max_pool2d(ops::relu(ops::conv2d(x, weight(4, in_channels), {})), {1, 2}, {2, 2});
  const auto b = ops::max_pool2d(ops::relu(ops::conv2d(a, weight(8, 4), {})), {1, 2}, {2, 2});
  fmt::print("  {} -> {} -> {}\n", x.shape(), a.shape(), b.shape());
  return ops::sum(b).item();
}

}  // namespace

int main() {
  retort::Context context;
  std::vector<float> window(3 * 100, 1.0f);
  const auto before = retort::Tensor::from(context, {1, 1, 3, 100}, window);
  for (std::size_t t = 0; t < 100; ++t) window[2 * 100 + t] = 5.0f;  // the z axis jumps
  const auto after = retort::Tensor::from(context, {1, 1, 3, 100}, window);

  course::Lesson lesson;
  const double rows = what_is_left(after, 1) - what_is_left(before, 1);
  lesson.expect("axes as rows: what z changes at the end", rows, 0, 0);
  const auto as_channels = [](const retort::Tensor& x) { return ops::view(x, {1, 3, 1, 100}); };
  const double channels = what_is_left(as_channels(after), 3) - what_is_left(as_channels(before), 3);
  lesson.expect("axes as channels: z does change something", channels > 1 ? 1 : 0, 1, 0);
  return lesson.end();
}
