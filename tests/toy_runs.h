// Small training runs, and whether two of them left the same behind.
#pragma once

#include "retort/core/file.h"
#include "retort/distill/presets.h"
#include "retort/distill/trainer.h"

#include "catch.h"
#include "temp_directory.h"
#include "toy_windows.h"

#include <sstream>

namespace retort {

inline const std::atomic<bool> never{false};

inline RunConfig toy_config(const std::string& method) {
  RunConfig config = default_config("strict", method);
  config.epochs = 3;
  config.batch = 16;
  config.seed = 5;
  config.split = "stratified";
  config.log_every = 2;
  config.threads = 1;
  config.data.path = "toy";
  return config;
}

/// Trains to the end on config.device; with `stop_at` > 0 in two processes' worth of objects, the first interrupted after that
/// step. Returns whether steps were replayed in the end.
inline bool run(const WindowSet& windows, const RunConfig& config, const std::filesystem::path& directory,
                std::int64_t stop_at = 0, bool use_graph = true) {
  const Device device = parse_device(config.device);
  if (stop_at > 0) {
    Context context(device, static_cast<int>(config.threads));
    Trainer trainer(context, windows, config, directory);
    trainer.use_graph = use_graph;
    std::atomic<bool> stop{false};
    trainer.observer.tick = [&](std::int64_t, std::int64_t) { stop = trainer.steps_done() >= stop_at; };
    REQUIRE(trainer.run(stop) == Trainer::End::interrupted);
    REQUIRE(trainer.steps_done() == stop_at);
    REQUIRE_FALSE(std::filesystem::exists(directory / run_files::summary));
  }
  Context context(device, static_cast<int>(config.threads));
  Trainer trainer(context, windows, config, directory);
  trainer.use_graph = use_graph;
  if (stop_at > 0) trainer.resume();
  REQUIRE(trainer.run(never) == Trainer::End::finished);
  return trainer.replaying();
}

/// metrics.jsonl without the one field that measures time.
inline std::vector<std::string> log_without_seconds(const std::filesystem::path& directory) {
  std::vector<std::string> lines;
  std::istringstream text(read_file(directory / run_files::metrics));
  for (std::string line; std::getline(text, line);) {
    Json json = Json::parse(line);
    json.erase("seconds");
    lines.push_back(json.dump());
  }
  return lines;
}

inline void check_same_results(const std::filesystem::path& a, const std::filesystem::path& b) {
  for (const char* file : {run_files::last, run_files::best, run_files::teacher}) {
    INFO(file);
    REQUIRE(std::filesystem::exists(a / file) == std::filesystem::exists(b / file));
    if (std::filesystem::exists(a / file)) CHECK(read_file(a / file) == read_file(b / file));
  }
  CHECK(log_without_seconds(a) == log_without_seconds(b));
  Json first = Json::parse(read_file(a / run_files::summary)), second = Json::parse(read_file(b / run_files::summary));
  first.erase("train_seconds"), second.erase("train_seconds");
  CHECK(first == second);
}

}  // namespace retort
