// Contract: moving rows about: concatenation and its backward, and picking a batch out of a data set.
#pragma once

#include "retort/kernels/stream.h"

#include <cstdint>

namespace retort {

struct CopyKernels {
  static constexpr const char* op = "copy";
  /// to[i, 0..columns) = from[i, 0..columns) for i < rows; row i starts at i * stride (in elements). No overlap.
  void (*strided)(Stream&, std::int64_t rows, std::int64_t columns, const float* from, std::int64_t from_stride, float* to,
                  std::int64_t to_stride);
  /// to[i] = from[index[i]], rows of `columns` floats; index: (rows), each in [0, number of rows of `from`).
  void (*gather)(Stream&, std::int64_t rows, std::int64_t columns, const std::int32_t* index, const float* from, float* to);
  /// The same for labels, one a row.
  void (*gather_labels)(Stream&, std::int64_t rows, const std::int32_t* index, const std::int32_t* from, std::int32_t* to);
};

}  // namespace retort
