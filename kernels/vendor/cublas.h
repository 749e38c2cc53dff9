// cuBLAS's and cuBLASLt's handles as move-only owners, and their errors as DeviceErrors. Only the cuBLAS twins include this.
#pragma once

#include "retort/kernels/vendor/vendor.h"

#include <cublasLt.h>
#include <cublas_v2.h>

#include <cstdint>

namespace retort::vendor {

template <class Describe>
void check_cublas(cublasStatus_t status, const char* call, const Describe& describe, const char* file = __builtin_FILE(),
                  int line = __builtin_LINE()) {
  if (status != CUBLAS_STATUS_SUCCESS) [[unlikely]]
    fail_call(call, fmt::format("{} ({})", cublasGetStatusString(status), cublasGetStatusName(status)), describe, file, line);
}

using CublasHandle = CudaHandle<cublasHandle_t, cublasDestroy>;
using LtHandle = CudaHandle<cublasLtHandle_t, cublasLtDestroy>;
using LtMatmul = CudaHandle<cublasLtMatmulDesc_t, cublasLtMatmulDescDestroy>;
using LtLayout = CudaHandle<cublasLtMatrixLayout_t, cublasLtMatrixLayoutDestroy>;
using LtPreference = CudaHandle<cublasLtMatmulPreference_t, cublasLtMatmulPreferenceDestroy>;

/// NVIDIA's advice for Hopper and newer; more than enough for older ones.
inline constexpr std::size_t blas_workspace = std::size_t{32} << 20;

inline constexpr float one = 1.0f, zero = 0.0f;

}  // namespace retort::vendor
