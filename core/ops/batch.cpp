#include "retort/kernels/batch.h"

#include "retort/core/ops/common.h"

namespace retort::ops {

namespace {

void expect_counter(const char* op, const Tensor& first, const Tensor& counter) {
  expect(op, "counter", counter, DType::i32);
  expect_with(op, first, "counter", counter, DType::i32);
  check(counter.count() == 1, "{}: the counter has shape {}, not one element", op, counter.shape());
}

}  // namespace

LabelledRows gather_batch(const LabelledRows& data, const BatchOrder& order, std::int64_t rows) {
  static constexpr const char* op = "gather_batch";
  expect(op, "data", data.rows);
  expect(op, "order", order.order, DType::i32);
  expect_with(op, data.rows, "order", order.order, DType::i32);
  expect_counter(op, data.rows, order.counter);
  for (const Tensor* labels : {&data.labels1, &data.labels2}) {
    expect(op, "labels", *labels, DType::i32);
    expect_with(op, data.rows, "labels", *labels, DType::i32);
    check(labels->shape() == Shape{data.rows.shape()[0]}, "{}: labels {} for data {}", op, labels->shape(), data.rows.shape());
  }
  check(rows > 0 && rows <= order.stride, "{}: {} rows of batches of {}", op, rows, order.stride);
  const Shape& shape = data.rows.shape();
  std::array<std::int64_t, Shape::max_rank> sizes{};
  std::ranges::copy(shape.sizes(), sizes.begin());
  sizes[0] = rows;
  Context& context = data.rows.context();
  const LabelledRows batch{Tensor::empty(context, Shape(std::span(sizes.data(), static_cast<std::size_t>(shape.rank())))),
                           Tensor::empty(context, {rows}, DType::i32), Tensor::empty(context, {rows}, DType::i32)};
  kernel<BatchKernels>(context.device())
      .gather(context.stream(), {rows, batch.rows.count() / rows, order.stride}, order.order.ints(), order.counter.ints(),
              data.rows.data(), data.labels1.ints(), data.labels2.ints(), batch.rows.mutable_data(), batch.labels1.mutable_ints(),
              batch.labels2.mutable_ints());
  return batch;
}

void record_(const Tensor& values, const Tensor& history, const Tensor& counter) {
  static constexpr const char* op = "record";
  expect(op, "values", values);
  expect(op, "history", history);
  expect_with(op, values, "history", history);
  expect_counter(op, values, counter);
  const std::int64_t n = values.count();
  check(history.shape().rank() == 2 && history.shape()[1] == n, "{}: {} values into a history of shape {}", op, n,
        history.shape());
  kernel<BatchKernels>(values.device()).record(values.stream(), n, values.data(), history.mutable_data(), counter.mutable_ints());
}

}  // namespace retort::ops
