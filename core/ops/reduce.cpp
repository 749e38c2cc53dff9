#include "retort/kernels/reduce.h"

#include "retort/core/ops/common.h"

namespace retort::ops {

namespace {

Tensor reduce(Reduction f, const char* op, const Tensor& x) {
  expect(op, "input", x);
  check(x.count() > 0, "{}: the input {} is empty", op, x.shape());
  const Tensor y = Tensor::empty(x.context(), Shape{});
  kernel<ReduceKernels>(x.device()).forward(x.stream(), f, x.count(), x.data(), y.mutable_data());
  // Only the norm looks at the values again; the others need the shape alone.
  autograd::record(op, y, {x},
                   [f, shape = x.shape(), saved = f == Reduction::l1 ? Saved(x) : Saved()](const Tensor& dy, Node& node) {
                     Tensor dx = Tensor::empty(dy.context(), shape);
                     kernel<ReduceKernels>(dy.device())
                         .backward(dy.stream(), f, dx.count(), f == Reduction::l1 ? saved.get().data() : nullptr, dy.data(),
                                   dx.mutable_data());
                     node.give(0, std::move(dx));
                   });
  return y;
}

}  // namespace

Tensor sum(const Tensor& x) { return reduce(Reduction::sum, "sum", x); }
Tensor mean(const Tensor& x) { return reduce(Reduction::mean, "mean", x); }
Tensor l1_norm(const Tensor& x) { return reduce(Reduction::l1, "l1_norm", x); }

}  // namespace retort::ops
