// The CUDA kernels on a GPU against PyTorch in float64: the CPU's checks and bounds. Skipped, with the reason, where there is no
// GPU. `ctest -L gpu` runs it.
#include "golden_recurrent.h"
#include "golden_smooth_distill.h"

#include <cstdlib>

namespace {

using namespace retort;

/// A context on the GPU, null where there is none.
std::unique_ptr<Context> gpu() {
  register_kernels();
  if (is_available(Device::cuda)) return std::make_unique<Context>(Device::cuda);
  if (std::getenv("RETORT_REQUIRE_GPU") != nullptr) FAIL(describe(Device::cuda));  // bench/gpu_check.sh: nothing may be skipped
  WARN("skipped: " << describe(Device::cuda));
  return nullptr;
}

TEST_CASE("LSTM and GRU on the GPU agree with PyTorch") {
  const auto context = gpu();
  if (context == nullptr) return;
  golden::check_recurrent_cases(*context);
  for (const std::string name : {"large.lstm", "large.bilstm", "large.gru"}) {
    CAPTURE(name);
    golden::check_large_recurrent_case(*context, name);
  }
}

TEST_CASE("recurrent nets on the GPU agree with PyTorch") {
  const std::string form = GENERATE(as<std::string>(), "lstm", "bilstm", "gru", "anpo-net");
  CAPTURE(form);
  if (const auto context = gpu()) golden::check_recurrent_net(*context, form);
}

TEST_CASE("twenty Smooth-Distill steps on the GPU agree with PyTorch") {
  const std::string form = GENERATE(as<std::string>(), "mtl-net", "mtl-net-paper", "mtl-net-released");
  const std::string how = GENERATE(as<std::string>(), "average", "copy");
  CAPTURE(form, how);
  if (const auto context = gpu()) CHECK((golden::check_twenty_steps(*context, form, how) || form == "mtl-net-released"));
}

}  // namespace
