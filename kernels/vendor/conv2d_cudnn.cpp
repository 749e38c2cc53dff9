// cuDNN's convolution. Contract: kernels/conv2d.h. For each shape and direction cuDNN times all of its algorithms once
// (cudnnFind...) and the fastest that fits is kept with the stream; a shape must therefore have been run once before its step is
// captured. Two twins: "cudnn" takes the fastest algorithm that gives the same bits each time, as everything else here does,
// "cudnn_any" the fastest of all.
#include "retort/kernels/conv2d.h"

#include "retort/kernels/registry.h"
#include "retort/kernels/vendor/all.h"
#include "retort/kernels/vendor/cudnn.h"

#include <array>
#include <map>

namespace retort::vendor {
namespace {

constexpr std::size_t most_workspace = std::size_t{1} << 30;
constexpr int most_algorithms = 16;  // no direction has more

template <class Algorithm>
struct Choice {
  bool made = false;
  Algorithm algorithm{};
  std::size_t workspace = 0;
  cudnnMathType_t math = CUDNN_FMA_MATH;
};

/// Everything cuDNN needs to know of one shape.
struct Plan {
  TensorDescriptor x, y, bias;
  FilterDescriptor w;
  ConvolutionDescriptor convolution;
  Choice<cudnnConvolutionFwdAlgo_t> forward;
  Choice<cudnnConvolutionBwdDataAlgo_t> data;
  Choice<cudnnConvolutionBwdFilterAlgo_t> filter;
};

using Key = std::array<std::int64_t, 13>;  // the shape's numbers, TF32, deterministic

struct Plans {
  std::map<Key, Plan> of;
};

auto describer(const char* function, const Conv2dShape& s) {
  return [function, &s] {
    return fmt::format("conv2d.{} (cudnn): input ({},{},{},{}), weight ({},{},{},{}), stride ({},{}), padding ({},{})", function,
                       s.n, s.c, s.h, s.w, s.k, s.c, s.r, s.s, s.stride_h, s.stride_w, s.pad_h, s.pad_w);
  };
}

template <class Describe>
Plan make_plan(const Conv2dShape& s, cudnnMathType_t math, const Describe& what) {
  Plan plan;
  const auto i = [&](std::int64_t n) { return to_int(n, what); };
  plan.x = tensor(s.n, s.c, s.h, s.w, what);
  plan.y = tensor(s.n, s.k, s.oh(), s.ow(), what);
  plan.bias = tensor(1, s.k, 1, 1, what);
  plan.w = create<FilterDescriptor>(cudnnCreateFilterDescriptor, "cudnnCreateFilterDescriptor", what);
  check_cudnn(cudnnSetFilter4dDescriptor(plan.w.get(), CUDNN_DATA_FLOAT, CUDNN_TENSOR_NCHW, i(s.k), i(s.c), i(s.r), i(s.s)),
              "cudnnSetFilter4dDescriptor", what);
  plan.convolution = create<ConvolutionDescriptor>(cudnnCreateConvolutionDescriptor, "cudnnCreateConvolutionDescriptor", what);
  check_cudnn(cudnnSetConvolution2dDescriptor(plan.convolution.get(), i(s.pad_h), i(s.pad_w), i(s.stride_h), i(s.stride_w), 1, 1,
                                              CUDNN_CROSS_CORRELATION, CUDNN_DATA_FLOAT),
              "cudnnSetConvolution2dDescriptor", what);
  // The default for floats is TF32 where there are tensor cores.
  check_cudnn(cudnnSetConvolutionMathType(plan.convolution.get(), math), "cudnnSetConvolutionMathType", what);
  return plan;
}

cudnnMathType_t math_of(const Stream& stream) { return stream.tf32() ? CUDNN_DEFAULT_MATH : CUDNN_FMA_MATH; }

template <class Describe>
Plan& plan_of(Stream& stream, const Conv2dShape& s, bool deterministic, const Describe& what) {
  auto& plans = stream.keep<Plans>().of;
  const Key key{s.n, s.c, s.h, s.w, s.k, s.r, s.s, s.stride_h, s.stride_w, s.pad_h, s.pad_w, stream.tf32(), deterministic};
  const auto at = plans.find(key);
  return at != plans.end() ? at->second : plans.emplace(key, make_plan(s, math_of(stream), what)).first->second;
}

/// Asks `find` for its timings, fastest first, and takes the first that works within the limits.
template <class Performance, class Algorithm, class Find, class Describe>
const Choice<Algorithm>& choose(Choice<Algorithm>& choice, const Plan& plan, const Stream& stream, bool deterministic,
                                const Find& find, const char* call, const Describe& what) {
  if (!choice.made) {
    std::array<Performance, most_algorithms> found{};
    int count = 0;
    check_cudnn(find(most_algorithms, &count, found.data()), call, what);
    for (int i = 0; i < count && !choice.made; ++i) {
      const Performance& p = found[static_cast<std::size_t>(i)];
      const bool fits = p.status == CUDNN_STATUS_SUCCESS && p.memory <= most_workspace &&
                        (stream.tf32() || p.mathType == CUDNN_FMA_MATH) &&
                        (!deterministic || p.determinism == CUDNN_DETERMINISTIC);
      if (fits) choice = {true, p.algo, p.memory, p.mathType};
    }
    check<DeviceError>(choice.made, "cuda: {}: cuDNN has no {}algorithm for it", what(), deterministic ? "deterministic " : "");
  }
  // Directions share the descriptor, and the fastest of each may use another kind of arithmetic.
  if (stream.tf32())
    check_cudnn(cudnnSetConvolutionMathType(plan.convolution.get(), choice.math), "cudnnSetConvolutionMathType", what);
  return choice;
}

template <bool deterministic>
void forward(Stream& stream, const Conv2dShape& s, const float* x, const float* w, const float* b, float* y) {
  if (s.n * s.k == 0) return;
  const auto what = describer("forward", s);
  Cudnn& lib = cudnn(stream, what);
  Plan& plan = plan_of(stream, s, deterministic, what);
  const auto find = [&](int most, int* count, cudnnConvolutionFwdAlgoPerf_t* found) {
    return cudnnFindConvolutionForwardAlgorithm(lib.handle.get(), plan.x.get(), plan.w.get(), plan.convolution.get(),
                                                plan.y.get(), most, count, found);
  };
  const auto& chosen = choose<cudnnConvolutionFwdAlgoPerf_t>(plan.forward, plan, stream, deterministic, find,
                                                             "cudnnFindConvolutionForwardAlgorithm", what);
  check_cudnn(
      cudnnConvolutionForward(lib.handle.get(), &one, plan.x.get(), x, plan.w.get(), w, plan.convolution.get(), chosen.algorithm,
                              lib.workspace.get(stream, chosen.workspace), chosen.workspace, &zero, plan.y.get(), y),
      "cudnnConvolutionForward", what);
  if (b != nullptr)
    check_cudnn(cudnnAddTensor(lib.handle.get(), &one, plan.bias.get(), b, &one, plan.y.get(), y), "cudnnAddTensor", what);
}

template <bool deterministic>
void backward(Stream& stream, const Conv2dShape& s, const float* x, const float* w, const float* dy, float* dx, float* dw,
              float* db) {
  if (s.n * s.k == 0) return;
  const auto what = describer("backward", s);
  Cudnn& lib = cudnn(stream, what);
  Plan& plan = plan_of(stream, s, deterministic, what);
  if (dx != nullptr) {
    const auto find = [&](int most, int* count, cudnnConvolutionBwdDataAlgoPerf_t* found) {
      return cudnnFindConvolutionBackwardDataAlgorithm(lib.handle.get(), plan.w.get(), plan.y.get(), plan.convolution.get(),
                                                       plan.x.get(), most, count, found);
    };
    const auto& chosen = choose<cudnnConvolutionBwdDataAlgoPerf_t>(plan.data, plan, stream, deterministic, find,
                                                                   "cudnnFindConvolutionBackwardDataAlgorithm", what);
    check_cudnn(cudnnConvolutionBackwardData(lib.handle.get(), &one, plan.w.get(), w, plan.y.get(), dy, plan.convolution.get(),
                                             chosen.algorithm, lib.workspace.get(stream, chosen.workspace), chosen.workspace,
                                             &zero, plan.x.get(), dx),
                "cudnnConvolutionBackwardData", what);
  }
  if (dw != nullptr) {
    const auto find = [&](int most, int* count, cudnnConvolutionBwdFilterAlgoPerf_t* found) {
      return cudnnFindConvolutionBackwardFilterAlgorithm(lib.handle.get(), plan.x.get(), plan.y.get(), plan.convolution.get(),
                                                         plan.w.get(), most, count, found);
    };
    const auto& chosen = choose<cudnnConvolutionBwdFilterAlgoPerf_t>(plan.filter, plan, stream, deterministic, find,
                                                                     "cudnnFindConvolutionBackwardFilterAlgorithm", what);
    check_cudnn(cudnnConvolutionBackwardFilter(lib.handle.get(), &one, plan.x.get(), x, plan.y.get(), dy, plan.convolution.get(),
                                               chosen.algorithm, lib.workspace.get(stream, chosen.workspace), chosen.workspace,
                                               &one, plan.w.get(), dw),
                "cudnnConvolutionBackwardFilter", what);
  }
  if (db != nullptr)
    check_cudnn(cudnnConvolutionBackwardBias(lib.handle.get(), &one, plan.y.get(), dy, &one, plan.bias.get(), db),
                "cudnnConvolutionBackwardBias", what);
}

}  // namespace

void register_conv2d_cudnn() {
  auto& table = KernelTable<Conv2dKernels>::instance();
  table.add(Device::cuda, "cudnn", 0, {forward<true>, backward<true>});
  table.add(Device::cuda, "cudnn_any", 0, {forward<false>, backward<false>});
}

}  // namespace retort::vendor
