// cuDNN's log-softmax. Contract: kernels/softmax.h (LogSoftmaxKernels). Rows are samples, columns cuDNN's channels.
#include "retort/kernels/softmax.h"

#include "retort/kernels/registry.h"
#include "retort/kernels/vendor/all.h"
#include "retort/kernels/vendor/cudnn.h"

#include <map>

namespace retort::vendor {
namespace {

struct Plans {
  std::map<std::pair<std::int64_t, std::int64_t>, TensorDescriptor> of;
};

auto describer(const char* function, std::int64_t rows, std::int64_t columns) {
  return [=] { return fmt::format("log_softmax.{} (cudnn): ({},{})", function, rows, columns); };
}

template <class Describe>
cudnnTensorDescriptor_t descriptor(Stream& stream, std::int64_t rows, std::int64_t columns, const Describe& what) {
  auto& plans = stream.keep<Plans>().of;
  const auto at = plans.find({rows, columns});
  if (at != plans.end()) return at->second.get();
  return plans.emplace(std::pair(rows, columns), tensor(rows, columns, 1, 1, what)).first->second.get();
}

void forward(Stream& stream, std::int64_t rows, std::int64_t columns, const float* x, float* y) {
  if (rows * columns == 0) return;
  const auto what = describer("forward", rows, columns);
  const Cudnn& lib = cudnn(stream, what);
  const auto shape = descriptor(stream, rows, columns, what);
  check_cudnn(
      cudnnSoftmaxForward(lib.handle.get(), CUDNN_SOFTMAX_LOG, CUDNN_SOFTMAX_MODE_INSTANCE, &one, shape, x, &zero, shape, y),
      "cudnnSoftmaxForward", what);
}

void backward(Stream& stream, std::int64_t rows, std::int64_t columns, const float* y, const float* dy, float* dx) {
  if (rows * columns == 0) return;
  const auto what = describer("backward", rows, columns);
  const Cudnn& lib = cudnn(stream, what);
  const auto shape = descriptor(stream, rows, columns, what);
  check_cudnn(cudnnSoftmaxBackward(lib.handle.get(), CUDNN_SOFTMAX_LOG, CUDNN_SOFTMAX_MODE_INSTANCE, &one, shape, y, shape, dy,
                                   &zero, shape, dx),
              "cudnnSoftmaxBackward", what);
}

}  // namespace

void register_softmax_cudnn() { KernelTable<LogSoftmaxKernels>::instance().add(Device::cuda, "cudnn", 0, {forward, backward}); }

}  // namespace retort::vendor
