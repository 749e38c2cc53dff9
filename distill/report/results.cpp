#include "retort/distill/report/results.h"

#include <algorithm>
#include <cmath>

namespace retort {
namespace {

Figures figures(const std::optional<SplitMetrics>& part) {
  if (!part) return {};
  return {part->task1.accuracy, part->task1.macro_f1, part->task2.accuracy, part->task2.macro_f1};
}

/// The epoch whose weights would be tested if the run ended here.
const EpochRecord* best_epoch_so_far(const RunRecord& run) {
  const auto best = std::find_if(run.epochs.rbegin(), run.epochs.rend(), [](const EpochRecord& e) { return e.best; });
  if (best != run.epochs.rend()) return &*best;
  return run.epochs.empty() ? nullptr : &run.epochs.back();
}

std::optional<double> finite(double value) { return std::isfinite(value) ? std::optional(value) : std::nullopt; }

ResultRow result_row(const RunRecord& run) {
  ResultRow row;
  row.run = &run;
  if (run.summary) {
    row.test = figures(run.summary->best.test);
    row.val = figures(run.summary->best.val);
    row.best_epoch = run.summary->best.epoch;
    row.seconds = run.summary->train_seconds;
  } else {
    if (const EpochRecord* epoch = best_epoch_so_far(run)) {
      row.val = {finite(epoch->val_acc1), {}, finite(epoch->val_acc2), {}};
      row.best_epoch = epoch->epoch;
    }
    for (const EpochRecord& epoch : run.epochs) row.seconds += epoch.seconds;
  }
  if (run.config.arch.starts_with("mtl-net")) row.published = find_published(run.config.method, run.config.data.dataset);
  return row;
}

/// As printed: values that look equal are equally good.
std::int64_t rounded(double fraction) { return std::llround(fraction * 1e4); }

void mark_best(std::vector<ResultRow>& rows, Figures ResultRow::*values, std::array<bool, 4> ResultRow::*marks) {
  for (std::size_t column = 0; column < 4; ++column) {
    std::int64_t best = -1, finished = 0;
    for (const ResultRow& row : rows) {
      const auto& value = (row.*values)[column];
      if (row.run->finished() && value) best = std::max(best, rounded(*value)), ++finished;
    }
    if (finished < 2) continue;
    for (ResultRow& row : rows) {
      const auto& value = (row.*values)[column];
      (row.*marks)[column] = row.run->finished() && value && rounded(*value) == best;
    }
  }
}

bool comparable(const RunConfig& a, const RunConfig& b) {
  return a.data.sha256 == b.data.sha256 && a.split == b.split && a.fold == b.fold && a.folds == b.folds;
}

}  // namespace

std::vector<RunGroup> group_runs(std::span<const RunRecord> runs) {
  std::vector<RunGroup> groups;
  for (const RunRecord& run : runs) {
    auto group =
        std::find_if(groups.begin(), groups.end(), [&](const RunGroup& g) { return comparable(g.config(), run.config); });
    if (group == groups.end()) group = groups.insert(group, RunGroup{});
    group->rows.push_back(result_row(run));
  }
  for (RunGroup& group : groups) {
    mark_best(group.rows, &ResultRow::test, &ResultRow::test_best);
    mark_best(group.rows, &ResultRow::val, &ResultRow::val_best);
  }
  return groups;
}

std::string run_state(const RunRecord& run) {
  if (run.finished()) return "finished";
  const std::int64_t epoch = run.epochs.empty() ? 0 : run.epochs.back().epoch;
  const std::int64_t stages = run.config.method == "born-again" ? 2 : 1;
  return fmt::format("interrupted or still running: epoch {} of {}", epoch, stages * run.config.epochs);
}

Figures published_figures(const PublishedSplit& split) {
  return {split.accuracy1.mean / 100, split.f1_1.mean / 100, split.accuracy2.mean / 100, split.f1_2.mean / 100};
}

}  // namespace retort
