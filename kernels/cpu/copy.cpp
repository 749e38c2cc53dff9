// Moving rows about.
#include "retort/kernels/copy.h"

#include "retort/kernels/cpu/eigen.h"
#include "retort/kernels/cpu/register.h"
#include "retort/kernels/thread_team.h"

#include <algorithm>

namespace retort::eigen {
namespace {

void strided(Stream& stream, std::int64_t rows, std::int64_t columns, const float* from, std::int64_t from_stride, float* to,
             std::int64_t to_stride) {
  stream.threads().for_ranges(rows, rows_per_task(columns), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) std::copy_n(from + i * from_stride, columns, to + i * to_stride);
  });
}

void gather(Stream& stream, std::int64_t rows, std::int64_t columns, const std::int32_t* index, const float* from, float* to) {
  stream.threads().for_ranges(rows, rows_per_task(columns), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) std::copy_n(from + index[i] * columns, columns, to + i * columns);
  });
}

void gather_labels(Stream& stream, std::int64_t rows, const std::int32_t* index, const std::int32_t* from, std::int32_t* to) {
  stream.threads().for_ranges(rows, grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) to[i] = from[index[i]];
  });
}

}  // namespace

void register_copy() { add(CopyKernels{strided, gather, gather_labels}); }

}  // namespace retort::eigen
