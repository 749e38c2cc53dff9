#include "retort/kernels/conv2d.h"

#include "retort/core/branch.h"
#include "retort/core/ops/common.h"
#include "retort/kernels/conv_block.h"

namespace retort::ops {

namespace {

Conv2dShape conv_shape(const Tensor& x, const Tensor& w, const Tensor& b, const Conv2dOptions& options) {
  expect("conv2d", "input", x);
  expect("conv2d", "weight", w);
  expect_with("conv2d", x, "weight", w);
  expect_with("conv2d", x, "bias", b);
  const Shape &xs = x.shape(), &ws = w.shape();
  check(xs.rank() == 4 && ws.rank() == 4, "conv2d: input {} and weight {} must have four dimensions", xs, ws);
  check(xs[1] == ws[1], "conv2d: weight {} expects {} input channels, input {} has {}", ws, ws[1], xs, xs[1]);
  check(!b.defined() || b.shape() == Shape{ws[0]}, "conv2d: bias {} for weight {}", b, ws);
  check(options.stride[0] > 0 && options.stride[1] > 0 && options.padding[0] >= 0 && options.padding[1] >= 0,
        "conv2d: stride ({}, {}) and padding ({}, {}) must be positive and not negative", options.stride[0], options.stride[1],
        options.padding[0], options.padding[1]);
  Conv2dShape shape{xs[0],
                    xs[1],
                    xs[2],
                    xs[3],
                    ws[0],
                    ws[2],
                    ws[3],
                    options.stride[0],
                    options.stride[1],
                    options.padding[0],
                    options.padding[1]};
  check(xs[2] + 2 * shape.pad_h >= ws[2] && xs[3] + 2 * shape.pad_w >= ws[3], "conv2d: kernel {} is larger than input {}", ws,
        xs);
  return shape;
}

}  // namespace

Tensor conv2d(const Tensor& x, const Tensor& w, const Tensor& b, const Conv2dOptions& options) {
  const Conv2dShape shape = conv_shape(x, w, b, options);
  const Tensor y = Tensor::empty(x.context(), {shape.n, shape.k, shape.oh(), shape.ow()});
  kernel<Conv2dKernels>(x.device()).forward(x.stream(), shape, x.data(), w.data(), data_or_null(b), y.mutable_data());
  autograd::record("conv2d", y, {x, w, b}, [shape, saved_x = Saved(x), saved_w = Saved(w)](const Tensor& dy, Node& node) {
    const auto backward = [&shape, &dy, x = saved_x.get().data(), w = saved_w.get().data()](float* dx, float* dw, float* db) {
      kernel<Conv2dKernels>(dy.device()).backward(dy.stream(), shape, x, w, dy.data(), dx, dw, db);
    };
    float *dw = node.accumulator(1), *db = node.accumulator(2);
    if (!node.wants(0)) return backward(nullptr, dw, db);
    Tensor dx = Tensor::empty_like(saved_x.get());
    float* to = dx.mutable_data();
    Branch beside(dy.context());
    if (beside.parallel()) {
      beside.run([&] { backward(nullptr, dw, db); });
      backward(to, nullptr, nullptr);
      beside.join();
    } else {
      backward(to, dw, db);
    }
    node.give(0, std::move(dx));
  });
  return y;
}

Tensor conv_block(const Tensor& x, const Tensor& w, const Tensor& b, const NormState& norm, const ConvBlockOptions& options) {
  const auto &window = options.pool, &stride = options.pool_stride;
  const ConvBlockShape shape{conv_shape(x, w, b, options.conv), window[0], window[1], stride[0], stride[1], options.eps};
  for (const Tensor* tensor : {&norm.weight, &norm.bias, &norm.running_mean, &norm.running_var}) {
    check(tensor->defined() == norm.weight.defined(), "conv_block: the normalisation has some of its four tensors, not all");
    expect_with("conv_block", x, "a parameter of the normalisation", *tensor);
    check(!tensor->defined() || tensor->shape() == Shape{w.shape()[0]},
          "conv_block: a parameter {} of the normalisation for weight {}", *tensor, w.shape());
  }
  check(window[0] > 0 && window[1] > 0 && stride[0] > 0 && stride[1] > 0,
        "conv_block: windows ({}, {}) every ({}, {}) must be positive", window[0], window[1], stride[0], stride[1]);
  check(shape.conv.oh() >= window[0] && shape.conv.ow() >= window[1],
        "conv_block: a window of ({}, {}) is larger than the planes ({}, {})", window[0], window[1], shape.conv.oh(),
        shape.conv.ow());
  check(!autograd::needs_graph(std::array{x, w, b, norm.weight, norm.bias}), "conv_block: has no gradient; use it under NoGrad");
  const Tensor y = Tensor::empty(x.context(), {shape.conv.n, shape.conv.k, shape.oh(), shape.ow()});
  kernel<ConvBlockKernels>(x.device())
      .forward(
          x.stream(), shape, x.data(), w.data(), data_or_null(b),
          {data_or_null(norm.weight), data_or_null(norm.bias), data_or_null(norm.running_mean), data_or_null(norm.running_var)},
          y.mutable_data());
  return y;
}

}  // namespace retort::ops
