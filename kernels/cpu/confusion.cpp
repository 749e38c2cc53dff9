// Counting predictions. One thread: the counters are shared, and a batch takes a microsecond or two.
#include "retort/kernels/confusion.h"

#include "retort/kernels/cpu/register.h"

namespace retort::eigen {
namespace {

/// Index of the first maximum; 0 when the row has a NaN.
std::int64_t predicted_class(std::int64_t columns, const float* logits) {
  std::int64_t best = 0;
  bool has_nan = false;
  for (std::int64_t j = 0; j < columns; ++j) {
    has_nan |= logits[j] != logits[j];
    best = logits[j] > logits[best] ? j : best;
  }
  return has_nan ? 0 : best;
}

void count(Stream&, std::int64_t rows, std::int64_t columns, const float* logits, const std::int32_t* labels,
           std::int32_t* counts) {
  for (std::int64_t i = 0; i < rows; ++i)
    if (labels[i] >= 0 && labels[i] < columns) ++counts[labels[i] * columns + predicted_class(columns, logits + i * columns)];
}

}  // namespace

void register_confusion() { add(ConfusionKernels{count}); }

}  // namespace retort::eigen
