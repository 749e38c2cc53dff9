#include "retort/kernels/elementwise.h"

#include "retort/core/ops/common.h"
#include "retort/kernels/dropout.h"

namespace retort::ops {

namespace {

Tensor unary(Unary f, const char* op, const Tensor& x) {
  expect(op, "input", x);
  const Tensor y = Tensor::empty_like(x);
  kernel<UnaryKernels>(x.device()).forward(x.stream(), f, x.count(), x.data(), y.mutable_data());
  autograd::record(op, y, {x}, [f, saved_x = Saved(x), saved_y = Saved(y)](const Tensor& dy, Node& node) {
    const Tensor& input = saved_x.get();
    Tensor dx = Tensor::empty_like(dy);
    kernel<UnaryKernels>(dy.device())
        .backward(dy.stream(), f, dy.count(), input.data(), saved_y.get().data(), dy.data(), dx.mutable_data());
    node.give(0, std::move(dx));
  });
  return y;
}

BinaryShape broadcast(const char* op, const Shape& a, const Shape& b) {
  const int extra = a.rank() - b.rank();
  bool fits = extra >= 0;
  for (int i = 0; fits && i < b.rank(); ++i) fits = a[extra + i] == b[i];
  check(fits, "{}: {} and {}; the second must have the first's shape or that of its last dimensions", op, a, b);
  const std::int64_t columns = b.count(), rows = columns ? a.count() / columns : 0;
  if (a == b) return {1, columns, 1};
  return {rows, columns, 1};
}

Tensor binary(Binary f, const char* op, const Tensor& a, const Tensor& b) {
  expect(op, "the first input", a);
  expect(op, "the second input", b);
  expect_with(op, a, "the second input", b);
  const BinaryShape shape = broadcast(op, a.shape(), b.shape());
  const Tensor y = Tensor::empty_like(a);
  kernel<BinaryKernels>(a.device()).forward(a.stream(), f, shape, a.data(), b.data(), y.mutable_data());
  // Only a product needs its factors again.
  const bool product = f == Binary::mul;
  autograd::record(op, y, {a, b},
                   [f, shape, b_shape = b.shape(), product, saved_a = product ? Saved(a) : Saved(),
                    saved_b = product ? Saved(b) : Saved()](const Tensor& dy, Node& node) {
                     Tensor da = node.wants(0) ? Tensor::empty_like(dy) : Tensor();
                     Tensor db = node.wants(1) ? Tensor::empty(dy.context(), b_shape) : Tensor();
                     kernel<BinaryKernels>(dy.device())
                         .backward(dy.stream(), f, shape, product ? saved_a.get().data() : nullptr,
                                   product ? saved_b.get().data() : nullptr, dy.data(), da.defined() ? da.mutable_data() : nullptr,
                                   db.defined() ? db.mutable_data() : nullptr);
                     if (da.defined()) node.give(0, std::move(da));
                     if (db.defined()) node.give(1, std::move(db));
                   });
  return y;
}

}  // namespace

Tensor relu(const Tensor& x) { return unary(Unary::relu, "relu", x); }
Tensor exp(const Tensor& x) { return unary(Unary::exp, "exp", x); }
Tensor log(const Tensor& x) { return unary(Unary::log, "log", x); }
Tensor tanh(const Tensor& x) { return unary(Unary::tanh, "tanh", x); }
Tensor sigmoid(const Tensor& x) { return unary(Unary::sigmoid, "sigmoid", x); }

Tensor add(const Tensor& a, const Tensor& b) { return binary(Binary::add, "add", a, b); }
Tensor sub(const Tensor& a, const Tensor& b) { return binary(Binary::sub, "sub", a, b); }
Tensor mul(const Tensor& a, const Tensor& b) { return binary(Binary::mul, "mul", a, b); }

Tensor scale(const Tensor& x, float factor) {
  expect("scale", "input", x);
  auto times = [factor](const Tensor& from) {
    Tensor to = Tensor::empty_like(from);
    kernel<ScaleKernels>(from.device()).forward(from.stream(), from.count(), factor, from.data(), 0.0f, to.mutable_data());
    return to;
  };
  const Tensor y = times(x);
  autograd::record("scale", y, {x}, [times](const Tensor& dy, Node& node) { node.give(0, times(dy)); });
  return y;
}

Tensor dropout(const Tensor& x, float p) {
  expect("dropout", "input", x);
  check(p >= 0.0f && p < 1.0f, "dropout: p = {} is outside [0, 1)", p);
  // The backward pass draws the forward's mask again.
  auto masked = [p, key = x.context().next_random()](const Tensor& from) {
    Tensor to = Tensor::empty_like(from);
    kernel<DropoutKernels>(from.device()).apply(from.stream(), from.count(), p, key, from.data(), to.mutable_data());
    return to;
  };
  const Tensor y = masked(x);
  autograd::record("dropout", y, {x}, [masked](const Tensor& dy, Node& node) { node.give(0, masked(dy)); });
  return y;
}

Tensor dropout_mask(Context& context, const Shape& shape, float p) {
  check(p >= 0.0f && p < 1.0f, "dropout_mask: p = {} is outside [0, 1)", p);
  const Tensor mask = Tensor::empty(context, shape);
  kernel<DropoutKernels>(context.device()).mask(context.stream(), mask.count(), p, context.next_random(), mask.mutable_data());
  return mask;
}

}  // namespace retort::ops
