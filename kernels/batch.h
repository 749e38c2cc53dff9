// Contract: the two ends of a training step: its batch is picked out of the data set, and its losses are noted. Which batch it is
// says a counter on the device, so a captured step, whose arguments never change, works on the next batch at every replay.
#pragma once

#include "retort/kernels/stream.h"

#include <cstdint>

namespace retort {

struct BatchShape {
  std::int64_t rows, columns;  ///< windows in this batch, and floats in a window
  std::int64_t stride;         ///< entries of `order` from one batch to the next
};

struct BatchKernels {
  static constexpr const char* op = "batch";
  /// With b = *batch and k = order[b * stride + i] for i < rows:
  ///   windows[i, :] = data[k, :], labels1[i] = data1[k], labels2[i] = data2[k].
  /// data: (n, columns), data1, data2: (n); every k in [0, n). windows: (rows, columns), labels1, labels2: (rows). No overlap.
  void (*gather)(Stream&, const BatchShape&, const std::int32_t* order, const std::int32_t* batch, const float* data,
                 const std::int32_t* data1, const std::int32_t* data2, float* windows, std::int32_t* labels1,
                 std::int32_t* labels2);
  /// history[*batch * n + j] = values[j] for j < n, n <= 1024; then *batch += 1.
  void (*record)(Stream&, std::int64_t n, const float* values, float* history, std::int32_t* batch);
};

}  // namespace retort
