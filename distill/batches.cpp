#include "retort/distill/batches.h"

#include "retort/nn/predict.h"

#include <algorithm>

namespace retort {

DeviceData::DeviceData(Context& context, const WindowSet& windows, std::int64_t max_batch)
    : window_shape_{1, 3, windows.info.options.length} {
  const std::int64_t n = windows.count();
  windows_ = Tensor::borrow(context, {n, window_shape_[0], window_shape_[1], window_shape_[2]}, windows.windows);
  task1_ = Tensor::borrow(context, {n}, windows.task1);
  task2_ = Tensor::borrow(context, {n}, windows.task2);
  index_ = Tensor::empty(context, {max_batch}, DType::i32);
}

Batch DeviceData::gather(std::span<const std::int32_t> indices) const {
  check(static_cast<std::int64_t>(indices.size()) <= index_.count(), "gather: a batch of {}, at most {} were announced", indices.size(),
        index_.count());
  const Tensor index = index_.alias(0, {static_cast<std::int64_t>(indices.size())});
  index.copy_from_host(indices);
  return {ops::gather(windows_, index), ops::gather(task1_, index), ops::gather(task2_, index)};
}

Measured evaluate(nn::TwoTaskModel& model, const DeviceData& data, std::span<const std::int32_t> indices, float alpha) {
  Context& context = data.context();
  NoGrad no_grad(context);
  const bool was_training = model.training();
  model.eval();
  const auto [outputs1, outputs2] = model.outputs();
  const Tensor confusion1 = Tensor::zeros(context, {outputs1, outputs1}, DType::i32);
  const Tensor confusion2 = Tensor::zeros(context, {outputs2, outputs2}, DType::i32);
  double loss = 0;
  for (std::size_t begin = 0; begin < indices.size();) {
    const std::size_t size = std::min(indices.size() - begin, static_cast<std::size_t>(data.max_batch()));
    const Batch batch = data.gather(indices.subspan(begin, size));
    const nn::Logits z = nn::predict(model, batch.windows);
    ops::count_confusion(z.task1, batch.labels1, confusion1);
    ops::count_confusion(z.task2, batch.labels2, confusion2);
    const auto losses = ops::multitask_distill_loss(z.task1, z.task2, {}, {}, batch.labels1, batch.labels2, {.alpha = alpha});
    loss += static_cast<double>(losses.total.item()) * static_cast<double>(size);
    begin += size;
  }
  model.train(was_training);
  Measured result;
  if (indices.empty()) return result;
  result.loss = loss / static_cast<double>(indices.size());
  result.task1 = task_metrics(std::span<const std::int32_t>(confusion1.to_ints()), outputs1);
  result.task2 = task_metrics(std::span<const std::int32_t>(confusion2.to_ints()), outputs2);
  return result;
}

}  // namespace retort
