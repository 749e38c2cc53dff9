// Whole training steps on the CUDA kernels, run on the host by the simulator, beside the CPU's.
#include "catch.h"
#include "retort/distill/batches.h"
#include "retort/distill/presets.h"
#include "retort/distill/training_state.h"
#include "toy_windows.h"

using namespace retort;

namespace {

/// The five logged losses of each of `steps` steps, and the teacher after them.
struct Trace {
  std::vector<float> losses, teacher;
};

Trace train(Device device, const WindowSet& windows, const std::string& form, int steps) {
  Context context(device, 2);
  const RunConfig config = default_config("strict", "smooth-distill");
  TrainingState state(context, config, {form, Shape{1, 3, 40}, {4, 2}, 1}, "smooth-distill");
  const DeviceData data(context, windows, 8);
  Trace trace;
  for (int i = 0; i < steps; ++i) {
    std::vector<std::int32_t> indices(8);
    for (int j = 0; j < 8; ++j) indices[static_cast<std::size_t>(j)] = 8 * i + j;
    for (const float loss : state.step(data.gather(indices)).values.to_vector()) trace.losses.push_back(loss);
  }
  for (const auto& named : state.teacher()->state())
    for (const float value : named.tensor.to_vector()) trace.teacher.push_back(value);
  return trace;
}

}  // namespace

TEST_CASE("five Smooth-Distill steps on the CUDA kernels follow the CPU's") {
  if (!is_available(Device::cuda_sim)) {
    WARN("skipped: this build has no kernel simulator");
    return;
  }
  const WindowSet windows = toy_windows(40, 21);
  for (const std::string form : {"mtl-net", "mtl-net-released"}) {
    const Trace cpu = train(Device::cpu, windows, form, 5), sim = train(Device::cuda_sim, windows, form, 5);
    REQUIRE(cpu.losses.size() == sim.losses.size());
    for (std::size_t i = 0; i < cpu.losses.size(); ++i) {
      INFO(form << ", step " << i / 5 + 1 << ", value " << i % 5);
      CHECK(sim.losses[i] == Approx(cpu.losses[i]).epsilon(1e-3).margin(1e-5));
    }
    double difference = 0, norm = 0;
    for (std::size_t i = 0; i < cpu.teacher.size(); ++i) {
      difference += std::pow(static_cast<double>(sim.teacher[i]) - static_cast<double>(cpu.teacher[i]), 2);
      norm += std::pow(static_cast<double>(cpu.teacher[i]), 2);
    }
    CHECK(std::sqrt(difference / norm) < 1e-4);
  }
}
