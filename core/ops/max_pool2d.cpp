#include "retort/core/ops/common.h"
#include "retort/core/ops/layer_shapes.h"

namespace retort::ops {

MaxPool2dShape max_pool2d_shape(const char* op, const Tensor& x, std::array<std::int64_t, 2> window,
                                std::array<std::int64_t, 2> stride) {
  expect(op, "input", x);
  const Shape& xs = x.shape();
  check(xs.rank() == 4, "{}: input {} must have four dimensions", op, xs);
  check(window[0] > 0 && window[1] > 0 && stride[0] > 0 && stride[1] > 0, "{}: kernel ({}, {}) and stride ({}, {}) must be positive",
        op, window[0], window[1], stride[0], stride[1]);
  check(xs[2] >= window[0] && xs[3] >= window[1], "{}: kernel ({}, {}) is larger than input {}", op, window[0], window[1], xs);
  return {xs[0], xs[1], xs[2], xs[3], window[0], window[1], stride[0], stride[1]};
}

Tensor max_pool2d(const Tensor& x, std::array<std::int64_t, 2> window, std::array<std::int64_t, 2> stride) {
  const MaxPool2dShape shape = max_pool2d_shape("max_pool2d", x, window, stride);
  const Tensor y = Tensor::empty(x.context(), {shape.n, shape.c, shape.oh(), shape.ow()});
  const bool graph = autograd::needs_graph(std::span(&x, 1));
  const Tensor argmax = graph ? Tensor::empty(x.context(), y.shape(), DType::i32) : Tensor();
  kernel<MaxPool2dKernels>(x.device())
      .forward(x.stream(), shape, x.data(), y.mutable_data(), graph ? argmax.mutable_ints() : nullptr);
  if (!graph) return y;
  autograd::record("max_pool2d", y, {x}, [shape, input = x.shape(), saved = Saved(argmax)](const Tensor& dy, Node& node) {
    Tensor dx = Tensor::empty(dy.context(), input);
    kernel<MaxPool2dKernels>(dy.device()).backward(dy.stream(), shape, saved.get().ints(), dy.data(), dx.mutable_data());
    node.give(0, std::move(dx));
  });
  return y;
}

}  // namespace retort::ops
