// cuBLAS's SGEMM. Contract: kernels/linear.h (MatmulKernels).
#include "retort/kernels/registry.h"
#include "retort/kernels/vendor/all.h"
#include "retort/kernels/vendor/column_major.h"
#include "retort/kernels/vendor/cublas.h"

namespace retort::vendor {
namespace {

/// What a stream keeps. The work space is ours, or a captured step would hold one of cuBLAS's own.
struct Cublas {
  Workspace workspace;
  CublasHandle handle;  // goes first
};

auto describer(const MatmulShape& s) {
  return [&s] {
    return fmt::format("matmul.forward (cublas): ({},{}){} x ({},{}){}", s.m, s.k, s.transpose_a ? " transposed" : "", s.k, s.n,
                       s.transpose_b ? " transposed" : "");
  };
}

template <class Describe>
cublasHandle_t handle_of(Stream& stream, const Describe& what) {
  Cublas& state = stream.keep<Cublas>();
  if (!state.handle) {
    cublasHandle_t handle = nullptr;
    check_cublas(cublasCreate(&handle), "cublasCreate", what);
    state.handle = CublasHandle(handle);
    check_cublas(cublasSetStream(handle, cuda_stream(stream)), "cublasSetStream",
                 what);  // and only then the work space: this resets it
    check_cublas(cublasSetWorkspace(handle, state.workspace.get(stream, blas_workspace), blas_workspace), "cublasSetWorkspace",
                 what);
  }
  check_cublas(cublasSetMathMode(state.handle.get(), stream.tf32() ? CUBLAS_TF32_TENSOR_OP_MATH : CUBLAS_DEFAULT_MATH),
               "cublasSetMathMode", what);
  return state.handle.get();
}

void forward(Stream& stream, const MatmulShape& s, const float* a, const float* b, float beta, float* c) {
  if (s.m * s.n == 0) return;
  const auto what = describer(s);
  const ColumnMajorGemm g = column_major(s);
  const auto op = [](bool transpose) { return transpose ? CUBLAS_OP_T : CUBLAS_OP_N; };
  check_cublas(cublasSgemm_64(handle_of(stream, what), op(g.transpose_first), op(g.transpose_second), g.m, g.n, g.k, &one, b,
                              g.ld_first, a, g.ld_second, &beta, c, g.ld_result),
               "cublasSgemm_64", what);
}

}  // namespace

void register_matmul_cublas() { KernelTable<MatmulKernels>::instance().add(Device::cuda, "cublas", 0, {forward}); }

}  // namespace retort::vendor
