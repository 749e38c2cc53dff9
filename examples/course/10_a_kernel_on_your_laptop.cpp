// Lesson 10: a CUDA kernel without a GPU.
//
// kernels/cuda/*.cu are compiled twice: by nvcc for a GPU, and by the host compiler for the device `cuda_sim`, where the threads
// of a block are fibres that take turns. The numbers must agree with the naive loops of kernels/ref to rounding. Set a breakpoint
// in kernels/cuda/linear.cu and step through one thread of one block with gdb (docs/kernel_simulator.md).
#include "lesson.h"
#include "retort/core/ops.h"
#include "retort/core/random.h"

namespace {

/// The gradient of sum(relu(x w^T + b)^2) with respect to w, on a device.
std::vector<float> gradient_on(retort::Device device) {
  retort::Context context(device);
  retort::Random random(3);
  auto tensor = [&](std::int64_t rows, std::int64_t columns) {
    std::vector<float> values(static_cast<std::size_t>(rows * columns));
    for (float& v : values) v = static_cast<float>(random.normal());
    return retort::Tensor::from(context, {rows, columns}, values);
  };
  const auto x = tensor(33, 17), b = retort::ops::reshape(tensor(1, 31), {31});
  auto w = tensor(31, 17).set_requires_grad();
  const auto y = retort::ops::linear(x, w, b, /*relu=*/true);
  retort::ops::sum(retort::ops::mul(y, y)).backward();
  return w.grad().to_vector();
}

}  // namespace

int main() {
  if (!retort::is_available(retort::Device::cuda_sim)) {
    fmt::print("this build has no kernel simulator (configure with -DRETORT_SIM=ON)\n");
    return 0;
  }
  const auto host = gradient_on(retort::Device::cpu), simulated = gradient_on(retort::Device::cuda_sim);
  double difference = 0, size = 0;
  for (std::size_t i = 0; i < host.size(); ++i) {
    difference += std::pow(host[i] - simulated[i], 2);
    size += std::pow(host[i], 2);
  }
  course::Lesson lesson;
  lesson.expect("|cpu - cuda_sim| / |cpu|", std::sqrt(difference / size), 0, 1e-5);
  return lesson.end();
}
