// The CUDA kernels, run on the host by the simulator, against PyTorch in float64: the CPU's checks and bounds.
#include "golden_recurrent.h"
#include "golden_smooth_distill.h"

namespace {

using namespace retort;

/// A context on the simulator, null where this build has none.
std::unique_ptr<Context> simulator() {
  register_kernels();
  if (is_available(Device::cuda_sim)) return std::make_unique<Context>(Device::cuda_sim, 2);
  WARN("skipped: " << describe(Device::cuda_sim));
  return nullptr;
}

TEST_CASE("LSTM and GRU on the simulator agree with PyTorch") {
  if (const auto context = simulator()) golden::check_recurrent_cases(*context);
}

TEST_CASE("recurrent nets on the simulator agree with PyTorch") {
  const std::string form = GENERATE(as<std::string>(), "bilstm", "gru", "anpo-net");
  CAPTURE(form);
  if (const auto context = simulator()) golden::check_recurrent_net(*context, form);
}

/// A minute each, and several under the sanitizers, which watch the five steps of distill_sim_test instead.
void check_twenty_steps(const char* form) {
#ifdef __SANITIZE_ADDRESS__
  WARN("skipped in a sanitised build: " << form);
#else
  if (const auto context = simulator()) CHECK(golden::check_twenty_steps(*context, form, "average"));
#endif
}

TEST_CASE("twenty Smooth-Distill steps of mtl-net on the simulator agree with PyTorch") { check_twenty_steps("mtl-net"); }
TEST_CASE("twenty Smooth-Distill steps of mtl-net-paper on the simulator agree with PyTorch") {
  check_twenty_steps("mtl-net-paper");
}
TEST_CASE("twenty Smooth-Distill steps of mtl-net-released on the simulator agree with PyTorch") {
  check_twenty_steps("mtl-net-released");
}

}  // namespace
