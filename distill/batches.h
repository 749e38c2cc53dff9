// A data set where the kernels are, batches picked out of it by index, and a model measured on a part of it.
#pragma once

#include "retort/data/windowing.h"
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

  const Shape& window_shape() const { return window_shape_; }  ///< (1, axes, length)
  std::int64_t max_batch() const { return index_.count(); }
  Context& context() const { return windows_.context(); }

 private:
  Shape window_shape_;
  Tensor windows_, task1_, task2_, index_;
};

struct Measured {
  double loss = 0;  ///< alpha CE1 + (1 - alpha) CE2, mean over windows, without any distillation term
  TaskMetrics task1, task2;
  double mean_accuracy() const { return (task1.accuracy + task2.accuracy) / 2; }
};

/// The model in evaluation mode (and back) over the given windows.
Measured evaluate(nn::TwoTaskModel& model, const DeviceData& data, std::span<const std::int32_t> indices, float alpha);

}  // namespace retort
