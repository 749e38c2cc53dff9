// Contract: counting predictions on the device, so that accuracy needs no copy of the logits.
#pragma once

#include "retort/kernels/stream.h"

#include <cstdint>

namespace retort {

struct ConfusionKernels {
  static constexpr const char* op = "confusion";
  /// counts[labels[i], argmax(logits[i])] += 1 for each row; counts: (columns, columns), rows are true classes. The first
  /// maximum wins; a row with a NaN counts as class 0, a label out of range is not counted.
  void (*add)(Stream&, std::int64_t rows, std::int64_t columns, const float* logits, const std::int32_t* labels,
              std::int32_t* counts);
};

}  // namespace retort
