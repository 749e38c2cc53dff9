// cuDNN's max pooling. Contract: kernels/max_pool2d.h. cuDNN tells no indices, which the contract asks for and its backward
// starts from (cuDNN's own wants x and y again). So y is cuDNN's, argmax and the backward of this twin are the hand-written
// kernels', and cuDNN's backward stands here as a function of its own, for benchmarks and tests.
#include "retort/kernels/max_pool2d.h"

#include "retort/kernels/registry.h"
#include "retort/kernels/vendor/all.h"
#include "retort/kernels/vendor/cudnn.h"
#include "retort/kernels/vendor/max_pool2d_cudnn.h"

#include <array>
#include <map>

namespace retort::vendor {
namespace {

struct Plan {
  TensorDescriptor x, y;
  PoolingDescriptor pooling;
};

struct Plans {
  std::map<std::array<std::int64_t, 8>, Plan> of;
};

auto describer(const char* function, const MaxPool2dShape& s) {
  return [function, &s] {
    return fmt::format("max_pool2d.{} (cudnn): input ({},{},{},{}), kernel ({},{}), stride ({},{})", function, s.n, s.c, s.h, s.w,
                       s.kernel_h, s.kernel_w, s.stride_h, s.stride_w);
  };
}

template <class Describe>
const Plan& plan_of(Stream& stream, const MaxPool2dShape& s, const Describe& what) {
  auto& plans = stream.keep<Plans>().of;
  const std::array<std::int64_t, 8> key{s.n, s.c, s.h, s.w, s.kernel_h, s.kernel_w, s.stride_h, s.stride_w};
  const auto at = plans.find(key);
  if (at != plans.end()) return at->second;
  const auto i = [&](std::int64_t n) { return to_int(n, what); };
  Plan plan{tensor(s.n, s.c, s.h, s.w, what), tensor(s.n, s.c, s.oh(), s.ow(), what),
            create<PoolingDescriptor>(cudnnCreatePoolingDescriptor, "cudnnCreatePoolingDescriptor", what)};
  check_cudnn(cudnnSetPooling2dDescriptor(plan.pooling.get(), CUDNN_POOLING_MAX_DETERMINISTIC, CUDNN_PROPAGATE_NAN, i(s.kernel_h),
                                          i(s.kernel_w), 0, 0, i(s.stride_h), i(s.stride_w)),
              "cudnnSetPooling2dDescriptor", what);
  return plans.emplace(key, std::move(plan)).first->second;
}

const MaxPool2dKernels& hand_written() { return KernelTable<MaxPool2dKernels>::instance().get(Device::cuda, "cuda"); }

void forward(Stream& stream, const MaxPool2dShape& s, const float* x, float* y, std::int32_t* argmax) {
  if (s.n * s.c * s.oh() * s.ow() == 0) return;
  if (argmax != nullptr) hand_written().forward(stream, s, x, y, argmax);  // and then y once more, by cuDNN
  const auto what = describer("forward", s);
  const Cudnn& lib = cudnn(stream, what);
  const Plan& plan = plan_of(stream, s, what);
  check_cudnn(cudnnPoolingForward(lib.handle.get(), plan.pooling.get(), &one, plan.x.get(), x, &zero, plan.y.get(), y),
              "cudnnPoolingForward", what);
}

}  // namespace

void max_pool2d_backward_cudnn(Stream& stream, const MaxPool2dShape& s, const float* x, const float* y, const float* dy,
                               float* dx) {
  if (s.n * s.c * s.oh() * s.ow() == 0) return;
  const auto what = describer("backward", s);
  const Cudnn& lib = cudnn(stream, what);
  const Plan& plan = plan_of(stream, s, what);
  check_cudnn(cudnnPoolingBackward(lib.handle.get(), plan.pooling.get(), &one, plan.y.get(), y, plan.y.get(), dy, plan.x.get(), x,
                                   &zero, plan.x.get(), dx),
              "cudnnPoolingBackward", what);
}

void register_max_pool2d_cudnn() {
  KernelTable<MaxPool2dKernels>::instance().add(Device::cuda, "cudnn", 0, {forward, hand_written().backward});
}

}  // namespace retort::vendor
