#include "retort/core/ops/common.h"
#include "retort/core/ops/layer_shapes.h"

namespace retort::ops {

BatchNormShape batch_norm_shape(const char* op, const Tensor& x, const NormState& norm, const BatchNormOptions& options) {
  expect(op, "input", x);
  check(x.shape().rank() >= 2, "{}: input {} has no channels", op, x.shape());
  const std::int64_t n = x.shape()[0], c = x.shape()[1];
  for (const Tensor* tensor : {&norm.weight, &norm.bias, &norm.running_mean, &norm.running_var}) {
    expect(op, "weight, bias or a running statistic", *tensor);
    expect_with(op, x, "weight, bias or a running statistic", *tensor);
    check(tensor->shape() == Shape{c}, "{}: a parameter has shape {}, input {} has {} channels", op, tensor->shape(), x.shape(),
          c);
  }
  const std::int64_t spatial = n > 0 && c > 0 ? x.count() / (n * c) : 0;
  check(!options.training || n * spatial > 1, "{}: training on input {} needs more than one value per channel", op, x.shape());
  return {n, c, spatial, options.eps, options.momentum, options.relu ? Activation::relu : Activation::none};
}

Tensor batch_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, const Tensor& running_mean,
                  const Tensor& running_var, const BatchNormOptions& options) {
  const BatchNormShape shape = batch_norm_shape("batch_norm", x, {weight, bias, running_mean, running_var}, options);
  const Tensor y = Tensor::empty_like(x);
  const auto& kernels = kernel<BatchNormKernels>(x.device());
  const bool training = options.training, relu = options.relu;
  Tensor mean = running_mean,
         spread = running_var;  // what backward needs: (mean, invstd) of the batch or the running (mean, var)
  if (training) {
    mean = Tensor::empty_like(running_mean);
    spread = Tensor::empty_like(running_mean);
    kernels.forward_train(x.stream(), shape, x.data(), weight.data(), bias.data(), running_mean.mutable_data(),
                          running_var.mutable_data(), mean.mutable_data(), spread.mutable_data(), y.mutable_data());
  } else {
    kernels.forward_eval(x.stream(), shape, x.data(), weight.data(), bias.data(), running_mean.data(), running_var.data(),
                         y.mutable_data());
  }
  autograd::record("batch_norm", y, {x, weight, bias},
                   [shape, training, relu, saved_x = Saved(x), saved_weight = Saved(weight), saved_mean = Saved(mean),
                    saved_spread = Saved(spread), saved_y = relu ? Saved(y) : Saved()](const Tensor& dy, Node& node) {
                     const auto& k = kernel<BatchNormKernels>(dy.device());
                     const Tensor& input = saved_x.get();
                     Tensor dx = node.wants(0) ? Tensor::empty_like(input) : Tensor();
                     (training ? k.backward_train : k.backward_eval)(
                         dy.stream(), shape, input.data(), saved_weight.get().data(), saved_mean.get().data(),
                         saved_spread.get().data(), relu ? saved_y.get().data() : nullptr, dy.data(),
                         dx.defined() ? dx.mutable_data() : nullptr, node.accumulator(1), node.accumulator(2));
                     if (dx.defined()) node.give(0, std::move(dx));
                   });
  return y;
}

}  // namespace retort::ops
