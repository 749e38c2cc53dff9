// Tensor: a handle to a contiguous, row-major array on a device, float32 or int32 (labels), with its place in the autograd graph.
#pragma once

#include "retort/core/context.h"
#include "retort/core/shape.h"

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace retort {

class Node;
class Tensor;

namespace detail {

struct TensorImpl {
  Context* context;
  std::shared_ptr<Storage> storage;
  std::int64_t offset = 0;  ///< in elements
  Shape shape;
  DType dtype = DType::f32;
  bool requires_grad = false;        ///< a leaf that collects gradients
  bool zero_pending = false;         ///< counts as zeros, though its memory does not hold them yet
  std::shared_ptr<TensorImpl> grad;  ///< of a leaf
  std::shared_ptr<Node> creator;     ///< of the result of a recorded operation
};

}  // namespace detail

/// Copying a Tensor copies the handle, not the data (as in PyTorch); `clone` copies the data. All functions that take two tensors
/// need them on one context. Constness is that of the data: `data()` reads, `mutable_data()` writes and is counted as an in-place
/// change.
class Tensor {
 public:
  Tensor() = default;

  static Tensor empty(Context&, const Shape&, DType = DType::f32);
  static Tensor zeros(Context&, const Shape&, DType = DType::f32);
  static Tensor full(Context&, const Shape&, float value);
  /// Copies host values in; throws when their number is not shape.count().
  static Tensor from(Context&, const Shape&, std::span<const float> values);
  static Tensor from(Context&, const Shape&, std::span<const std::int32_t> values);
  /// Host values for reading only: on the CPU the tensor stands on the caller's memory, which must outlive it and may be a
  /// read-only mapping; elsewhere they are copied.
  static Tensor borrow(Context&, const Shape&, std::span<const float> values);
  static Tensor borrow(Context&, const Shape&, std::span<const std::int32_t> values);
  static Tensor empty_like(const Tensor& other) { return empty(other.context(), other.shape(), other.dtype()); }

  bool defined() const { return impl_ != nullptr; }
  const Shape& shape() const { return impl_->shape; }
  std::int64_t count() const { return impl_->shape.count(); }
  DType dtype() const { return impl_->dtype; }
  Context& context() const { return *impl_->context; }
  Stream& stream() const { return impl_->context->stream(); }
  Device device() const { return impl_->context->device(); }

  /// Device pointers. The int forms throw on a float tensor and the other way round.
  const float* data() const;
  float* mutable_data() const;
  const std::int32_t* ints() const;
  std::int32_t* mutable_ints() const;

  /// Copies to the host, after all earlier work on the stream.
  std::vector<float> to_vector() const;
  std::vector<std::int32_t> to_ints() const;
  float item() const;  ///< of a tensor with one element

  /// In-place writes (not recorded, counted as changes).
  void copy_from(const Tensor& other) const;
  void copy_from_host(std::span<const float> values) const;
  void copy_from_host(std::span<const std::int32_t> values) const;
  void zero() const;
  /// zero(), put off: the memory is cleared when this tensor is next looked at, or never when a gradient overwrites it first.
  /// Aliases made before do not know of it.
  void zero_later() const;

  Tensor clone() const;   ///< a copy of the data outside the graph
  Tensor detach() const;  ///< the same data outside the graph
  /// The same data, outside the graph, as another shape from element `offset` on. `ops::reshape` is the recorded form.
  Tensor alias(std::int64_t offset, const Shape& shape) const;

  /// Leaves: parameters that collect gradients.
  Tensor& set_requires_grad(bool wanted = true);
  bool requires_grad() const { return impl_->requires_grad || impl_->creator != nullptr; }
  bool is_leaf() const { return impl_->creator == nullptr; }
  Tensor grad() const { return Tensor(impl_->grad); }  ///< undefined until backward has reached this leaf
  void set_grad(const Tensor& grad) const;             ///< gives the leaf a buffer to accumulate in, e.g. a piece of an arena
  void zero_grad() const;

  /// Gradients of this scalar with respect to all leaves, added to their `grad`. Frees the graph unless `retain_graph`.
  void backward(bool retain_graph = false) const;
  /// The same with a given gradient of this tensor (the vector of a vector-Jacobian product).
  void backward(const Tensor& gradient, bool retain_graph = false) const;

  /// Moves this tensor's data into `storage_of` at `offset` (same context, same type): how an arena adopts parameters. All
  /// handles to this tensor see it.
  void move_into(const Tensor& storage_of, std::int64_t offset) const;

  std::uint32_t version() const { return impl_->storage->version; }
  const std::shared_ptr<detail::TensorImpl>& impl() const { return impl_; }
  explicit Tensor(std::shared_ptr<detail::TensorImpl> impl) : impl_(std::move(impl)) {}

 private:
  void settle() const;  ///< clears what was put off
  std::shared_ptr<detail::TensorImpl> impl_;
};

/// "float32 (64, 12) on cpu"; a Tensor given to `check` and `fail` is written so.
std::string describe(const Tensor& tensor);

}  // namespace retort

template <>
struct fmt::formatter<retort::Tensor> : fmt::formatter<std::string_view> {
  template <class FormatContext>
  auto format(const retort::Tensor& tensor, FormatContext& context) const {
    return fmt::formatter<std::string_view>::format(retort::describe(tensor), context);
  }
};
