// The training loop: it learns, repeats itself bit for bit, and can be stopped and resumed at any step without a trace.
#include "retort/core/random.h"
#include "toy_runs.h"

#include <random>

using namespace retort;
using Catch::Matchers::Contains;
namespace fs = std::filesystem;

TEST_CASE("every method trains, lowers its loss and leaves a complete run directory") {
  const WindowSet windows = toy_windows(320, 3);
  for (const std::string& method : method_names()) {
    INFO(method);
    retort_test::TempDirectory scratch;
    RunConfig config = toy_config(method);
    config.epochs = 6;
    run(windows, config, scratch / "run");
    const RunRecord record = load_run(scratch / "run");
    REQUIRE(record.finished());
    const auto per_stage = static_cast<std::size_t>(config.epochs);
    CHECK(record.epochs.size() == (method == "born-again" ? 2 : 1) * per_stage);
    CHECK(record.epochs[per_stage - 1].train_loss < record.epochs[0].train_loss);
    // Four and two classes: guessing gives 25 and 50 %.
    CHECK(record.summary->best.test->task1.accuracy > 0.4);
    CHECK(record.summary->best.test->task2.accuracy > 0.6);
    CHECK(fs::exists(scratch / "run" / run_files::teacher) == (method == "born-again" || method == "smooth-distill"));
    CHECK(record.steps.front().loss > 0);
    const bool distils = method != "single-task" && method != "multi-task";
    CHECK((record.steps.back().kl1 > 0) == distils);
  }
}

TEST_CASE("the same seed gives the same bits, for any number of threads; another seed does not") {
  const WindowSet windows = toy_windows(200, 4);
  retort_test::TempDirectory scratch;
  RunConfig config = toy_config("smooth-distill");
  run(windows, config, scratch / "a");
  run(windows, config, scratch / "b");
  check_same_results(scratch / "a", scratch / "b");
  config.threads = 3;
  run(windows, config, scratch / "threads");
  CHECK(read_file(scratch / "a" / run_files::last) == read_file(scratch / "threads" / run_files::last));
  config.threads = 1;
  config.seed = 6;
  run(windows, config, scratch / "seed");
  CHECK(read_file(scratch / "a" / run_files::last) != read_file(scratch / "seed" / run_files::last));
}

TEST_CASE("a run stopped at a random step and resumed equals an uninterrupted one, bit for bit") {
  const auto seed = std::random_device{}();
  INFO("seed " << seed);
  Random random(seed);
  const WindowSet windows = toy_windows(150, seed);
  const std::vector<std::string> methods{"smooth-distill", "born-again", "sd-dropout", "cross-task", "single-task"};
  for (int trial = 0; trial < 10; ++trial) {
    const std::string& method = methods[static_cast<std::size_t>(trial) % methods.size()];
    retort_test::TempDirectory scratch;
    RunConfig config = toy_config(method);
    config.seed = static_cast<std::uint64_t>(trial);
    if (trial % 3 == 1) config.arch = "mtl-net-released";
    if (trial % 4 == 2) config.shuffle = false;
    run(windows, config, scratch / "whole");
    const auto steps = load_run(scratch / "whole").summary->steps;
    const auto stop_at = static_cast<std::int64_t>(1 + random.below(static_cast<std::uint32_t>(steps - 1)));
    INFO(method << ", stopped after step " << stop_at << " of " << steps);
    run(windows, config, scratch / "halves", stop_at);
    check_same_results(scratch / "whole", scratch / "halves");
  }
}

TEST_CASE("split all trains on every window in file order without shuffling, and selects the last epoch") {
  const WindowSet windows = toy_windows(50, 8);
  retort_test::TempDirectory scratch;
  RunConfig config = toy_config("multi-task");
  config.split = "all";
  config.shuffle = false;
  config.max_steps = 5;
  config.log_every = 1;
  run(windows, config, scratch / "run");
  const RunRecord record = load_run(scratch / "run");
  CHECK(record.steps.size() == 5);
  CHECK(record.summary->steps == 5);
  CHECK_FALSE(record.summary->best.val.has_value());
  CHECK(std::isnan(record.epochs.front().val_acc1));
  CHECK(read_file(scratch / "run" / run_files::best) == read_file(scratch / "run" / run_files::last));

  // Four steps an epoch (16, 16, 16, 2): the first loss by hand, from the same initial weights.
  Context context(Device::cpu, 1);
  TrainingState state(context, config, model_spec(weights_info(config, windows), config.seed), "multi-task");
  const DeviceData data(context, windows, 16);
  std::vector<std::int32_t> first(16);
  for (int i = 0; i < 16; ++i) first[static_cast<std::size_t>(i)] = i;
  CHECK(state.step(data.gather(first)).values.to_vector()[0] == Approx(record.steps[0].loss).epsilon(1e-6));
}

TEST_CASE("a limit of steps may end a run anywhere, also where Born-Again's first stage ends") {
  const WindowSet windows = toy_windows(100, 12);
  RunConfig config = toy_config("born-again");
  config.epochs = 1;
  Context context(Device::cpu, 1);
  const auto stage = Trainer(context, windows, config, "unused").steps_per_epoch();
  for (const std::int64_t limit : {stage - 1, stage, stage + 1}) {
    INFO(limit << " steps, " << stage << " a stage");
    retort_test::TempDirectory scratch;
    config.max_steps = limit;
    run(windows, config, scratch / "run");
    CHECK(load_run(scratch / "run").summary->steps == limit);
    run(windows, config, scratch / "halves", limit);  // stopped by hand at just that step
    check_same_results(scratch / "run", scratch / "halves");
  }
}

TEST_CASE("resuming removes what a killed process was writing, and nothing else") {
  const WindowSet windows = toy_windows(60, 13);
  retort_test::TempDirectory scratch;
  const RunConfig config = toy_config("multi-task");
  Context context(Device::cpu, 1);
  const std::atomic<bool> at_once{true};
  REQUIRE(Trainer(context, windows, config, scratch / "run").run(at_once) == Trainer::End::interrupted);
  const auto torn = {"last.safetensors.71-0.tmp", "summary.json.71-0.tmp", "metrics.jsonl.71-0.tmp", "report.html.71-3.tmp"};
  const auto foreign = {"notes.tmp", "last.safetensors.bak", "data.json"};
  for (const char* name : torn) write_file_atomically(scratch / "run" / name, "half");
  for (const char* name : foreign) write_file_atomically(scratch / "run" / name, "whole");
  Trainer(context, windows, config, scratch / "run").resume();
  for (const char* name : torn) CHECK_FALSE(fs::exists(scratch / "run" / name));
  for (const char* name : foreign) CHECK(fs::exists(scratch / "run" / name));
}

TEST_CASE("weights can be used again without their run") {
  const WindowSet windows = toy_windows(100, 9);
  retort_test::TempDirectory scratch;
  for (const char* method : {"multi-task", "single-task"}) {
    INFO(method);
    RunConfig config = toy_config(method);
    config.epochs = 1;
    const auto directory = scratch / method;
    Context context(Device::cpu, 1);
    Trainer trainer(context, windows, config, directory);
    trainer.run(never);
    const LoadedModel loaded = load_weights(context, directory / run_files::last);
    CHECK(loaded.info.task1_classes == windows.info.task1_names);
    CHECK(loaded.info.options.length == 40);
    const DeviceData data(context, windows, 256);
    std::vector<std::int32_t> indices{1, 5, 7};
    CHECK(evaluate(*loaded.model, data, indices, 0.5f).loss == evaluate(trainer.state().model(), data, indices, 0.5f).loss);

    RunConfig from_init = config;
    from_init.init = (directory / run_files::last).string();
    TrainingState state(context, from_init, model_spec(loaded.info, 1), method);
    CHECK(evaluate(state.model(), data, indices, 0.5f).loss == evaluate(*loaded.model, data, indices, 0.5f).loss);
  }
  write_file_atomically(scratch / "foreign", "not safetensors at all");
  Context context(Device::cpu, 1);
  CHECK_THROWS_AS(load_weights(context, scratch / "foreign"), InputError);
  CHECK_THROWS_WITH(load_weights(context, scratch / "multi-task" / run_files::checkpoint), Contains("not a weights file"));
}

TEST_CASE("impossible configurations and directories are refused before anything is written") {
  const WindowSet windows = toy_windows(60, 10);
  retort_test::TempDirectory scratch;
  Context context(Device::cpu, 1);
  auto refused = [&](const std::function<void(RunConfig&)>& change, const std::string& message) {
    RunConfig config = toy_config("smooth-distill");
    change(config);
    CHECK_THROWS_WITH(Trainer(context, windows, config, scratch / "none"), Contains(message));
    CHECK_FALSE(fs::exists(scratch / "none"));
  };
  refused([](RunConfig& c) { c.epochs = 0; }, "--epochs");
  refused([](RunConfig& c) { c.alpha = 1.5; }, "--alpha");
  refused([](RunConfig& c) { c.tau = 0; }, "--tau");
  refused([](RunConfig& c) { c.method = "magic"; }, "unknown method 'magic'");
  refused([](RunConfig& c) { c.arch = "resnet"; }, "unknown architecture 'resnet'");
  refused([](RunConfig& c) { c.fold = 9; }, "fold");
  refused([](RunConfig& c) { c.fold = std::int64_t{1} << 32; }, "fold 4294967296");
  refused([](RunConfig& c) { c.folds = (std::int64_t{1} << 32) + 2; }, "4294967298 folds");
  refused([](RunConfig& c) { c.ema_buffers = "none"; }, "--ema-buffers");
  refused([](RunConfig& c) { c.init = "/nonexistent/weights.safetensors"; }, "/nonexistent/weights.safetensors");

  const RunConfig config = toy_config("multi-task");
  write_file_atomically(scratch / "file", "in the way");
  CHECK_THROWS_WITH(Trainer(context, windows, config, scratch / "file").run(never), Contains("cannot make this directory"));
  run(windows, config, scratch / "run");
  CHECK_THROWS_WITH(Trainer(context, windows, config, scratch / "run").run(never), Contains("holds a run already"));
}

TEST_CASE("a diverging run says so and keeps its last checkpoint") {
  const WindowSet windows = toy_windows(60, 11);
  retort_test::TempDirectory scratch;
  RunConfig config = toy_config("multi-task");
  config.arch = "mtl-net-released";
  config.lr = 1e30;
  Context context(Device::cpu, 1);
  CHECK_THROWS_WITH(Trainer(context, windows, config, scratch / "run").run(never),
                    Contains("diverged: the loss of step 2, in epoch 1,") && Contains("--lr"));
}
