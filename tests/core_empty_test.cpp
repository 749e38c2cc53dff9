// Tensors without elements, as PyTorch takes them: an empty batch has empty results and adds nothing to a gradient, a sum over
// no terms is zero. Memory is poisoned, so that what a kernel forgets to write, or reads from nowhere, is seen.
#include "catch.h"
#include "retort/core/ops.h"
#include "retort/kernels/registry.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

using namespace retort;

namespace {

/// test(device) with every implementation of the CPU's kernels in turn, and on the simulator; the defaults again when done.
template <class Test>
void with_each_implementation(Test&& test) {
  std::set<std::pair<Device, std::string>> names;
  for (const auto& info : list_implementations())
    if (info.device != Device::cuda)
      for (const std::string& name : info.names) names.emplace(info.device, name);
  for (const auto& [device, implementation] : names) {
    INFO(name(device) << ", " << implementation);
    use_implementation("*", device, implementation);
    test(device);
    for (const auto& info : list_implementations()) use_implementation(info.op, info.device, info.names.front());
  }
}

/// Leaves NaN in the blocks that tensors will get, and in the kernels' work space.
void poison(Context& context) {
  const float nan = std::nanf("");
  std::vector<Tensor> blocks;
  for (std::int64_t count = 16; count <= 1 << 14; count *= 2)
    for (int i = 0; i < 4; ++i) blocks.push_back(Tensor::full(context, {count}, nan));
  const std::vector<float> nans(1 << 18, nan);
  context.stream().copy_from_host(context.stream().scratch(nans.size() * sizeof(float)), nans.data(),
                                  nans.size() * sizeof(float));
}

Tensor leaf(Context& context, const Shape& shape, float value = 1) {
  return Tensor::full(context, shape, value).set_requires_grad();
}

bool all_are(float expected, const Tensor& tensor) {
  return std::ranges::all_of(tensor.to_vector(), [&](float value) { return value == expected; });
}

/// After a backward pass from y: what its parameters got.
void check_gradients(const Tensor& y, std::initializer_list<Tensor> parameters, float expected = 0) {
  y.backward(Tensor::full(y.context(), y.shape(), 1.0f));
  for (const Tensor& parameter : parameters) {
    INFO("a parameter of shape " << parameter.shape().str());
    CHECK(all_are(expected, parameter.grad()));
  }
}

}  // namespace

TEST_CASE("an empty batch goes through every layer and adds nothing to its parameters' gradients") {
  with_each_implementation([](Device device) {
    Context context(device);
    poison(context);
    SECTION("conv2d") {
      for (const std::int64_t width : {3, 20}) {  // rows of (1, 9) and (2, 3) kernels
        const Tensor x = leaf(context, {0, 3, 2, width + 10}), b = leaf(context, {5});
        const Tensor w = leaf(context, {5, 3, width == 3 ? 2 : 1, width == 3 ? 3 : 9});
        const Tensor y = ops::conv2d(x, w, b);
        CHECK(y.count() == 0);
        check_gradients(y, {w, b});
      }
    }
    SECTION("linear") {
      const Tensor x = leaf(context, {0, 7}), w = leaf(context, {33, 7}), b = leaf(context, {33});
      const Tensor y = ops::linear(x, w, b, /*relu=*/true);
      CHECK(y.shape() == Shape{0, 33});
      check_gradients(y, {w, b});
    }
    SECTION("batch_norm with running statistics, without samples or without positions") {
      for (const Shape& shape : {Shape{0, 3, 5}, Shape{4, 3, 0}}) {
        const Tensor x = leaf(context, shape), weight = leaf(context, {3}), bias = leaf(context, {3});
        const Tensor y = ops::batch_norm(x, weight, bias, Tensor::zeros(context, {3}), Tensor::full(context, {3}, 1.0f),
                                         {.training = false, .relu = true});
        CHECK(y.shape() == shape);
        check_gradients(y, {weight, bias});
      }
    }
    SECTION("lstm and gru") {
      for (const std::int64_t blocks : {4, 3}) {
        const Tensor x = leaf(context, {6, 0, 3});
        const ops::RecurrentWeights w{leaf(context, {blocks * 9, 3}), leaf(context, {blocks * 9, 9}), leaf(context, {blocks * 9}),
                                      leaf(context, {blocks * 9})};
        const Tensor y = blocks == 4 ? ops::lstm(x, w) : ops::gru(x, w);
        CHECK(y.shape() == Shape{6, 0, 9});
        check_gradients(y, {w.weight_ih, w.weight_hh, w.bias_ih, w.bias_hh});
      }
    }
    SECTION("max_pool2d and flatten") {
      const Tensor y = ops::flatten(ops::max_pool2d(leaf(context, {0, 2, 3, 40}), {1, 2}, {2, 2}));
      CHECK(y.shape() == Shape{0, 2 * 2 * 20});
    }
  });
}

TEST_CASE("a linear layer without inputs is its bias, one without outputs has a gradient of zero") {
  with_each_implementation([](Device device) {
    Context context(device);
    poison(context);
    for (const std::int64_t rows : {3, 40}) {
      const Tensor b = leaf(context, {70}, 2);
      const Tensor y = ops::linear(leaf(context, {rows, 0}), leaf(context, {70, 0}), b);
      CHECK(all_are(2, y));
      check_gradients(y, {b}, static_cast<float>(rows));
      const Tensor x = leaf(context, {rows, 37});
      check_gradients(ops::linear(x, leaf(context, {0, 37}), {}), {x});
    }
  });
}
