#include "retort/kernels/backends.h"
#include "retort/kernels/vendor/all.h"
#include "retort/kernels/vendor/cublas.h"

namespace retort {

std::string cublas_describe() {
  const std::size_t v = cublasLtGetVersion();
  return fmt::format("cuBLAS {}.{}.{}", v / 10000, v / 100 % 100, v % 100);
}

void register_cublas_kernels() {
  vendor::register_matmul_cublas();
  vendor::register_linear_cublaslt();
  vendor::register_linear_by_shape();
}

}  // namespace retort
