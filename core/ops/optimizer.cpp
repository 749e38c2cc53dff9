#include "retort/core/ops/common.h"
#include "retort/core/optim_ops.h"

namespace retort::ops {

namespace {

void expect_flat(const char* op, const char* what, const Tensor& parameters, const Tensor& tensor) {
  expect_with(op, parameters, what, tensor);
  check(!tensor.defined() || tensor.count() == parameters.count(), "{}: {} has {} elements, the parameters {}", op, what,
        tensor.defined() ? tensor.count() : 0, parameters.count());
}

void expect_step(const char* op, const Tensor& parameters, const Tensor& step) {
  expect(op, "parameters", parameters);
  expect(op, "step", step, DType::i32);
  expect_with(op, parameters, "step", step, DType::i32);
}

}  // namespace

void adam_ema_(const AdamHyper& hyper, const Tensor& step, const Tensor& parameters, const Tensor& gradients, const Tensor& m,
               const Tensor& v, const Tensor& teacher, std::span<const std::int64_t> ends) {
  expect_step("adam", parameters, step);
  for (const Tensor* tensor : {&gradients, &m, &v}) {
    expect("adam", "gradients or a moment", *tensor);
    expect_flat("adam", "gradients or a moment", parameters, *tensor);
  }
  expect_flat("adam", "teacher", parameters, teacher);
  const std::int64_t n = parameters.count();
  check(ends.empty() || ends.back() == n, "adam: the parts end at {}, the parameters at {}", ends.empty() ? 0 : ends.back(), n);
  const auto& kernels = kernel<OptimizerKernels>(parameters.device());
  float *p = parameters.mutable_data(), *first = m.mutable_data(), *second = v.mutable_data();
  float* t = teacher.defined() ? teacher.mutable_data() : nullptr;
  const float* g = gradients.data();
  std::int64_t begin = 0;
  for (const std::int64_t end : ends.empty() ? std::span(&n, 1) : ends) {
    kernels.adam_ema(parameters.stream(), end - begin, hyper, step.ints(), p + begin, g + begin, first + begin, second + begin,
                     t != nullptr ? t + begin : nullptr);
    begin = end;
  }
  kernels.advance(parameters.stream(), step.mutable_ints());
}

void sgd_(const SgdHyper& hyper, const Tensor& step, const Tensor& parameters, const Tensor& gradients, const Tensor& velocity) {
  expect_step("sgd", parameters, step);
  expect("sgd", "gradients", gradients);
  expect_flat("sgd", "gradients", parameters, gradients);
  expect_flat("sgd", "velocity", parameters, velocity);
  check(velocity.defined() || hyper.momentum == 0.0f, "sgd: momentum {} needs a velocity", hyper.momentum);
  const auto& kernels = kernel<OptimizerKernels>(parameters.device());
  kernels.sgd(parameters.stream(), parameters.count(), hyper, step.ints(), parameters.mutable_data(), gradients.data(),
              velocity.defined() ? velocity.mutable_data() : nullptr);
  kernels.advance(parameters.stream(), step.mutable_ints());
}

void ema_(float beta, const Tensor& from, const Tensor& to) {
  expect("ema", "source", from);
  expect("ema", "target", to);
  expect_flat("ema", "target", from, to);
  kernel<OptimizerKernels>(from.device()).ema(from.stream(), from.count(), beta, from.data(), to.mutable_data());
}

}  // namespace retort::ops
