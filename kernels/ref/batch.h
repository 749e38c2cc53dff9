// Picking a batch and noting its losses (kernels/batch.h) as loops.
#pragma once

#include "retort/kernels/batch.h"

namespace retort::ref {

template <class T>
void batch_gather(Stream&, const BatchShape& s, const std::int32_t* order, const std::int32_t* batch, const T* data,
                  const std::int32_t* data1, const std::int32_t* data2, T* windows, std::int32_t* labels1,
                  std::int32_t* labels2) {
  for (std::int64_t i = 0; i < s.rows; ++i) {
    const std::int64_t k = order[*batch * s.stride + i];
    for (std::int64_t j = 0; j < s.columns; ++j) windows[i * s.columns + j] = data[k * s.columns + j];
    labels1[i] = data1[k];
    labels2[i] = data2[k];
  }
}

template <class T>
void batch_record(Stream&, std::int64_t n, const T* values, T* history, std::int32_t* batch) {
  for (std::int64_t j = 0; j < n; ++j) history[*batch * n + j] = values[j];
  ++*batch;
}

}  // namespace retort::ref
