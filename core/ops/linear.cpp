#include "retort/kernels/linear.h"

#include "retort/core/ops/common.h"

namespace retort::ops {

Tensor linear(const Tensor& x, const Tensor& w, const Tensor& b, bool relu) {
  expect("linear", "input", x);
  expect("linear", "weight", w);
  expect_with("linear", x, "weight", w);
  expect_with("linear", x, "bias", b);
  const Shape &xs = x.shape(), &ws = w.shape();
  check(ws.rank() == 2 && xs.rank() >= 1 && xs[-1] == ws[1], "linear: input {} and weight {} (out, in) do not fit", xs, ws);
  check(!b.defined() || b.shape() == Shape{ws[0]}, "linear: bias {} for weight {}", b, ws);
  std::array<std::int64_t, Shape::max_rank> sizes{};
  std::ranges::copy(xs.sizes(), sizes.begin());
  sizes[static_cast<std::size_t>(xs.rank() - 1)] = ws[0];
  const std::int64_t rows = Shape(xs.sizes().first(static_cast<std::size_t>(xs.rank() - 1))).count();
  const LinearShape shape{rows, ws[1], ws[0], relu ? Activation::relu : Activation::none};
  const Tensor y = Tensor::empty(x.context(), Shape(std::span(sizes.data(), static_cast<std::size_t>(xs.rank()))));
  kernel<LinearKernels>(x.device()).forward(x.stream(), shape, x.data(), w.data(), data_or_null(b), y.mutable_data());
  autograd::record(
      "linear", y, {x, w, b},
      [shape, relu, saved_x = Saved(x), saved_w = Saved(w), saved_y = relu ? Saved(y) : Saved()](const Tensor& dy, Node& node) {
        const Tensor& input = saved_x.get();
        Tensor dx = node.wants(0) ? Tensor::empty_like(input) : Tensor();
        const auto [dw, beta] = node.place(1);
        kernel<LinearKernels>(dy.device())
            .backward(dy.stream(), shape, input.data(), saved_w.get().data(), relu ? saved_y.get().data() : nullptr, dy.data(),
                      dx.defined() ? dx.mutable_data() : nullptr, beta, dw, node.accumulator(2));
        if (dx.defined()) node.give(0, std::move(dx));
      });
  return y;
}

Tensor matmul(const Tensor& a, const Tensor& b, bool transpose_b) {
  expect("matmul", "the first input", a);
  expect("matmul", "the second input", b);
  expect_with("matmul", a, "the second input", b);
  check(a.shape().rank() == 2 && b.shape().rank() == 2 && a.shape()[1] == b.shape()[transpose_b ? 1 : 0],
        "matmul: {} and {}{} do not fit", a.shape(), b.shape(), transpose_b ? " transposed" : "");
  const std::int64_t m = a.shape()[0], k = a.shape()[1], n = b.shape()[transpose_b ? 0 : 1];
  const Tensor c = Tensor::empty(a.context(), {m, n});
  kernel<MatmulKernels>(a.device())
      .forward(a.stream(), {m, n, k, false, transpose_b}, a.data(), b.data(), 0.0f, c.mutable_data());
  autograd::record("matmul", c, {a, b}, [=, saved_a = Saved(a), saved_b = Saved(b)](const Tensor& dc, Node& node) {
    const auto& gemm = kernel<MatmulKernels>(dc.device());
    const Tensor &left = saved_a.get(), &right = saved_b.get();
    // C = A B: dA += dC B^T, dB += A^T dC;   C = A B^T: dA += dC B, dB += dC^T A.
    if (const auto [da, beta] = node.place(0); da != nullptr)
      gemm.forward(dc.stream(), {m, k, n, false, !transpose_b}, dc.data(), right.data(), beta, da);
    if (const auto [db, beta] = node.place(1); db != nullptr) {
      if (transpose_b)
        gemm.forward(dc.stream(), {n, k, m, true, false}, dc.data(), left.data(), beta, db);
      else
        gemm.forward(dc.stream(), {k, n, m, true, false}, left.data(), dc.data(), beta, db);
    }
  });
  return c;
}

}  // namespace retort::ops
