// Reductions to one number: a float sum for each piece of fixed length, the pieces' sums added in order in double.
#include "retort/kernels/reduce.h"

#include "retort/kernels/cpu/eigen.h"
#include "retort/kernels/cpu/register.h"
#include "retort/kernels/thread_team.h"

namespace retort::eigen {
namespace {

constexpr std::int64_t piece = 4096;  // summed in float: 16 lanes of 256 terms

void forward(Stream& stream, Reduction f, std::int64_t n, const float* x, float* y) {
  const std::int64_t pieces = (n + piece - 1) / piece;
  auto* partial = static_cast<float*>(stream.scratch(static_cast<std::size_t>(pieces) * sizeof(float)));
  stream.threads().for_ranges(pieces, 4, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const ConstArray part = array(x + i * piece, std::min(piece, n - i * piece));
      partial[i] = f == Reduction::l1 ? part.abs().sum() : part.sum();
    }
  });
  double total = 0;
  for (std::int64_t i = 0; i < pieces; ++i) total += partial[i];
  y[0] = static_cast<float>(f == Reduction::mean ? total / static_cast<double>(n) : total);
}

void backward(Stream& stream, Reduction f, std::int64_t n, const float* x, const float* dy, float* dx) {
  const float g = f == Reduction::mean ? dy[0] / static_cast<float>(n) : dy[0];
  stream.threads().for_ranges(n, grain, [&](std::int64_t begin, std::int64_t end) {
    Array out = array(dx + begin, end - begin);
    if (f == Reduction::l1)
      for (std::int64_t i = begin; i < end; ++i) dx[i] = x[i] > 0 ? g : x[i] < 0 ? -g : 0.0f;
    else
      out = g;
  });
}

}  // namespace

void register_reduce() { add(ReduceKernels{forward, backward}); }

}  // namespace retort::eigen
