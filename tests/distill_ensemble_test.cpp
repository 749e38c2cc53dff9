// Replicas that train side by side get what each gets alone.
#include "retort/distill/ensemble.h"

#include "catch.h"
#include "retort/core/file.h"
#include "retort/distill/presets.h"
#include "temp_directory.h"
#include "toy_windows.h"

using namespace retort;
using retort_test::TempDirectory;
namespace fs = std::filesystem;

namespace {

const std::atomic<bool> never{false};

RunConfig config_of(const std::string& method, std::int64_t seed) {
  RunConfig config = default_config("strict", method);
  config.epochs = 2;
  config.batch = 16;
  config.seed = seed;
  config.split = "stratified";
  config.threads = 1;
  config.data.path = "toy";
  return config;
}

}  // namespace

TEST_CASE("each replica of an ensemble equals its run alone, bit for bit, whatever the threads") {
  const WindowSet windows = toy_windows(160, 8);
  const TempDirectory directory;
  for (const std::string method : {"smooth-distill", "sd-dropout"}) {
    INFO(method);
    std::vector<Replica> replicas;
    for (int seed = 0; seed < 3; ++seed)
      replicas.push_back({config_of(method, seed), directory.path() / method / fmt::format("seed-{}", seed)});
    std::atomic<int> started{0};
    EnsembleOptions options;
    options.threads = 2;
    options.on_start = [&](std::size_t, Trainer&) { ++started; };
    REQUIRE(train_ensemble(windows, replicas, options, never) == Trainer::End::finished);
    CHECK(started == 3);
    for (const Replica& replica : replicas) {
      const fs::path alone = directory.path() / method / fmt::format("alone-{}", replica.config.seed);
      Context context(Device::cpu, 2);
      Trainer trainer(context, windows, replica.config, alone);
      REQUIRE(trainer.run(never) == Trainer::End::finished);
      for (const char* file : {run_files::last, run_files::best})
        CHECK(read_file(alone / file) == read_file(replica.directory / file));
    }
  }
}

TEST_CASE("an interrupted ensemble goes on, and its finished replicas are left alone") {
  const WindowSet windows = toy_windows(160, 9);
  const TempDirectory directory;
  std::vector<Replica> replicas;
  for (int seed = 0; seed < 3; ++seed)
    replicas.push_back({config_of("multi-task", seed), directory.path() / fmt::format("seed-{}", seed)});
  std::atomic<bool> stop{false};
  EnsembleOptions options;
  options.threads = 1;  // one after another: the stop comes in the second
  options.on_start = [&](std::size_t replica, Trainer& trainer) {
    trainer.observer.tick = [&stop, replica](std::int64_t, std::int64_t) { stop = replica == 1; };
  };
  REQUIRE(train_ensemble(windows, replicas, options, stop) == Trainer::End::interrupted);
  CHECK(fs::exists(replicas[0].directory / run_files::summary));
  CHECK_FALSE(fs::exists(replicas[1].directory / run_files::summary));
  CHECK_FALSE(fs::exists(replicas[2].directory));
  std::vector<std::size_t> started;
  options.resume = true;
  options.on_start = [&](std::size_t replica, Trainer&) { started.push_back(replica); };
  REQUIRE(train_ensemble(windows, replicas, options, never) == Trainer::End::finished);
  CHECK(started == std::vector<std::size_t>{1, 2});
}

TEST_CASE("one replica's failure does not stop the others, and is told") {
  const WindowSet windows = toy_windows(160, 10);
  const TempDirectory directory;
  std::vector<Replica> replicas{{config_of("multi-task", 0), directory.path() / "0"},
                                {config_of("multi-task", 1), directory.path() / "1"}};
  replicas[0].config.lr = 1e30;
  EnsembleOptions options;
  options.threads = 2;
  CHECK_THROWS_WITH(train_ensemble(windows, replicas, options, never), Catch::Matchers::Contains("diverged"));
  CHECK(fs::exists(replicas[1].directory / run_files::summary));
}

TEST_CASE("replicas share the threads") {
  CHECK(ensemble_share(Device::cpu, 5, 2).together == 2);
  CHECK(ensemble_share(Device::cpu, 5, 2).threads == 1);
  CHECK(ensemble_share(Device::cpu, 2, 8).threads == 4);
  CHECK(ensemble_share(Device::cuda, 16, 2).together == 16);
  CHECK_THROWS_AS(ensemble_share(Device::cpu, 0, 2), InputError);
}
