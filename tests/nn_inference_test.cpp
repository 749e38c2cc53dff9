// Prediction: the fused path gives the numbers of the layers one by one, and a repeated call touches neither the heap nor the
// device's allocator.
#include "catch.h"
#include "malloc_counter.h"

#include "retort/core/random.h"
#include "retort/nn/predict.h"

#include <cmath>
#include <random>

using namespace retort;

namespace {

Tensor noise(Context& context, const Shape& shape, Random& random) {
  std::vector<float> values(static_cast<std::size_t>(shape.count()));
  for (float& value : values) value = static_cast<float>(random.normal());
  return Tensor::from(context, shape, values);
}

/// Parameters and running statistics that all matter: no zero, no one.
void disturb(const nn::Module& model, Random& random) {
  for (const auto& [name, tensor] : model.state()) {
    std::vector<float> values = tensor.to_vector();
    for (float& value : values) value += static_cast<float>(random.uniform(0.01, 0.1));
    tensor.copy_from_host(values);
  }
}

double relative_error(const Tensor& a, const Tensor& b) {
  const std::vector<float> x = a.to_vector(), y = b.to_vector();
  double difference = 0, size = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    difference += std::pow(static_cast<double>(x[i]) - static_cast<double>(y[i]), 2);
    size += std::pow(static_cast<double>(y[i]), 2);
  }
  return std::sqrt(difference / size);
}

}  // namespace

TEST_CASE("without gradients, evaluation gives what the layers give one by one") {
  const std::uint64_t seed = static_cast<std::uint64_t>(std::random_device{}());

  INFO("seed " << seed);
  for (const std::string& form : nn::architectures())
    for (const std::int64_t rows : {1, 19}) {
      CAPTURE(form, rows);
      Context context(Device::cpu, 2);
      Random random(seed);
      const auto model = nn::make_model(context, {.architecture = form});
      disturb(*model, random);
      model->eval();
      const Tensor windows = noise(context, {rows, 1, 3, 100}, random);
      const nn::Logits expected = model->forward(windows);
      const nn::Logits got = nn::predict(*model, windows);
      CHECK(relative_error(got.task1, expected.task1) <= 1e-5);
      CHECK(relative_error(got.task2, expected.task2) <= 1e-5);
    }
}

TEST_CASE("no windows have no logits") {
  for (const std::string& form : nn::architectures()) {
    INFO(form);
    Context context(Device::cpu, 2);
    const auto model = nn::make_model(context, {.architecture = form});
    model->eval();
    const nn::Logits logits = nn::predict(*model, Tensor::zeros(context, {0, 1, 3, 100}));
    CHECK(logits.task1.shape() == Shape{0, 12});
    CHECK(logits.task2.shape() == Shape{0, 3});
  }
}

TEST_CASE("many windows are predicted in pieces") {
  Context context(Device::cpu, 2);
  Random random(1);
  for (const std::string& form : nn::architectures()) {
    CAPTURE(form);
    const auto model = nn::make_model(context, {.architecture = form, .classes = {5, 0}});
    model->eval();
    const Tensor windows = noise(context, {131, 1, 3, 100}, random);
    const nn::Logits pieces = nn::predict(*model, windows);
    const NoGrad no_grad(context);
    CHECK(relative_error(pieces.task1, model->forward(windows).task1) <= 1e-5);
    CHECK(!pieces.task2.defined());
  }
}

TEST_CASE("a repeated prediction allocates nothing") {
  if (!counts_mallocs) {
    WARN("skipped: the allocator cannot be counted in this build");
    return;
  }
  for (const std::string& form : nn::architectures())
    for (const std::int64_t rows : {1, 19, 131}) {
      CAPTURE(form, rows);
      Context context(Device::cpu, 2);
      Random random(1);
      const auto model = nn::make_model(context, {.architecture = form});
      model->eval();
      const Tensor windows = noise(context, {rows, 1, 3, 100}, random);
      const auto predict = [&] {
        const NoGrad no_grad(context);
        const nn::Logits logits = nn::predict(*model, windows);
        ops::log_softmax(logits.task1), ops::log_softmax(logits.task2);
      };
      predict();
      const auto from_device = context.arena().device_allocations();
      const long before = mallocs;
      for (int i = 0; i < 3; ++i) predict();
      const long after = mallocs;
      CHECK(after - before == 0);
      CHECK(context.arena().device_allocations() == from_device);
    }
}
