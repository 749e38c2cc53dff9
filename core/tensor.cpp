#include "retort/core/tensor.h"

#include "retort/core/autograd.h"
#include "retort/kernels/thread_team.h"

#include <cmath>
#include <cstring>

namespace retort {

using detail::TensorImpl;

namespace {

std::shared_ptr<TensorImpl> make_impl(Context& context, std::shared_ptr<Storage> storage, std::int64_t offset, const Shape& shape,
                                      DType dtype) {
  std::pmr::polymorphic_allocator<TensorImpl> allocator(context.pool());
  auto impl = std::allocate_shared<TensorImpl>(allocator);
  impl->context = &context;
  impl->storage = std::move(storage);
  impl->offset = offset;
  impl->shape = shape;
  impl->dtype = dtype;
  return impl;
}

std::byte* address(const TensorImpl& impl) { return static_cast<std::byte*>(impl.storage->data) + impl.offset * 4; }

void expect_type(const Tensor& tensor, DType wanted) {
  check(tensor.dtype() == wanted, "tensor: {} is used as {}", tensor, name(wanted));
}

void expect_count(const Shape& shape, std::size_t values) {
  check(static_cast<std::size_t>(shape.count()) == values, "tensor: {} values for shape {}, which has {}", values, shape,
        shape.count());
}

}  // namespace

std::string describe(const Tensor& tensor) {
  if (!tensor.defined()) return "an undefined tensor";
  return fmt::format("{} {} on {}", name(tensor.dtype()), tensor.shape(), name(tensor.device()));
}

Tensor Tensor::empty(Context& context, const Shape& shape, DType dtype) {
  std::pmr::polymorphic_allocator<Storage> allocator(context.pool());
  auto storage = std::allocate_shared<Storage>(allocator, context.arena(), static_cast<std::size_t>(shape.count()) * item_size);
  return Tensor(make_impl(context, std::move(storage), 0, shape, dtype));
}

Tensor Tensor::zeros(Context& context, const Shape& shape, DType dtype) {
  Tensor tensor = empty(context, shape, dtype);
  tensor.zero();
  return tensor;
}

Tensor Tensor::full(Context& context, const Shape& shape, float value) {
  return from(context, shape, std::vector<float>(static_cast<std::size_t>(shape.count()), value));
}

Tensor Tensor::from(Context& context, const Shape& shape, std::span<const float> values) {
  Tensor tensor = empty(context, shape, DType::f32);
  tensor.copy_from_host(values);
  return tensor;
}

Tensor Tensor::from(Context& context, const Shape& shape, std::span<const std::int32_t> values) {
  Tensor tensor = empty(context, shape, DType::i32);
  tensor.copy_from_host(values);
  return tensor;
}

namespace {

template <class T>
Tensor borrow_or_copy(Context& context, const Shape& shape, std::span<const T> values, DType dtype) {
  if (context.device() != Device::cpu) return Tensor::from(context, shape, values);
  expect_count(shape, values.size());
  std::pmr::polymorphic_allocator<Storage> allocator(context.pool());
  auto storage = std::allocate_shared<Storage>(allocator, const_cast<void*>(static_cast<const void*>(values.data())));
  return Tensor(make_impl(context, std::move(storage), 0, shape, dtype));
}

}  // namespace

Tensor Tensor::borrow(Context& context, const Shape& shape, std::span<const float> values) {
  return borrow_or_copy(context, shape, values, DType::f32);
}

Tensor Tensor::borrow(Context& context, const Shape& shape, std::span<const std::int32_t> values) {
  return borrow_or_copy(context, shape, values, DType::i32);
}

const float* Tensor::data() const {
  expect_type(*this, DType::f32);
  settle();
  return reinterpret_cast<const float*>(address(*impl_));
}

float* Tensor::mutable_data() const {
  expect_type(*this, DType::f32);
  settle();
  ++impl_->storage->version;
  return reinterpret_cast<float*>(address(*impl_));
}

const std::int32_t* Tensor::ints() const {
  expect_type(*this, DType::i32);
  return reinterpret_cast<const std::int32_t*>(address(*impl_));
}

std::int32_t* Tensor::mutable_ints() const {
  expect_type(*this, DType::i32);
  ++impl_->storage->version;
  return reinterpret_cast<std::int32_t*>(address(*impl_));
}

std::vector<float> Tensor::to_vector() const {
  std::vector<float> values(static_cast<std::size_t>(count()));
  stream().copy_to_host(values.data(), data(), values.size() * item_size);
  return values;
}

std::vector<std::int32_t> Tensor::to_ints() const {
  std::vector<std::int32_t> values(static_cast<std::size_t>(count()));
  stream().copy_to_host(values.data(), ints(), values.size() * item_size);
  return values;
}

float Tensor::item() const {
  check(count() == 1, "item: the tensor has shape {}, not one element", shape().str());
  float value = NAN;
  stream().copy_to_host(&value, data(), sizeof value);
  return value;
}

void Tensor::copy_from(const Tensor& other) const {
  check(&context() == &other.context(), "copy_from: {} and {} belong to different contexts", *this, other);
  check(shape() == other.shape() && dtype() == other.dtype(), "copy_from: {} into {}", other, *this);
  ++impl_->storage->version;
  other.settle();
  impl_->zero_pending = false;
  stream().copy(address(*impl_), address(*other.impl_), static_cast<std::size_t>(count()) * item_size);
}

void Tensor::copy_from_host(std::span<const float> values) const {
  expect_count(shape(), values.size());
  stream().copy_from_host(mutable_data(), values.data(), values.size_bytes());
}

void Tensor::copy_from_host(std::span<const std::int32_t> values) const {
  expect_count(shape(), values.size());
  stream().copy_from_host(mutable_ints(), values.data(), values.size_bytes());
}

void Tensor::settle() const {
  if (impl_->zero_pending) zero();
}

void Tensor::zero_later() const {
  ++impl_->storage->version;
  impl_->zero_pending = true;
}

void Tensor::zero() const {
  ++impl_->storage->version;
  impl_->zero_pending = false;
  auto* const bytes = address(*impl_);
  const std::int64_t size = count() * static_cast<std::int64_t>(item_size);
  if (device() != Device::cpu) return stream().fill_zero(bytes, static_cast<std::size_t>(size));
  // All gradients of a model are megabytes: that is work for the team, like any kernel's.
  stream().threads().for_ranges(size, 1 << 16, [&](std::int64_t begin, std::int64_t end) {
    std::memset(bytes + begin, 0, static_cast<std::size_t>(end - begin));
  });
}

Tensor Tensor::clone() const {
  Tensor copy = empty_like(*this);
  copy.copy_from(*this);
  return copy;
}

Tensor Tensor::detach() const { return alias(0, shape()); }

Tensor Tensor::alias(std::int64_t offset, const Shape& shape) const {
  check(offset >= 0 && offset + shape.count() <= count(), "alias: shape {} from element {} does not fit into {}", shape, offset,
        *this);
  settle();
  return Tensor(make_impl(context(), impl_->storage, impl_->offset + offset, shape, dtype()));
}

Tensor& Tensor::set_requires_grad(bool wanted) {
  check(is_leaf(), "set_requires_grad: {} is the result of an operation; detach it first", *this);
  expect_type(*this, DType::f32);
  impl_->requires_grad = wanted;
  return *this;
}

void Tensor::set_grad(const Tensor& grad) const {
  check(impl_->requires_grad, "set_grad: {} does not require gradients", *this);
  check(grad.shape() == shape() && &grad.context() == &context(), "set_grad: {} for {}", grad, *this);
  impl_->grad = grad.impl_;
}

void Tensor::zero_grad() const {
  if (impl_->grad) grad().zero_later();
}

void Tensor::move_into(const Tensor& target, std::int64_t offset) const {
  const Tensor place = target.alias(offset, shape());
  place.copy_from(*this);
  impl_->storage = place.impl_->storage;
  impl_->offset = place.impl_->offset;
}

void Tensor::backward(bool retain_graph) const {
  check(count() == 1, "backward: {} is not a scalar; give the gradient of every element", *this);
  // Made once and kept: a step that is captured cannot copy from the host.
  auto& one = context().one();
  if (!one) one = Tensor::full(context(), Shape{}, 1.0f).impl();
  autograd::backward(*this, Tensor(one).alias(0, shape()), retain_graph);
}

void Tensor::backward(const Tensor& gradient, bool retain_graph) const { autograd::backward(*this, gradient, retain_graph); }

}  // namespace retort
