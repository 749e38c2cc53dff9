// The parts of the report page, each a piece of HTML.
#pragma once

#include "retort/distill/report/results.h"

#include <string>

namespace retort {

/// Data, split, settings. `numbered`: the page has several groups, so the heading names this one's data.
std::string data_section(const RunGroup& group, bool numbered);
/// The results table, the paper's figures below each run's.
std::string results_section(const RunGroup& group);
/// Loss and accuracies over the epochs, all runs of the group in each figure.
std::string curves_section(const RunGroup& group, bool draw);
/// One run in detail: settings, per-class tables and confusion matrices of both tasks.
std::string run_section(const RunRecord& run);
/// One task: the per-class table in the form of the paper's table 6, beside it the confusion matrix as a heat map.
std::string task_section(const TaskMetrics& metrics, const std::vector<std::string>& names, std::string_view title);
/// The confusion matrix, with what rows and columns are.
std::string heat_map(const TaskMetrics& metrics, const std::vector<std::string>& names);

}  // namespace retort
