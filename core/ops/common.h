// What every operation does first: are the inputs there, of the right type, on one context?
#pragma once

#include "retort/core/autograd.h"
#include "retort/core/ops.h"
#include "retort/kernels/registry.h"

namespace retort::ops {

inline void expect(const char* op, const char* what, const Tensor& tensor, DType type = DType::f32) {
  check(tensor.defined(), "{}: {} is undefined", op, what);
  check(tensor.dtype() == type, "{}: {} must be {}, it is {}", op, what, name(type), tensor);
}

/// `tensor` may be undefined; otherwise it must be of `type` and live where `first` does.
inline void expect_with(const char* op, const Tensor& first, const char* what, const Tensor& tensor, DType type = DType::f32) {
  if (!tensor.defined()) return;
  expect(op, what, tensor, type);
  check(first.device() == tensor.device(), "{}: {} is on {}, the first input on {}; move one of them", op, what, name(tensor.device()),
        name(first.device()));
  check(&first.context() == &tensor.context(), "{}: {} belongs to another context than the first input", op, what);
}

inline const float* data_or_null(const Tensor& tensor) { return tensor.defined() ? tensor.data() : nullptr; }
inline Saved save_or_none(const Tensor& tensor) { return tensor.defined() ? Saved(tensor) : Saved(); }

}  // namespace retort::ops
