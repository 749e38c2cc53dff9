// cuDNN's batch normalisation (mode SPATIAL: a mean and a variance a channel). Contract: kernels/batch_norm.h. ReLU is a second
// call, as cuDNN's fused form takes only channels-last half floats. cuDNN has no gradient for fixed statistics: backward_eval is
// the hand-written kernel's.
#include "retort/kernels/batch_norm.h"

#include "retort/kernels/registry.h"
#include "retort/kernels/vendor/all.h"
#include "retort/kernels/vendor/cudnn.h"

#include <map>
#include <tuple>

namespace retort::vendor {
namespace {

struct Plan {
  TensorDescriptor x, channels;
};

struct Plans {
  std::map<std::tuple<std::int64_t, std::int64_t, std::int64_t>, Plan> of;
  ActivationDescriptor relu;
};

auto describer(const char* function, const BatchNormShape& s) {
  return [function, &s] {
    return fmt::format("batch_norm.{} (cudnn): input ({},{},{}){}", function, s.n, s.c, s.spatial,
                       s.activation == Activation::relu ? ", relu" : "");
  };
}

template <class Describe>
const Plan& plan_of(Plans& plans, const BatchNormShape& s, const Describe& what) {
  if (!plans.relu) {
    plans.relu = create<ActivationDescriptor>(cudnnCreateActivationDescriptor, "cudnnCreateActivationDescriptor", what);
    check_cudnn(cudnnSetActivationDescriptor(plans.relu.get(), CUDNN_ACTIVATION_RELU, CUDNN_PROPAGATE_NAN, 0.0),
                "cudnnSetActivationDescriptor", what);
  }
  const auto key = std::tuple(s.n, s.c, s.spatial);
  const auto at = plans.of.find(key);
  if (at != plans.of.end()) return at->second;
  return plans.of.emplace(key, Plan{tensor(s.n, s.c, 1, s.spatial, what), tensor(1, s.c, 1, 1, what)}).first->second;
}

template <class Describe>
void relu_in_place(const Cudnn& lib, const Plans& plans, const Plan& plan, float* y, const Describe& what) {
  check_cudnn(cudnnActivationForward(lib.handle.get(), plans.relu.get(), &one, plan.x.get(), y, &zero, plan.x.get(), y),
              "cudnnActivationForward", what);
}

bool empty(const BatchNormShape& s) { return s.n * s.c * s.spatial == 0; }

void forward_train(Stream& stream, const BatchNormShape& s, const float* x, const float* gamma, const float* beta,
                   float* running_mean, float* running_var, float* mean, float* invstd, float* y) {
  if (empty(s)) return;
  const auto what = describer("forward_train", s);
  const Cudnn& lib = cudnn(stream, what);
  Plans& plans = stream.keep<Plans>();
  const Plan& plan = plan_of(plans, s, what);
  check_cudnn(
      cudnnBatchNormalizationForwardTraining(lib.handle.get(), CUDNN_BATCHNORM_SPATIAL, &one, &zero, plan.x.get(), x,
                                             plan.x.get(), y, plan.channels.get(), gamma, beta, static_cast<double>(s.momentum),
                                             running_mean, running_var, static_cast<double>(s.eps), mean, invstd),
      "cudnnBatchNormalizationForwardTraining", what);
  if (s.activation == Activation::relu) relu_in_place(lib, plans, plan, y, what);
}

void forward_eval(Stream& stream, const BatchNormShape& s, const float* x, const float* gamma, const float* beta,
                  const float* running_mean, const float* running_var, float* y) {
  if (empty(s)) return;
  const auto what = describer("forward_eval", s);
  const Cudnn& lib = cudnn(stream, what);
  Plans& plans = stream.keep<Plans>();
  const Plan& plan = plan_of(plans, s, what);
  check_cudnn(cudnnBatchNormalizationForwardInference(lib.handle.get(), CUDNN_BATCHNORM_SPATIAL, &one, &zero, plan.x.get(), x,
                                                      plan.x.get(), y, plan.channels.get(), gamma, beta, running_mean,
                                                      running_var, static_cast<double>(s.eps)),
              "cudnnBatchNormalizationForwardInference", what);
  if (s.activation == Activation::relu) relu_in_place(lib, plans, plan, y, what);
}

void backward_train(Stream& stream, const BatchNormShape& s, const float* x, const float* gamma, const float* mean,
                    const float* invstd, const float* y, const float* dy, float* dx, float* dgamma, float* dbeta) {
  if (empty(s)) return;
  const auto what = describer("backward_train", s);
  Cudnn& lib = cudnn(stream, what);
  Plans& plans = stream.keep<Plans>();
  const Plan& plan = plan_of(plans, s, what);

  // cuDNN wants all three outputs; those that nobody asked for go to the work space, and so does dy behind the ReLU.
  const std::int64_t n = s.n * s.c * s.spatial;
  const auto bytes = [](std::int64_t floats) { return static_cast<std::size_t>(floats) * sizeof(float); };
  const bool relu = s.activation == Activation::relu;
  Parts parts;
  if (relu) parts.count(bytes(n));
  if (dx == nullptr) parts.count(bytes(n));
  if (dgamma == nullptr) parts.count(bytes(s.c));
  if (dbeta == nullptr) parts.count(bytes(s.c));
  parts.begin(lib.workspace.get(stream, parts.total()));
  const auto unwanted = [&](float* output, std::int64_t floats) {
    if (output != nullptr) return output;
    float* const space = parts.take_floats(floats);
    stream.fill_zero(space, bytes(floats));  // gradients are added to what is there
    return space;
  };
  if (relu) {
    float* const g = parts.take_floats(n);
    // dx of ReLU from y alone: where y > 0, x was too.
    check_cudnn(cudnnActivationBackward(lib.handle.get(), plans.relu.get(), &one, plan.x.get(), y, plan.x.get(), dy, plan.x.get(),
                                        y, &zero, plan.x.get(), g),
                "cudnnActivationBackward", what);
    dy = g;
  }
  dx = unwanted(dx, n), dgamma = unwanted(dgamma, s.c), dbeta = unwanted(dbeta, s.c);
  check_cudnn(cudnnBatchNormalizationBackward(lib.handle.get(), CUDNN_BATCHNORM_SPATIAL, &one, &zero, &one, &one, plan.x.get(), x,
                                              plan.x.get(), dy, plan.x.get(), dx, plan.channels.get(), gamma, dgamma, dbeta,
                                              static_cast<double>(s.eps), mean, invstd),
              "cudnnBatchNormalizationBackward", what);
}

}  // namespace

void register_batch_norm_cudnn() {
  auto& table = KernelTable<BatchNormKernels>::instance();
  table.add(Device::cuda, "cudnn", 0,
            {forward_train, forward_eval, backward_train, table.get(Device::cuda, "cuda").backward_eval});
}

}  // namespace retort::vendor
