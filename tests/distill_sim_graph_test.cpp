// Whole runs on the simulator's device, captured and not, and runs that meet trouble there.
#include "toy_runs.h"
#include "retort/kernels/sim/faults.h"

using namespace retort;
using Catch::Matchers::Contains;

namespace {

/// Six full batches and a short one an epoch, on as little as MTL-net takes.
WindowSet few_windows() { return toy_windows(104, 31, 28); }

RunConfig small_config(const std::string& method) {
  RunConfig config = toy_config(method);
  config.device = "cuda_sim";
  config.batch = 10;
  config.epochs = 2;
  config.log_every = 1;
  return config;
}

/// The simulated device works again when the test ends, however it does.
struct Mended {
  ~Mended() { sim::inject({}); }
};

}  // namespace

TEST_CASE("captured steps leave what ordinary ones leave, bit for bit: losses, weights, metrics, also across a stop") {
  const WindowSet windows = few_windows();
  for (const std::string method : {"smooth-distill", "sd-dropout", "born-again", "cross-task"}) {
    INFO(method);
    retort_test::TempDirectory scratch;
    RunConfig config = small_config(method);
    if (method == "born-again") config.epochs = 1;
    CHECK_FALSE(run(windows, config, scratch / "eager", 0, /*use_graph=*/false));
    CHECK(run(windows, config, scratch / "graph"));
    check_same_results(scratch / "eager", scratch / "graph");
    CHECK(load_run(scratch / "graph").steps.size() == static_cast<std::size_t>(load_run(scratch / "graph").summary->steps));
    run(windows, config, scratch / "stopped", 5);
    check_same_results(scratch / "eager", scratch / "stopped");
  }
}

TEST_CASE("a kernel that fails ends the run; it is resumed from its checkpoint and comes out the same") {
  const Mended mended;
  const WindowSet windows = few_windows();
  const RunConfig config = small_config("multi-task");
  retort_test::TempDirectory scratch;
  sim::inject({});
  run(windows, config, scratch / "whole");
  const std::int64_t launches = sim::launches();
  for (const std::int64_t at : {launches / 3, 3 * launches / 4}) {  // in a captured step, and in the second epoch
    const auto directory = scratch / fmt::format("failed-{}", at);
    sim::inject({.launch = at});
    CHECK_THROWS_WITH(run(windows, config, directory), Contains("illegal address"));
    sim::inject({});
    Context context(Device::cuda_sim, 1);
    Trainer trainer(context, windows, config, directory);
    trainer.resume();
    CHECK(trainer.run(never) == Trainer::End::finished);
    check_same_results(scratch / "whole", directory);
  }
}

TEST_CASE("memory that runs out is said with the numbers, leaves nothing allocated, and the run goes on with more") {
  const Mended mended;
  const WindowSet windows = few_windows();
  const RunConfig config = small_config("smooth-distill");
  retort_test::TempDirectory scratch;
  sim::inject({});
  run(windows, config, scratch / "whole");
  const std::size_t needed = sim::peak_memory();
  int begun = 0;
  for (const std::size_t percent : {2, 60, 70, 80}) {
    const auto directory = scratch / fmt::format("{}-percent", percent);
    sim::inject({.memory = needed * percent / 100});
    CHECK_THROWS_WITH(run(windows, config, directory),
                      Contains("out of memory") && Contains("were asked for") && Contains("are free"));
    sim::inject({});
    if (!std::filesystem::exists(directory)) continue;  // not even the weights fitted: nothing was begun
    ++begun;
    Context context(Device::cuda_sim, 1);
    Trainer trainer(context, windows, config, directory);
    trainer.resume();
    CHECK(trainer.run(never) == Trainer::End::finished);
    check_same_results(scratch / "whole", directory);
  }
  CHECK(begun > 0);
}
