#include "retort/kernels/recurrent.h"

#include "retort/core/ops/common.h"
#include "retort/kernels/elementwise.h"

namespace retort::ops {

namespace {

/// blocks: 4 for LSTM, 3 for GRU.
RecurrentShape check_recurrent(const char* op, std::int64_t blocks, const Tensor& x, const RecurrentWeights& w, bool reverse) {
  expect(op, "input", x);
  expect(op, "weight_ih", w.weight_ih);
  expect(op, "weight_hh", w.weight_hh);
  expect_with(op, x, "weight_ih", w.weight_ih);
  expect_with(op, x, "weight_hh", w.weight_hh);
  expect_with(op, x, "bias_ih", w.bias_ih);
  expect_with(op, x, "bias_hh", w.bias_hh);
  const Shape &xs = x.shape(), &ih = w.weight_ih.shape(), &hh = w.weight_hh.shape();
  check(xs.rank() == 3 && xs[0] > 0, "{}: input {} is not (steps, rows, features) with at least one step", op, xs);
  const std::int64_t hidden = hh.rank() == 2 ? hh[1] : 0;
  check(hidden > 0 && hh[0] == blocks * hidden, "{}: weight_hh {} is not ({} hidden, hidden)", op, hh, blocks);
  check(ih == Shape({blocks * hidden, xs[2]}), "{}: input {} and weight_hh {} need weight_ih ({}, {}), it is {}", op, xs, hh,
        blocks * hidden, xs[2], ih);
  check(w.bias_ih.defined() == w.bias_hh.defined(), "{}: of bias_ih and bias_hh only one is defined", op);
  for (const Tensor* bias : {&w.bias_ih, &w.bias_hh})
    check(!bias->defined() || bias->shape() == Shape{blocks * hidden}, "{}: bias {} is not ({})", op, *bias, blocks * hidden);
  return {xs[0], xs[1], xs[2], hidden, reverse};
}

/// What backward reads again.
struct SavedSequence {
  Saved x, weight_ih, weight_hh, y;
};

/// The pointers of node's gradients in the contract's order, dx first.
struct Gradients {
  Gradients(const Tensor& x, Node& node)
      : dx(node.wants(0) ? Tensor::empty_like(x) : Tensor()),
        dw_ih(node.accumulator(1)),
        dw_hh(node.accumulator(2)),
        db_ih(node.accumulator(3)),
        db_hh(node.accumulator(4)) {}
  float* input() const { return dx.defined() ? dx.mutable_data() : nullptr; }

  Tensor dx;
  float *dw_ih, *dw_hh, *db_ih, *db_hh;
};

}  // namespace

Tensor lstm(const Tensor& x, const RecurrentWeights& w, bool reverse) {
  const RecurrentShape shape = check_recurrent("lstm", 4, x, w, reverse);
  const auto& kernels = kernel<LstmKernels>(x.device());
  const Tensor y = Tensor::empty(x.context(), {shape.steps, shape.rows, shape.hidden}), cells = Tensor::empty_like(y);
  const Tensor gates = Tensor::empty(x.context(), {shape.steps, shape.rows, 4 * shape.hidden});
  kernels.forward(x.stream(), shape, x.data(), w.weight_ih.data(), w.weight_hh.data(), data_or_null(w.bias_ih),
                  data_or_null(w.bias_hh), gates.mutable_data(), cells.mutable_data(), y.mutable_data());
  autograd::record("lstm", y, {x, w.weight_ih, w.weight_hh, w.bias_ih, w.bias_hh},
                   [shape, s = SavedSequence{Saved(x), Saved(w.weight_ih), Saved(w.weight_hh), Saved(y)},
                    saved_gates = Saved(gates), saved_cells = Saved(cells)](const Tensor& dy, Node& node) {
                     Gradients g(s.x.get(), node);
                     kernel<LstmKernels>(dy.device())
                         .backward(dy.stream(), shape, s.x.get().data(), s.weight_ih.get().data(), s.weight_hh.get().data(),
                                   saved_gates.get().data(), saved_cells.get().data(), s.y.get().data(), dy.data(), g.input(),
                                   g.dw_ih, g.dw_hh, g.db_ih, g.db_hh);
                     if (g.dx.defined()) node.give(0, std::move(g.dx));
                   });
  return y;
}

Tensor gru(const Tensor& x, const RecurrentWeights& w, bool reverse) {
  const RecurrentShape shape = check_recurrent("gru", 3, x, w, reverse);
  const auto& kernels = kernel<GruKernels>(x.device());
  const Tensor y = Tensor::empty(x.context(), {shape.steps, shape.rows, shape.hidden});
  const Tensor gates = Tensor::empty(x.context(), {shape.steps, shape.rows, 4 * shape.hidden});
  kernels.forward(x.stream(), shape, x.data(), w.weight_ih.data(), w.weight_hh.data(), data_or_null(w.bias_ih),
                  data_or_null(w.bias_hh), gates.mutable_data(), y.mutable_data());
  autograd::record("gru", y, {x, w.weight_ih, w.weight_hh, w.bias_ih, w.bias_hh},
                   [shape, s = SavedSequence{Saved(x), Saved(w.weight_ih), Saved(w.weight_hh), Saved(y)},
                    saved_gates = Saved(gates)](const Tensor& dy, Node& node) {
                     Gradients g(s.x.get(), node);
                     kernel<GruKernels>(dy.device())
                         .backward(dy.stream(), shape, s.x.get().data(), s.weight_ih.get().data(), s.weight_hh.get().data(),
                                   saved_gates.get().data(), s.y.get().data(), dy.data(), g.input(), g.dw_ih, g.dw_hh, g.db_ih,
                                   g.db_hh);
                     if (g.dx.defined()) node.give(0, std::move(g.dx));
                   });
  return y;
}

Tensor permute(const Tensor& x, const std::array<int, 3>& order) {
  expect("permute", "input", x);
  check(x.shape().rank() == 3, "permute: the input {} does not have three dimensions", x.shape());
  std::array<int, 3> back{-1, -1, -1};
  for (int i = 0; i < 3; ++i)
    if (const int from = order[static_cast<std::size_t>(i)]; from >= 0 && from < 3) back[static_cast<std::size_t>(from)] = i;
  check(std::ranges::find(back, -1) == back.end(), "permute: ({}) is no order of three dimensions", fmt::join(order, ", "));
  const auto permuted = [](const Tensor& from, const std::array<int, 3>& by) {
    const Shape& s = from.shape();
    const std::int64_t strides[3] = {s[1] * s[2], s[2], 1};
    PermuteShape z{};
    for (std::size_t i = 0; i < 3; ++i) z.sizes[i] = s[by[i]], z.strides[i] = strides[by[i]];
    const Tensor to = Tensor::empty(from.context(), Shape(std::span<const std::int64_t>(z.sizes)));
    kernel<PermuteKernels>(from.device()).forward(from.stream(), z, from.data(), to.mutable_data());
    return to;
  };
  const Tensor y = permuted(x, order);
  autograd::record("permute", y, {x}, [permuted, back](const Tensor& dy, Node& node) { node.give(0, permuted(dy, back)); });
  return y;
}

Tensor select(const Tensor& x, std::int64_t index) {
  expect("select", "input", x);
  const Shape& shape = x.shape();
  check(shape.rank() >= 1, "select: the input is a scalar");
  const std::int64_t at = index < 0 ? index + shape[0] : index;
  check(at >= 0 && at < shape[0], "select: index {} of {}", index, shape);
  const Shape rest(shape.sizes().subspan(1));
  const std::int64_t count = rest.count();
  const Tensor y = x.alias(at * count, rest);
  autograd::record("select", y, {x}, [at, count](const Tensor& dy, Node& node) {
    // All of dx but this slice is zero, which is how an accumulator begins.
    if (float* dx = node.accumulator(0))
      kernel<ScaleKernels>(dy.device()).forward(dy.stream(), count, 1.0f, dy.data(), 1.0f, dx + at * count);
  });
  return y;
}

}  // namespace retort::ops
