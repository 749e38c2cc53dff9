// Whole runs on the simulator's device, captured and not, and runs that meet trouble there. As few steps as show it: MTL-net is
// large for a simulator.
#include "toy_runs.h"

#include "retort/kernels/sim/faults.h"

using namespace retort;
using Catch::Matchers::Contains;

namespace {

/// Four full batches: two steps warm up, one is captured, one is a replay only.
WindowSet few_windows() { return toy_windows(8, 31, 28); }

RunConfig small_config(const std::string& method) {
  RunConfig config = toy_config(method);
  config.device = "cuda_sim";
  config.batch = 2;
  config.epochs = 1;
  config.split = "all";
  config.log_every = 1;
  config.threads = 2;
  return config;
}

/// Three full batches and a short one an epoch, so that the second epoch begins with replays. A GRU on four samples is the
/// smallest net there is.
void check_captured(const std::string& method) {
  const WindowSet windows = toy_windows(11, 33, 4);
  RunConfig config = small_config(method);
  config.arch = "gru";
  config.batch = 3;
  config.epochs = 2;
  retort_test::TempDirectory scratch;
  CHECK_FALSE(run(windows, config, scratch / "eager", 0, /*use_graph=*/false));
  CHECK(run(windows, config, scratch / "graph"));
  check_same_results(scratch / "eager", scratch / "graph");
  const RunRecord record = load_run(scratch / "graph");
  CHECK(record.steps.size() == 8 * static_cast<std::size_t>(record.steps.back().stage));
}

/// The simulated device works again when the test ends, however it does.
struct Mended {
  ~Mended() { sim::inject({}); }
};

}  // namespace

TEST_CASE("captured steps leave what ordinary ones leave, bit for bit: losses, weights, metrics") {
  const WindowSet windows = few_windows();
  const RunConfig config = small_config("smooth-distill");
  retort_test::TempDirectory scratch;
  CHECK_FALSE(run(windows, config, scratch / "eager", 0, /*use_graph=*/false));
  CHECK(run(windows, config, scratch / "graph"));
  check_same_results(scratch / "eager", scratch / "graph");
  CHECK(load_run(scratch / "graph").steps.size() == 4);
}

// A test for each method, so that they run side by side.
TEST_CASE("captured steps of single-task") { check_captured("single-task"); }
TEST_CASE("captured steps of multi-task") { check_captured("multi-task"); }
TEST_CASE("captured steps of sd-dropout") { check_captured("sd-dropout"); }
TEST_CASE("captured steps of born-again, in both stages") { check_captured("born-again"); }
TEST_CASE("captured steps of cross-task") { check_captured("cross-task"); }

TEST_CASE("a captured run whose kernel fails is resumed, and comes out as ordinary steps do, dropout and all") {
  const Mended mended;
  const WindowSet windows = few_windows();
  const RunConfig config = small_config("sd-dropout");
  retort_test::TempDirectory scratch;
  sim::inject({});
  run(windows, config, scratch / "eager", 0, /*use_graph=*/false);

  sim::inject({.launch = sim::launches() * 7 / 8});  // in a replay
  {
    Context context(Device::cuda_sim, 2);
    Trainer trainer(context, windows, config, scratch / "failed");
    CHECK_THROWS_WITH(trainer.run(never), Contains("illegal address"));
    CHECK(trainer.replaying());
  }
  sim::inject({});
  Context context(Device::cuda_sim, 2);
  Trainer trainer(context, windows, config, scratch / "failed");
  trainer.resume();
  CHECK(trainer.run(never) == Trainer::End::finished);
  CHECK(trainer.replaying());
  check_same_results(scratch / "eager", scratch / "failed");
}

TEST_CASE("memory that runs out is said with the numbers, and what was taken is given back") {
  const Mended mended;
  const WindowSet windows = few_windows();
  const RunConfig config = small_config("smooth-distill");
  retort_test::TempDirectory scratch;
  for (const std::size_t mib : {1, 8}) {
    sim::inject({.memory = mib << 20});
    CHECK_THROWS_WITH(run(windows, config, scratch / "run"),
                      Contains("out of memory") && Contains("were asked for") && Contains("are free"));
    sim::inject({});
    CHECK(sim::peak_memory() == 0);  // counted from what is still in use
  }
}
