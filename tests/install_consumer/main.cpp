// Twenty steps of Adam on a small regression, through the installed headers and libraries.
#include "retort/core/ops.h"
#include "retort/nn/layers.h"
#include "retort/nn/linear.h"
#include "retort/nn/optim/optimizers.h"

#include <cstdio>

int main() {
  using namespace retort;
  Context context;
  Random random(1);
  nn::Sequential net;
  net.add(std::make_unique<nn::Linear>(context, 3, 16, random)).add(std::make_unique<nn::ReLU>());
  net.add(std::make_unique<nn::Linear>(context, 16, 1, random));
  const nn::ParameterArena arena(context, net, /*gradients=*/true);
  nn::Adam adam(context, arena, {.lr = 0.01f});
  std::vector<float> inputs(32 * 3), targets(32);
  for (float& value : inputs) value = static_cast<float>(random.normal());
  for (int i = 0; i < 32; ++i) targets[i] = inputs[3 * i] - inputs[3 * i + 1];
  const Tensor x = Tensor::from(context, {32, 3}, inputs), y = Tensor::from(context, {32, 1}, targets);
  float first = 0, last = 0;
  for (int step = 0; step < 20; ++step) {
    arena.zero_gradients();
    const Tensor error = ops::sub(net.forward(x), y);
    const Tensor loss = ops::mean(ops::mul(error, error));
    loss.backward();
    adam.step();
    (step == 0 ? first : last) = loss.item();
  }
  std::printf("loss %.4f -> %.4f\n", static_cast<double>(first), static_cast<double>(last));
  return last < first ? 0 : 1;
}
