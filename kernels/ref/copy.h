// The copies of kernels/copy.h as loops.
#pragma once

#include "retort/kernels/copy.h"

namespace retort::ref {

template <class T>
void copy_strided(Stream&, std::int64_t rows, std::int64_t columns, const T* from, std::int64_t from_stride, T* to,
                  std::int64_t to_stride) {
  for (std::int64_t i = 0; i < rows; ++i)
    for (std::int64_t j = 0; j < columns; ++j) to[i * to_stride + j] = from[i * from_stride + j];
}

template <class T>
void copy_gather(Stream&, std::int64_t rows, std::int64_t columns, const std::int32_t* index, const T* from, T* to) {
  for (std::int64_t i = 0; i < rows; ++i)
    for (std::int64_t j = 0; j < columns; ++j) to[i * columns + j] = from[index[i] * columns + j];
}

inline void copy_gather_labels(Stream&, std::int64_t rows, const std::int32_t* index, const std::int32_t* from,
                               std::int32_t* to) {
  for (std::int64_t i = 0; i < rows; ++i) to[i] = from[index[i]];
}

}  // namespace retort::ref
