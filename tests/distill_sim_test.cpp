// Whole training steps on the CUDA kernels, run on the host by the simulator, beside the CPU's.
#include "catch.h"
#include "retort/distill/batches.h"
#include "retort/distill/presets.h"
#include "retort/distill/training_state.h"
#include "toy_windows.h"

#include <numeric>
#include <random>

using namespace retort;

namespace {

/// The five logged losses of each of `steps` steps, and the weights after them: the teacher's, where there is one.
struct Trace {
  std::vector<float> losses, weights;
};

Trace train(Device device, const WindowSet& windows, const nn::ModelSpec& spec, const std::string& method, int steps) {
  Context context(device, 2);
  const RunConfig config = default_config("strict", method);
  TrainingState state(context, config, spec, method);
  const std::int64_t batch = windows.count() / steps;
  const DeviceData data(context, windows, batch);
  Trace trace;
  for (std::int64_t i = 0; i < steps; ++i) {
    std::vector<std::int32_t> indices(static_cast<std::size_t>(batch));
    std::iota(indices.begin(), indices.end(), static_cast<std::int32_t>(batch * i));
    for (const float loss : state.step(data.gather(indices)).values.to_vector()) trace.losses.push_back(loss);
  }
  for (const auto& named : (state.teacher() != nullptr ? *state.teacher() : state.model()).state())
    for (const float value : named.tensor.to_vector()) trace.weights.push_back(value);
  return trace;
}

double relative_difference(const std::vector<float>& got, const std::vector<float>& expected) {
  REQUIRE(got.size() == expected.size());
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    difference += std::pow(static_cast<double>(got[i]) - static_cast<double>(expected[i]), 2);
    norm += std::pow(static_cast<double>(expected[i]), 2);
  }
  return std::sqrt(difference / norm);
}

bool has_simulator() {
  if (!is_available(Device::cuda_sim)) WARN("skipped: this build has no kernel simulator");
  return is_available(Device::cuda_sim);
}

}  // namespace

TEST_CASE("five Smooth-Distill steps on the CUDA kernels follow the CPU's") {
  if (!has_simulator()) return;
  const WindowSet windows = toy_windows(40, 21);
  for (const std::string form : {"mtl-net", "mtl-net-released"}) {
    const nn::ModelSpec spec{form, Shape{1, 3, 40}, {4, 2}, 1};
    const Trace cpu = train(Device::cpu, windows, spec, "smooth-distill", 5);
    const Trace sim = train(Device::cuda_sim, windows, spec, "smooth-distill", 5);
    REQUIRE(cpu.losses.size() == sim.losses.size());
    for (std::size_t i = 0; i < cpu.losses.size(); ++i) {
      INFO(form << ", step " << i / 5 + 1 << ", value " << i % 5);
      CHECK(sim.losses[i] == Approx(cpu.losses[i]).epsilon(1e-3).margin(1e-5));
    }
    CHECK(relative_difference(sim.weights, cpu.weights) < 1e-4);
  }
}

TEST_CASE("training steps of recurrent nets on the CUDA kernels follow the CPU's: losses, and weights after Adam") {
  if (!has_simulator()) return;
  const unsigned seed = std::random_device{}();
  CAPTURE(seed);
  const WindowSet windows = toy_windows(4 * 5, seed, 7);
  for (const std::string form : {"lstm", "gru"}) {
    CAPTURE(form);
    const nn::ModelSpec spec{form, Shape{1, 3, 7}, {4, 2}, seed};
    const Trace cpu = train(Device::cpu, windows, spec, "multi-task", 4);
    const Trace sim = train(Device::cuda_sim, windows, spec, "multi-task", 4);
    CHECK(relative_difference(sim.losses, cpu.losses) < 1e-4);
    CHECK(relative_difference(sim.weights, cpu.weights) < 1e-4);
  }
}
