// Linear layers by whichever kernel was measured faster at their shape: `--impl linear=by_shape`. Contract: kernels/linear.h.
//
// A row of the table is a shape at which cuBLASLt won on a GPU, with the measurement beside it (bench/gpu_check.sh makes it);
// everything else is the hand-written kernel's. No GPU has measured yet, so the table is empty and the hand-written kernel is the
// default. With the first measured row, give "by_shape" a preference above 10 to make it the default.
#include "retort/kernels/linear.h"
#include "retort/kernels/registry.h"
#include "retort/kernels/vendor/all.h"

#include <algorithm>
#include <limits>
#include <vector>

namespace retort::vendor {
namespace {

constexpr std::int64_t any = std::numeric_limits<std::int64_t>::max();

/// Layers of `in` to `out` for at least `rows_from` and at most `rows_to` rows.
struct Measured {
  std::int64_t in, out, rows_from = 1, rows_to = any;
};

const std::vector<Measured> cublaslt_forward = {};
const std::vector<Measured> cublaslt_backward = {};

const LinearKernels& faster(const std::vector<Measured>& cublaslt_won, const LinearShape& s) {
  const bool cublaslt = std::ranges::any_of(cublaslt_won, [&](const Measured& m) {
    return m.in == s.in && m.out == s.out && m.rows_from <= s.rows && s.rows <= m.rows_to;
  });
  return KernelTable<LinearKernels>::instance().get(Device::cuda, cublaslt ? "cublaslt" : "cuda");
}

void forward(Stream& stream, const LinearShape& s, const float* x, const float* w, const float* b, float* y) {
  faster(cublaslt_forward, s).forward(stream, s, x, w, b, y);
}

void backward(Stream& stream, const LinearShape& s, const float* x, const float* w, const float* y, const float* dy, float* dx,
              float beta, float* dw, float* db) {
  faster(cublaslt_backward, s).backward(stream, s, x, w, y, dy, dx, beta, dw, db);
}

}  // namespace

void register_linear_by_shape() { KernelTable<LinearKernels>::instance().add(Device::cuda, "by_shape", 0, {forward, backward}); }

}  // namespace retort::vendor
