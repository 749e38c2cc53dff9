// A data set where the kernels are, batches picked out of it by index, and a model measured on a part of it.
#pragma once

#include "retort/data/read_ahead.h"
#include "retort/distill/method.h"
#include "retort/distill/metrics.h"

#include <span>

namespace retort {

/// On the CPU the windows stay where they are (a mapped file is read batch by batch); a GPU gets a copy once.
class DeviceData {
 public:
  /// `windows` must outlive this. `max_batch`: the largest batch that will be asked for.
  DeviceData(Context& context, const WindowSet& windows, std::int64_t max_batch);

  /// The windows and labels with these indices; at most max_batch.
  Batch gather(std::span<const std::int32_t> indices) const;

  /// For windows that will be taken in this order; does nothing on a GPU, which has them all. `order` must outlive it.
  ReadAhead read_ahead(std::span<const std::int32_t> order) const;

  const ops::LabelledRows& rows() const { return rows_; }  ///< all of them

  const Shape& window_shape() const { return window_shape_; }  ///< (1, axes, length)
  std::int64_t max_batch() const { return index_.count(); }
  Context& context() const { return rows_.rows.context(); }

 private:
  const WindowSet& windows_;
  Shape window_shape_;
  ops::LabelledRows rows_;
  Tensor index_;
};

/// Batches in a given order, with the losses of each noted. Order, losses, and the counter of the batches taken live on the
/// device, so that from batch to batch nothing passes through the host, and a captured step takes the next batch at every replay.
class BatchFeed {
 public:
  static constexpr std::int64_t values = 5;  ///< total, ce1, ce2, kl1, kl2

  /// For up to `windows` windows in batches of `batch`. `data` must outlive this.
  BatchFeed(const DeviceData& data, std::int64_t windows, std::int64_t batch);

  /// From now on batches come in this order, after the first `taken` ones. The losses noted stay.
  void start(std::span<const std::int32_t> order, std::int64_t taken = 0);

  /// The first `rows` windows of the batch whose turn it is.
  Batch next(std::int64_t rows) const;
  /// Notes the batch's losses (5); it is the next one's turn.
  void record(const Tensor& losses) const;

  const Tensor& history() const { return history_; }  ///< (batches, 5), of those that were recorded

 private:
  const DeviceData& data_;
  ops::BatchOrder order_;
  Tensor history_;
};

struct Measured {
  double loss = 0;  ///< alpha CE1 + (1 - alpha) CE2, mean over windows, without any distillation term
  TaskMetrics task1, task2;
  double mean_accuracy() const { return (task1.accuracy + task2.accuracy) / 2; }
};

/// The model in evaluation mode (and back) over the given windows.
Measured evaluate(nn::TwoTaskModel& model, const DeviceData& data, std::span<const std::int32_t> indices, float alpha);

}  // namespace retort
