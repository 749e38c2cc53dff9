#include "retort/core/ops/common.h"
#include "retort/kernels/copy.h"

namespace retort::ops {

namespace {

Shape resolve(const Tensor& x, std::span<const std::int64_t> sizes) {
  std::array<std::int64_t, Shape::max_rank> resolved{};
  check(sizes.size() <= resolved.size(), "reshape: {} dimensions, at most {} are supported", sizes.size(), Shape::max_rank);
  std::ranges::copy(sizes, resolved.begin());
  const auto used = std::span(resolved).first(sizes.size());
  if (const auto open = std::ranges::find(used, -1); open != used.end()) {
    check(std::ranges::count(used, -1) == 1, "reshape: more than one size is -1");
    *open = 1;
    const std::int64_t known = Shape(used).count();
    check(known > 0, "reshape: {} into ({}): any size fits for -1", x.shape(), fmt::join(sizes, ", "));
    *open = x.count() / known;
  }
  const Shape shape(used);
  check(shape.count() == x.count(), "reshape: {} does not fit into ({})", x.shape(), fmt::join(sizes, ", "));
  return shape;
}

}  // namespace

Tensor reshape(const Tensor& x, std::span<const std::int64_t> sizes) {
  check(x.defined(), "reshape: the input is undefined");
  const Tensor y = x.alias(0, resolve(x, sizes));
  autograd::record("reshape", y, {x}, [shape = x.shape()](const Tensor& dy, Node& node) { node.give(0, dy.alias(0, shape)); });
  return y;
}

Tensor reshape(const Tensor& x, std::initializer_list<std::int64_t> sizes) {
  return reshape(x, std::span(sizes.begin(), sizes.size()));
}

Tensor flatten(const Tensor& x) {
  check(x.defined() && x.shape().rank() >= 1, "flatten: the input {} has no rows", x);
  return reshape(x, {x.shape()[0], Shape(x.shape().sizes().subspan(1)).count()});
}

Tensor concat(std::span<const Tensor> inputs, int dimension) {
  check(!inputs.empty(), "concat: no inputs");
  expect("concat", "input 0", inputs[0]);
  const Shape& first = inputs[0].shape();
  const int axis = dimension < 0 ? dimension + first.rank() : dimension;
  check(axis >= 0 && axis < first.rank(), "concat: dimension {} of {}", dimension, first);
  std::array<std::int64_t, Shape::max_rank> sizes{};
  std::ranges::copy(first.sizes(), sizes.begin());
  std::int64_t joined = 0, rows = 1, inner = 1;
  for (int i = 0; i < axis; ++i) rows *= first[i];
  for (int i = axis + 1; i < first.rank(); ++i) inner *= first[i];
  for (std::size_t t = 0; t < inputs.size(); ++t) {
    expect("concat", "an input", inputs[t]);
    expect_with("concat", inputs[0], "an input", inputs[t]);
    bool fits = inputs[t].shape().rank() == first.rank();
    for (int i = 0; fits && i < first.rank(); ++i) fits = i == axis || inputs[t].shape()[i] == first[i];
    check(fits, "concat: input {} has shape {}, input 0 {}; they may differ in dimension {} only", t, inputs[t].shape(), first,
          axis);
    joined += inputs[t].shape()[axis];
  }
  sizes[static_cast<std::size_t>(axis)] = joined;
  const Tensor y = Tensor::empty(inputs[0].context(), Shape(std::span(sizes.data(), static_cast<std::size_t>(first.rank()))));
  const auto& copy = kernel<CopyKernels>(y.device());
  std::int64_t column = 0;
  for (const Tensor& x : inputs) {
    const std::int64_t columns = x.shape()[axis] * inner;
    copy.strided(y.stream(), rows, columns, x.data(), columns, y.mutable_data() + column, joined * inner);
    column += columns;
  }
  std::pmr::vector<Shape> shapes(y.context().pool());
  for (const Tensor& x : inputs) shapes.push_back(x.shape());
  autograd::record("concat", y, inputs, [rows, joined, inner, axis, shapes = std::move(shapes)](const Tensor& dy, Node& node) {
    std::int64_t at = 0;
    for (std::size_t t = 0; t < shapes.size(); ++t) {
      const std::int64_t columns = shapes[t][axis] * inner;
      if (node.wants(static_cast<int>(t))) {
        Tensor dx = Tensor::empty(dy.context(), shapes[t]);
        kernel<CopyKernels>(dy.device())
            .strided(dy.stream(), rows, columns, dy.data() + at, joined * inner, dx.mutable_data(), columns);
        node.give(static_cast<int>(t), std::move(dx));
      }
      at += columns;
    }
  });
  return y;
}

Tensor gather(const Tensor& from, const Tensor& index) {
  check(from.defined() && from.shape().rank() >= 1, "gather: the source {} has no rows", from);
  expect("gather", "index", index, DType::i32);
  expect_with("gather", from, "index", index, DType::i32);
  check(index.shape().rank() == 1, "gather: index has shape {}, not one dimension", index.shape());
  std::array<std::int64_t, Shape::max_rank> sizes{};
  std::ranges::copy(from.shape().sizes(), sizes.begin());
  const std::int64_t rows = sizes[0] = index.shape()[0];
  const Tensor to =
      Tensor::empty(from.context(), Shape(std::span(sizes.data(), static_cast<std::size_t>(from.shape().rank()))), from.dtype());
  const auto& kernels = kernel<CopyKernels>(from.device());
  if (from.dtype() == DType::i32) {
    check(from.shape().rank() == 1, "gather: int32 sources have one dimension, this has shape {}", from.shape());
    kernels.gather_labels(from.stream(), rows, index.ints(), from.ints(), to.mutable_ints());
  } else if (rows > 0) {
    kernels.gather(from.stream(), rows, to.count() / rows, index.ints(), from.data(), to.mutable_data());
  }
  return to;
}

}  // namespace retort::ops
