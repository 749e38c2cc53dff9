// Rows divided by their length.
#include "retort/kernels/normalize.h"

#include "retort/kernels/cpu/eigen.h"
#include "retort/kernels/cpu/register.h"
#include "retort/kernels/thread_team.h"

#include <algorithm>
#include <cmath>

namespace retort::eigen {
namespace {

void forward(Stream& stream, std::int64_t rows, std::int64_t columns, const float* x, float* norm, float* y) {
  stream.threads().for_ranges(rows, rows_per_task(columns), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const ConstArray row = array(x + i * columns, columns);
      norm[i] = std::max(std::sqrt(row.square().sum()), l2_normalize_eps);
      array(y + i * columns, columns) = row / norm[i];
    }
  });
}

void backward(Stream& stream, std::int64_t rows, std::int64_t columns, const float* norm, const float* y, const float* dy,
              float* dx) {
  stream.threads().for_ranges(rows, rows_per_task(columns), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const ConstArray unit = array(y + i * columns, columns), g = array(dy + i * columns, columns);
      const float dot = norm[i] > l2_normalize_eps ? (unit * g).sum() : 0.0f;
      array(dx + i * columns, columns) = (g - unit * dot) / norm[i];
    }
  });
}

}  // namespace

void register_normalize() { add(L2NormalizeKernels{forward, backward}); }

}  // namespace retort::eigen
