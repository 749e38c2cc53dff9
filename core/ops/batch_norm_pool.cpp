#include "retort/kernels/batch_norm_pool.h"

#include "retort/core/ops/common.h"
#include "retort/core/ops/layer_shapes.h"

namespace retort::ops {

Tensor batch_norm_pool(const Tensor& x, const NormState& norm, const BatchNormOptions& options,
                       std::array<std::int64_t, 2> window, std::array<std::int64_t, 2> stride) {
  if (!options.training)
    return max_pool2d(batch_norm(x, norm.weight, norm.bias, norm.running_mean, norm.running_var, options), window, stride);
  const BatchNormShape checked = batch_norm_shape("batch_norm_pool", x, norm, options);
  const BatchNormPoolShape shape{max_pool2d_shape("batch_norm_pool", x, window, stride), options.eps, options.momentum,
                                 checked.activation};
  const Tensor y = Tensor::empty(x.context(), {shape.pool.n, shape.pool.c, shape.pool.oh(), shape.pool.ow()});
  const Tensor mean = Tensor::empty_like(norm.running_mean), invstd = Tensor::empty_like(norm.running_mean);
  kernel<BatchNormPoolKernels>(x.device())
      .forward_train(x.stream(), shape, x.data(), norm.weight.data(), norm.bias.data(), norm.running_mean.mutable_data(),
                     norm.running_var.mutable_data(), mean.mutable_data(), invstd.mutable_data(), y.mutable_data());
  autograd::record("batch_norm_pool", y, {x, norm.weight, norm.bias},
                   [shape, saved_x = Saved(x), saved_weight = Saved(norm.weight), saved_bias = Saved(norm.bias),
                    saved_mean = Saved(mean), saved_invstd = Saved(invstd)](const Tensor& dy, Node& node) {
                     const Tensor& input = saved_x.get();
                     Tensor dx = node.wants(0) ? Tensor::empty_like(input) : Tensor();
                     kernel<BatchNormPoolKernels>(dy.device())
                         .backward_train(dy.stream(), shape, input.data(), saved_weight.get().data(), saved_bias.get().data(),
                                         saved_mean.get().data(), saved_invstd.get().data(), dy.data(),
                                         dx.defined() ? dx.mutable_data() : nullptr, node.accumulator(1), node.accumulator(2));
                     if (dx.defined()) node.give(0, std::move(dx));
                   });
  return y;
}

}  // namespace retort::ops
