#include "retort/distill/batches.h"

#include "retort/nn/predict.h"

#include <algorithm>
#include <array>

namespace retort {

DeviceData::DeviceData(Context& context, const WindowSet& windows, std::int64_t max_batch)
    : windows_(windows), window_shape_{1, 3, windows.info.options.length} {
  const std::int64_t n = windows.count();
  rows_ = {Tensor::borrow(context, {n, window_shape_[0], window_shape_[1], window_shape_[2]}, windows.windows),
           Tensor::borrow(context, {n}, windows.task1), Tensor::borrow(context, {n}, windows.task2)};
  index_ = Tensor::empty(context, {max_batch}, DType::i32);
}

Batch DeviceData::gather(std::span<const std::int32_t> indices) const {
  check(static_cast<std::int64_t>(indices.size()) <= index_.count(), "gather: a batch of {}, at most {} were announced",
        indices.size(), index_.count());
  const Tensor index = index_.alias(0, {static_cast<std::int64_t>(indices.size())});
  index.copy_from_host(indices);
  return {ops::gather(rows_.rows, index), ops::gather(rows_.labels1, index), ops::gather(rows_.labels2, index)};
}

ReadAhead DeviceData::read_ahead(std::span<const std::int32_t> order) const {
  return {windows_, context().device() == Device::cpu ? order : std::span<const std::int32_t>()};
}

BatchFeed::BatchFeed(const DeviceData& data, std::int64_t windows, std::int64_t batch) : data_(data) {
  Context& context = data.context();
  order_ = {Tensor::empty(context, {windows}, DType::i32), Tensor::zeros(context, Shape{}, DType::i32), batch};
  history_ = Tensor::zeros(context, {(windows + batch - 1) / batch, values});
}

void BatchFeed::start(std::span<const std::int32_t> order, std::int64_t taken) {
  order_.order.alias(0, {static_cast<std::int64_t>(order.size())}).copy_from_host(order);
  order_.counter.copy_from_host(std::array{static_cast<std::int32_t>(taken)});
}

Batch BatchFeed::next(std::int64_t rows) const {
  auto batch = ops::gather_batch(data_.rows(), order_, rows);
  return {std::move(batch.rows), std::move(batch.labels1), std::move(batch.labels2)};
}

void BatchFeed::record(const Tensor& losses) const { ops::record_(losses, history_, order_.counter); }

Measured evaluate(nn::TwoTaskModel& model, const DeviceData& data, std::span<const std::int32_t> indices, float alpha) {
  Measured result;
  if (indices.empty()) return result;
  Context& context = data.context();
  NoGrad no_grad(context);
  const bool was_training = model.training();
  model.eval();
  const auto [outputs1, outputs2] = model.outputs();
  const Tensor confusion1 = Tensor::zeros(context, {outputs1, outputs1}, DType::i32);
  const Tensor confusion2 = Tensor::zeros(context, {outputs2, outputs2}, DType::i32);
  const auto windows = static_cast<std::int64_t>(indices.size());
  const auto batch_size = [&](std::int64_t begin) { return std::min(windows - begin, data.max_batch()); };
  BatchFeed feed(data, windows, data.max_batch());
  feed.start(indices);
  ReadAhead ahead = data.read_ahead(indices);
  for (std::int64_t begin = 0; begin < windows; begin += batch_size(begin)) {
    ahead.advance(begin);
    const Batch batch = feed.next(batch_size(begin));
    const nn::Logits z = nn::predict(model, batch.windows);
    ops::count_confusion(z.task1, batch.labels1, confusion1);
    ops::count_confusion(z.task2, batch.labels2, confusion2);
    const auto losses = ops::multitask_distill_loss(z.task1, z.task2, {}, {}, batch.labels1, batch.labels2, {.alpha = alpha});
    feed.record(losses.values);
  }
  model.train(was_training);
  const auto losses = feed.history().to_vector();
  for (std::int64_t begin = 0, i = 0; begin < windows; begin += batch_size(begin), ++i)
    result.loss +=
        static_cast<double>(losses[static_cast<std::size_t>(i * BatchFeed::values)]) * static_cast<double>(batch_size(begin));
  result.loss /= static_cast<double>(windows);
  result.task1 = task_metrics(std::span<const std::int32_t>(confusion1.to_ints()), outputs1);
  result.task2 = task_metrics(std::span<const std::int32_t>(confusion2.to_ints()), outputs2);
  return result;
}

}  // namespace retort
