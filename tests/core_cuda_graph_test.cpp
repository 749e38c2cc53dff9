// Steps captured in a CUDA graph and replayed on a GPU: the simulator's checks. Skipped, with the reason, where there is no GPU.
// `ctest -L gpu` runs it.
#include "step_graph_cases.h"

#include <cstdlib>

using namespace retort;
using namespace step_graph_cases;

namespace {

bool gpu() {
  if (is_available(Device::cuda)) return true;
  if (std::getenv("RETORT_REQUIRE_GPU") != nullptr) FAIL(describe(Device::cuda));  // bench/gpu_check.sh: nothing may be skipped
  WARN("skipped: " << describe(Device::cuda));
  return false;
}

}  // namespace

TEST_CASE("on a GPU a replayed step gives the numbers of ordinary calls, bit for bit, and asks for no memory") {
  if (gpu()) check_replays(Device::cuda);
}

TEST_CASE("on a GPU memory of a captured step is not given to others") {
  if (gpu()) check_memory(Device::cuda);
}

TEST_CASE("on a GPU what a replay could not repeat is refused while a step is captured, and the context works on") {
  if (gpu()) check_refusals(Device::cuda);
}

TEST_CASE("on a GPU a branch that is not waited for is an error at the capture's end") {
  if (gpu()) check_unjoined(Device::cuda, "cudaStreamEndCapture");
}
