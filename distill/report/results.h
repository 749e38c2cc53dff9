// The rows of the results table, the same for the page and the terminal.
#pragma once

#include "retort/distill/published.h"
#include "retort/distill/run_record.h"

#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <vector>

namespace retort {

/// Accuracy and macro F1 of task 1, then of task 2, in 0…1.
using Figures = std::array<std::optional<double>, 4>;

struct ResultRow {
  const RunRecord* run = nullptr;
  Figures test, val;  ///< of the selected weights; an unfinished run has its best epoch's accuracies
  std::array<bool, 4> test_best = {}, val_best = {};  ///< highest of the group (only when the group has several finished runs)
  std::optional<std::int64_t> best_epoch;
  double seconds = 0;                          ///< trained so far
  const PublishedResult* published = nullptr;  ///< what the paper reports for this method and data set
};

/// Runs that saw the same data and split: only within a group are figures compared. In order of first appearance.
struct RunGroup {
  std::vector<ResultRow> rows;
  const RunConfig& config() const { return rows.front().run->config; }
};

/// Points into `runs`, which must outlive the groups.
std::vector<RunGroup> group_runs(std::span<const RunRecord> runs);

/// "finished", or "interrupted or still running: epoch 3 of 300".
std::string run_state(const RunRecord& run);

Figures published_figures(const PublishedSplit& split);

}  // namespace retort
