// Whole runs on the simulator's device, captured and not, and runs that meet trouble there. As few steps as show it: MTL-net is
// large for a simulator.
#include "toy_runs.h"

#include "retort/kernels/sim/faults.h"

#include <algorithm>
#include <array>

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

TEST_CASE(
    "the list of a captured Smooth-Distill step has each launch of an ordinary one; teacher and bookkeeping are no part of its "
    "chain") {
  const Mended mended;
  const WindowSet windows = toy_windows(4, 35, 28);
  Context context(Device::cuda_sim, 2);
  const RunConfig config = small_config("smooth-distill");
  TrainingState state(context, config, {"mtl-net", Shape{1, 3, 28}, {4, 2}, 1}, config.method);
  const DeviceData data(context, windows, 4);
  BatchFeed feed(data, windows.count(), 2);
  feed.start(std::array{0, 1, 2, 3});
  const Tensor confusion1 = Tensor::zeros(context, {4, 4}, DType::i32), confusion2 = Tensor::zeros(context, {2, 2}, DType::i32);
  const auto step = [&] {
    const Batch batch = feed.next(2);
    state.step(batch, [&](const StepLosses& losses) {
      ops::count_confusion(losses.logits.task1, batch.labels1, confusion1);
      ops::count_confusion(losses.logits.task2, batch.labels2, confusion2);
      feed.record(losses.values);
    });
  };
  StepGraph graph(context);
  std::int64_t launches = 0;
  for (int i = 0; i <= StepGraph::warm_up; ++i) {
    feed.start(std::array{0, 1, 2, 3});
    sim::inject({});
    graph.run(step);
    launches = i < StepGraph::warm_up ? sim::launches() : launches;
  }
  const auto nodes = graph.nodes();
  CHECK(std::ranges::count_if(nodes, &WorkNode::is_kernel) == launches);
  CHECK(sim::launches() == launches);
  CHECK(std::ranges::max(nodes, {}, &WorkNode::depth).depth <= 24);  // docs/step_graph.md
  for (const char* name : {"fill", "conv_block.forward", "optimizer.ema", "confusion.add", "batch.record"}) {
    INFO(name);
    CHECK(std::ranges::count(nodes, name, &WorkNode::name) > 0);
    for (const WorkNode& node : nodes)
      if (node.name == name) CHECK(node.beside);
  }
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
