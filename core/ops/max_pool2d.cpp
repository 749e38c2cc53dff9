#include "retort/kernels/max_pool2d.h"

#include "retort/core/ops/common.h"

namespace retort::ops {

Tensor max_pool2d(const Tensor& x, std::array<std::int64_t, 2> window, std::array<std::int64_t, 2> stride) {
  expect("max_pool2d", "input", x);
  const Shape& xs = x.shape();
  check(xs.rank() == 4, "max_pool2d: input {} must have four dimensions", xs);
  check(window[0] > 0 && window[1] > 0 && stride[0] > 0 && stride[1] > 0, "max_pool2d: kernel ({}, {}) and stride ({}, {}) must be positive",
        window[0], window[1], stride[0], stride[1]);
  check(xs[2] >= window[0] && xs[3] >= window[1], "max_pool2d: kernel ({}, {}) is larger than input {}", window[0], window[1], xs);
  const MaxPool2dShape shape{xs[0], xs[1], xs[2], xs[3], window[0], window[1], stride[0], stride[1]};
  const Tensor y = Tensor::empty(x.context(), {shape.n, shape.c, shape.oh(), shape.ow()});
  const bool graph = autograd::needs_graph(std::span(&x, 1));
  const Tensor argmax = graph ? Tensor::empty(x.context(), y.shape(), DType::i32) : Tensor();
  kernel<MaxPool2dKernels>(x.device())
      .forward(x.stream(), shape, x.data(), y.mutable_data(), graph ? argmax.mutable_ints() : nullptr);
  if (!graph) return y;
  autograd::record("max_pool2d", y, {x}, [shape, input = xs, saved = Saved(argmax)](const Tensor& dy, Node& node) {
    Tensor dx = Tensor::empty(dy.context(), input);
    kernel<MaxPool2dKernels>(dy.device()).backward(dy.stream(), shape, saved.get().ints(), dy.data(), dx.mutable_data());
    node.give(0, std::move(dx));
  });
  return y;
}

}  // namespace retort::ops
