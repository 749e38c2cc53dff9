// cuDNN's handles and descriptors as move-only owners, and its errors as DeviceErrors. Only the *_cudnn.cpp files include this.
#pragma once

#include "retort/kernels/vendor/vendor.h"

#include <cudnn.h>

#include <cstdint>
#include <limits>

namespace retort::vendor {

/// cuDNN's own last words are the most exact ones it has; they may take more than one line, of which the first is kept.
inline std::string words_of(cudnnStatus_t status) {
  char text[512] = {};
  cudnnGetLastErrorString(text, sizeof text);
  std::string_view last(text);
  last = last.substr(0, last.find('\n'));
  return last.empty() ? cudnnGetErrorString(status) : fmt::format("{} ({})", cudnnGetErrorString(status), last);
}

template <class Describe>
void check_cudnn(cudnnStatus_t status, const char* call, const Describe& describe, const char* file = __builtin_FILE(),
                 int line = __builtin_LINE()) {
  if (status != CUDNN_STATUS_SUCCESS) [[unlikely]]
    fail_call(call, words_of(status), describe, file, line);
}

using CudnnHandle = CudaHandle<cudnnHandle_t, cudnnDestroy>;
using TensorDescriptor = CudaHandle<cudnnTensorDescriptor_t, cudnnDestroyTensorDescriptor>;
using FilterDescriptor = CudaHandle<cudnnFilterDescriptor_t, cudnnDestroyFilterDescriptor>;
using ConvolutionDescriptor = CudaHandle<cudnnConvolutionDescriptor_t, cudnnDestroyConvolutionDescriptor>;
using PoolingDescriptor = CudaHandle<cudnnPoolingDescriptor_t, cudnnDestroyPoolingDescriptor>;
using ActivationDescriptor = CudaHandle<cudnnActivationDescriptor_t, cudnnDestroyActivationDescriptor>;

/// What a stream keeps: made on the first use of a cuDNN twin.
struct Cudnn {
  CudnnHandle handle;
  Workspace workspace;
};

template <class Describe>
Cudnn& cudnn(Stream& stream, const Describe& describe) {
  Cudnn& state = stream.keep<Cudnn>();
  if (!state.handle) {
    cudnnHandle_t handle = nullptr;
    check_cudnn(cudnnCreate(&handle), "cudnnCreate", describe);
    state.handle = CudnnHandle(handle);
    check_cudnn(cudnnSetStream(handle, cuda_stream(stream)), "cudnnSetStream", describe);
  }
  return state;
}

/// cuDNN counts in int.
template <class Describe>
int to_int(std::int64_t n, const Describe& describe) {
  check<Error>(n <= std::numeric_limits<int>::max(), "{}: {} is more than cuDNN counts to", describe(), n);
  return static_cast<int>(n);
}

template <class Owner, class Create, class Describe>
Owner create(Create make, const char* call, const Describe& describe) {
  decltype(std::declval<Owner>().get()) handle = nullptr;
  check_cudnn(make(&handle), call, describe);
  return Owner(handle);
}

/// Contiguous float (n, c, h, w).
template <class Describe>
TensorDescriptor tensor(std::int64_t n, std::int64_t c, std::int64_t h, std::int64_t w, const Describe& describe) {
  auto made = create<TensorDescriptor>(cudnnCreateTensorDescriptor, "cudnnCreateTensorDescriptor", describe);
  check_cudnn(cudnnSetTensor4dDescriptor(made.get(), CUDNN_TENSOR_NCHW, CUDNN_DATA_FLOAT, to_int(n, describe),
                                         to_int(c, describe), to_int(h, describe), to_int(w, describe)),
              "cudnnSetTensor4dDescriptor", describe);
  return made;
}

// The scale factors that calls take by address: result = one * computed + (zero or one) * what is there.
inline constexpr float one = 1.0f, zero = 0.0f;

}  // namespace retort::vendor
