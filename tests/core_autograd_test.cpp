// The graph itself: what backward does, what it refuses, and that a repeated step asks for no memory. The operations' arithmetic
// is checked by core_gradient_test (finite differences) and core_golden_test (PyTorch).
#include "retort/core/autograd.h"

#include "catch.h"
#include "retort/core/ops.h"

#include <cmath>

using namespace retort;
using Catch::Matchers::Contains;

namespace {

Tensor leaf(Context& ctx, const Shape& shape, std::vector<float> values) {
  Tensor tensor = Tensor::from(ctx, shape, values);
  return tensor.set_requires_grad();
}

}  // namespace

TEST_CASE("gradients of a shared subexpression add up") {
  Context ctx;
  const Tensor x = leaf(ctx, {2}, {3.0f, -1.0f});
  const Tensor y = ops::mul(x, x);                         // x^2
  const Tensor z = ops::sum(ops::add(ops::mul(y, x), y));  // x^3 + x^2
  z.backward();
  const auto grad = x.grad().to_vector();
  CHECK(grad[0] == Approx(3 * 9 + 2 * 3));
  CHECK(grad[1] == Approx(3 * 1 - 2));
}

TEST_CASE("gradients accumulate over backward passes until zeroed") {
  Context ctx;
  const Tensor x = leaf(ctx, {3}, {1, 2, 3});
  ops::sum(x).backward();
  ops::sum(ops::scale(x, 2.0f)).backward();
  CHECK(x.grad().to_vector() == std::vector<float>{3, 3, 3});
  x.zero_grad();
  CHECK(x.grad().to_vector() == std::vector<float>{0, 0, 0});
}

TEST_CASE("a gradient taken over from an operation is not shared with another") {
  Context ctx;
  const Tensor a = leaf(ctx, {2}, {1, 1}), b = leaf(ctx, {2}, {1, 1});
  ops::sum(ops::add(a, b)).backward();  // the same dy reaches both
  ops::sum(a).backward();
  CHECK(a.grad().to_vector() == std::vector<float>{2, 2});
  CHECK(b.grad().to_vector() == std::vector<float>{1, 1});
}

TEST_CASE("reshape passes gradients through without mixing buffers") {
  Context ctx;
  const Tensor x = leaf(ctx, {2, 3}, {1, 2, 3, 4, 5, 6});
  const Tensor flat = ops::reshape(x, {-1});
  const Tensor y = ops::add(ops::mul(flat, flat), flat);
  ops::sum(y).backward();
  CHECK(x.grad().shape() == Shape{2, 3});
  CHECK(x.grad().to_vector() == std::vector<float>{3, 5, 7, 9, 11, 13});
}

TEST_CASE("a second gradient through a freed graph is refused") {
  Context ctx;
  const Tensor x = leaf(ctx, {2}, {1, 2});
  const Tensor loss = ops::sum(ops::mul(x, x));
  loss.backward(/*retain_graph=*/true);
  CHECK_NOTHROW(loss.backward());
  CHECK(x.grad().to_vector() == std::vector<float>{4, 8});
  CHECK_THROWS_WITH(loss.backward(), Contains("freed") && Contains("retain_graph"));
}

TEST_CASE("an in-place change of a saved tensor is refused") {
  Context ctx;
  const Tensor x = leaf(ctx, {2}, {1, 2});
  const Tensor y = ops::exp(x);
  const Tensor loss = ops::sum(y);
  y.zero();
  CHECK_THROWS_WITH(loss.backward(), Contains("changed in place") && Contains("(2,)"));

  const Tensor fine = ops::sum(ops::exp(x));
  fine.backward();  // the failed pass left nothing behind
  CHECK(x.grad().to_vector()[0] == Approx(std::exp(1.0f)));
}

TEST_CASE("shapes, types and contexts that do not fit are named") {
  Context ctx, other;
  const Tensor x = Tensor::zeros(ctx, {2, 3, 1, 9}), w = Tensor::zeros(ctx, {32, 1, 1, 9});
  CHECK_THROWS_WITH(ops::conv2d(x, w, {}),
                    Contains("conv2d") && Contains("expects 1 input channels") && Contains("(2, 3, 1, 9)"));
  CHECK_THROWS_WITH(ops::add(x, w), Contains("add") && Contains("(32, 1, 1, 9)"));
  CHECK_THROWS_WITH(ops::add(x, Tensor::zeros(other, {2, 3, 1, 9})), Contains("another context"));
  CHECK_THROWS_WITH(ops::relu(Tensor::zeros(ctx, {2}, DType::i32)), Contains("relu") && Contains("int32"));
  CHECK_THROWS_WITH(ops::cross_entropy(Tensor::zeros(ctx, {4, 3}), Tensor::zeros(ctx, {5}, DType::i32)), Contains("(5,)"));
  CHECK_THROWS_WITH(ops::linear(Tensor::zeros(ctx, {4, 3}), Tensor::zeros(ctx, {2, 5}), {}),
                    Contains("linear") && Contains("(2, 5)"));
  CHECK_THROWS_WITH(ops::reshape(x, {5, -1}), Contains("reshape") && Contains("5, -1"));
  CHECK_THROWS_WITH(Tensor::zeros(ctx, {2}).item(), Contains("item"));
  CHECK_THROWS_WITH(ops::sum(Tensor::zeros(ctx, {2})).backward(), Contains("does not depend"));
  if (!is_available(Device::cuda)) CHECK_THROWS_AS(Context(Device::cuda), DeviceError);
}

TEST_CASE("sizes that no memory holds are refused, and so is a product of them that wraps around") {
  Context ctx;
  constexpr std::int64_t large = std::int64_t{1} << 40;
  CHECK(Shape({large, 1 << 20}).count() == std::int64_t{1} << 60);
  CHECK_THROWS_WITH(Shape({large, large}), Contains("more than any memory holds"));
  CHECK_THROWS_WITH(Shape({0, large, large}), Contains("more than any memory holds"));
  CHECK_THROWS_AS(Tensor::empty(ctx, {large, 1 << 20}), Error);
  const Tensor none = Tensor::zeros(ctx, {0, 3}), six = Tensor::zeros(ctx, {2, 3});
  CHECK_THROWS_WITH(ops::reshape(none, {large, large}), Contains("more than any memory holds"));
  CHECK_THROWS_WITH(ops::reshape(none, {0, -1}), Contains("any size fits for -1"));
  CHECK_THROWS_WITH(ops::reshape(six, {4, -1}), Contains("(2, 3) does not fit into (4, -1)"));
  CHECK_THROWS_WITH(ops::reshape(six, {-2, -3}), Contains("negative"));
  CHECK_THROWS_WITH(ops::reshape(six, {-1, -1}), Contains("more than one"));
  CHECK(ops::reshape(none, {-1, 3}).shape() == Shape{0, 3});
  CHECK(ops::reshape(six, {3, -1}).shape() == Shape{3, 2});
}

TEST_CASE("tensors of two devices do not meet") {
  if (!is_available(Device::cuda_sim)) {
    WARN("skipped: this build has no second device");
    return;
  }
  Context here, there(Device::cuda_sim, 1);
  const Tensor a = Tensor::zeros(here, {2, 3}), b = Tensor::zeros(there, {2, 3});
  CHECK_THROWS_WITH(ops::add(a, b), Contains("add") && Contains("on cuda_sim") && Contains("on cpu"));
  CHECK_THROWS_WITH(ops::matmul(b, Tensor::zeros(here, {3, 4})), Contains("matmul") && Contains("on cpu"));
}

TEST_CASE("NoGrad records nothing and ends with its scope") {
  Context ctx;
  const Tensor x = leaf(ctx, {2}, {1, 2});
  {
    NoGrad no_grad(ctx);
    CHECK_FALSE(ops::mul(x, x).requires_grad());
  }
  CHECK(ops::mul(x, x).requires_grad());
}

TEST_CASE("a hundred thousand operations in a row need no deep stack") {
  Context ctx;
  const Tensor x = leaf(ctx, {1}, {1});
  {
    Tensor y = x;
    for (int i = 0; i < 100000; ++i) y = ops::scale(y, 1.0f);
    ops::sum(y).backward();
    CHECK(x.grad().item() == 1.0f);
  }
  Tensor dropped = x;
  for (int i = 0; i < 100000; ++i) dropped = ops::scale(dropped, 1.0f);  // destroyed without a backward
}

TEST_CASE("a gradient whose clearing was put off counts as zero, for whoever looks, adds or overwrites") {
  Context ctx;
  const Tensor w = leaf(ctx, {2, 3}, {1, 2, 3, 4, 5, 6}), x = Tensor::full(ctx, {4, 3}, 0.5f);
  const std::vector<float> once(6, 2.0f), twice(6, 4.0f), zeros(6, 0.0f);
  const auto use = [&](int times) {  // as a linear layer's weight, whose gradient overwrites what counts as zero
    Tensor y = ops::sum(ops::linear(x, w, {}));
    for (int i = 1; i < times; ++i) y = ops::add(y, ops::sum(ops::linear(x, w, {})));
    y.backward();
  };
  use(1);
  CHECK(w.grad().to_vector() == once);
  use(1);
  CHECK(w.grad().to_vector() == twice);
  w.zero_grad();
  const Tensor before = w.grad();
  CHECK(before.clone().to_vector() == zeros);
  w.zero_grad();
  use(2);
  CHECK(w.grad().to_vector() == twice);
  w.zero_grad();
  ops::scale(ops::sum(w), 2.0f).backward();  // an operation that gives a tensor
  CHECK(w.grad().to_vector() == once);
  w.zero_grad();
  const Tensor row = w.grad().alias(3, {3});
  CHECK(row.to_vector() == std::vector<float>(3, 0.0f));
  use(1);
  w.zero_grad();
  w.grad().copy_from(Tensor::full(ctx, {2, 3}, 7.0f));
  CHECK(w.grad().to_vector() == std::vector<float>(6, 7.0f));
}

TEST_CASE("dropout draws the same mask forward and backward, and a new one for each call and step") {
  Context ctx;
  const Tensor step = Tensor::zeros(ctx, Shape{}, DType::i32);
  ctx.seed(7, step.ints());
  const Tensor x = leaf(ctx, {1000}, std::vector<float>(1000, 1.0f));
  const Tensor y = ops::dropout(x, 0.25f);
  ops::sum(y).backward();
  CHECK(x.grad().to_vector() == y.to_vector());
  CHECK(ops::dropout(x, 0.25f).to_vector() != y.to_vector());
  ctx.begin_step();
  CHECK(ops::dropout(x, 0.25f).to_vector() == y.to_vector());
  step.copy_from_host(std::array{1});
  ctx.begin_step();
  CHECK(ops::dropout(x, 0.25f).to_vector() != y.to_vector());
}

TEST_CASE("a repeated step takes no more memory from the device") {
  Context ctx;
  const Tensor w = leaf(ctx, {8, 5}, std::vector<float>(40, 0.1f));
  const Tensor x = Tensor::full(ctx, {16, 5}, 0.5f);
  const Tensor labels = Tensor::zeros(ctx, {16}, DType::i32);
  auto step = [&] {
    ops::cross_entropy(ops::relu(ops::linear(x, w, {})), labels).backward();
    w.zero_grad();
  };
  step();
  step();
  const auto before = ctx.arena().device_allocations();
  for (int i = 0; i < 10; ++i) step();
  CHECK(ctx.arena().device_allocations() == before);
}
