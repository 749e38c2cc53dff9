// Made-up runs for the tests of records, tables and pages.
#pragma once

#include "retort/distill/run_record.h"

#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <random>
#include <string>
#include <vector>

namespace retort::fake {

/// A directory of its own below the system's temporary one, removed at the end.
class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string pattern = (std::filesystem::temp_directory_path() / "retort-test-XXXXXX").string();
    path_ = mkdtemp(pattern.data());
  }
  ~TemporaryDirectory() { std::filesystem::remove_all(path_); }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

inline RunConfig config(const std::string& method, const std::string& dataset = "sleep", bool synthetic = true) {
  RunConfig c;
  c.method = method;
  c.epochs = 40;
  c.seed = 7;
  c.threads = 2;
  c.version = "0.1.0";
  c.data = {.path = "build/demo/" + dataset + ".safetensors",
            .sha256 = std::string(64, 'a'),
            .dataset = dataset,
            .synthetic = synthetic,
            .preset = "strict",
            .axis_layout = "transposed",
            .window_label = "majority",
            .windows = 53546,
            .task1_classes = {"up", "upright", "rightup", "right", "rightdown", "downright", "down", "downleft", "leftdown",
                              "left", "leftup", "upleft"},
            .task2_classes = {"neck", "chest", "abdomen"}};
  return c;
}

inline TaskMetrics metrics(std::int64_t classes, double skill, std::mt19937& random) {
  std::vector<std::int64_t> confusion(static_cast<std::size_t>(classes * classes));
  std::uniform_real_distribution<double> uniform(0, 1);
  for (std::int64_t row = 0; row < classes; ++row) {
    for (int i = 0, n = 300 + static_cast<int>(100 * uniform(random)); i < n; ++i) {
      const std::int64_t near = (row + (uniform(random) < 0.5 ? 1 : classes - 1)) % classes;
      const std::int64_t column = uniform(random) < skill ? row
                                  : uniform(random) < 0.8
                                      ? near
                                      : static_cast<std::int64_t>(uniform(random) * static_cast<double>(classes));
      ++confusion[static_cast<std::size_t>(row * classes + column)];
    }
  }
  return task_metrics(confusion, classes);
}

inline SplitMetrics split_metrics(const RunConfig& c, double skill, std::mt19937& random) {
  return {metrics(static_cast<std::int64_t>(c.data.task1_classes.size()), skill, random),
          metrics(static_cast<std::int64_t>(c.data.task2_classes.size()), std::min(0.99, skill + 0.03), random)};
}

/// A finished run that learns up to `skill`.
inline RunRecord run(const std::filesystem::path& directory, const RunConfig& c, double skill, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<double> noise(0, 0.006);
  RunRecord r{.directory = directory, .config = c, .steps = {}, .epochs = {}, .summary = std::nullopt};
  double best = 0;
  for (std::int64_t e = 1; e <= c.epochs; ++e) {
    const double grown = 1 - std::exp(-static_cast<double>(e) / 9.0);
    EpochRecord epoch{.epoch = e,
                      .step = e * 100,
                      .train_loss = 2.2 * (1 - grown) + 0.1 + noise(random),
                      .val_loss = 2.0 * (1 - grown) + 0.35 + 3 * noise(random)};
    epoch.train_acc1 = std::min(1.0, (skill + 0.05) * grown + noise(random)),
    epoch.train_acc2 = std::min(1.0, epoch.train_acc1 + 0.04);
    epoch.val_acc1 = skill * grown + noise(random), epoch.val_acc2 = skill * grown + 0.03 + noise(random);
    epoch.seconds = 3.1;
    epoch.best = epoch.val_acc1 + epoch.val_acc2 > best;
    best = std::max(best, epoch.val_acc1 + epoch.val_acc2);
    r.steps.push_back({.step = e * 100, .epoch = e, .loss = epoch.train_loss, .ce1 = 1, .ce2 = 0.5, .kl1 = 0.1, .kl2 = 0.05});
    r.epochs.push_back(epoch);
  }
  Summary s;
  s.best = {c.epochs - 3, split_metrics(c, skill, random), split_metrics(c, skill - 0.01, random)};
  s.last = {c.epochs, split_metrics(c, skill - 0.01, random), split_metrics(c, skill - 0.02, random)};
  s.epochs = c.epochs, s.steps = c.epochs * 100, s.parameters = 1798287, s.flops = 7748944, s.train_seconds = 124.6;
  s.device = "cpu, 2 threads, AVX2", s.version = c.version, s.compiler = "GCC 12.2.0";
  r.summary = s;
  return r;
}

/// Writes what load_run reads.
inline void write(const RunRecord& r) {
  std::filesystem::create_directories(r.directory);
  write_config(r.directory, r.config);
  auto log = MetricsLog::create(r.directory);
  for (std::size_t i = 0; i < r.epochs.size(); ++i) {
    if (i < r.steps.size()) log.append(r.steps[i]);
    log.append(r.epochs[i]);
  }
  if (r.summary) write_summary(r.directory, *r.summary);
}

}  // namespace retort::fake
