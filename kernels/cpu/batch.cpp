// Picking a batch out of the data set, row by row, and noting its losses.
#include "retort/kernels/batch.h"

#include "retort/kernels/cpu/eigen.h"
#include "retort/kernels/cpu/register.h"
#include "retort/kernels/thread_team.h"

#include <algorithm>

namespace retort::eigen {
namespace {

void gather(Stream& stream, const BatchShape& s, const std::int32_t* order, const std::int32_t* batch, const float* data,
            const std::int32_t* data1, const std::int32_t* data2, float* windows, std::int32_t* labels1, std::int32_t* labels2) {
  const std::int32_t* index = order + *batch * s.stride;
  stream.threads().for_ranges(s.rows, rows_per_task(s.columns), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      std::copy_n(data + index[i] * s.columns, s.columns, windows + i * s.columns);
      labels1[i] = data1[index[i]];
      labels2[i] = data2[index[i]];
    }
  });
}

void record(Stream&, std::int64_t n, const float* values, float* history, std::int32_t* batch) {
  std::copy_n(values, n, history + *batch * n);
  ++*batch;
}

}  // namespace

void register_batch() { add(BatchKernels{gather, record}); }

}  // namespace retort::eigen
