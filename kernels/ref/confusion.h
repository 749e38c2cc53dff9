// The counting of kernels/confusion.h as loops.
#pragma once

#include "retort/kernels/confusion.h"

namespace retort::ref {

template <class T>
void confusion_add(Stream&, std::int64_t rows, std::int64_t columns, const T* logits, const std::int32_t* labels,
                   std::int32_t* counts) {
  for (std::int64_t i = 0; i < rows; ++i) {
    if (labels[i] < 0 || labels[i] >= columns) continue;
    const T* z = logits + i * columns;
    std::int64_t best = 0;
    bool has_nan = false;
    for (std::int64_t j = 0; j < columns; ++j) {
      has_nan = has_nan || z[j] != z[j];
      if (z[j] > z[best]) best = j;
    }
    ++counts[labels[i] * columns + (has_nan ? 0 : best)];
  }
}

}  // namespace retort::ref
