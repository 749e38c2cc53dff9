// What the finished runs of a plan say: means, tests, and both as text for the terminal, CSV and LaTeX. The same finished runs
// give the same bytes, whoever trained them, when and in what order; what differs (times, devices) is in a file of its own.
#pragma once

#include "retort/distill/grid.h"
#include "retort/distill/published.h"
#include "retort/distill/statistics.h"

#include <array>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace retort {

/// The figures of a run, in this order everywhere: test before validation, task 1 before task 2, accuracy before macro F1.
struct Figure {
  bool test;
  int task;
  bool accuracy;
  const char* split() const { return test ? "test" : "val"; }
  const char* metric() const { return accuracy ? "accuracy" : "f1"; }
};
inline constexpr std::array<Figure, 8> grid_figures = {{{true, 1, true},
                                                        {true, 1, false},
                                                        {true, 2, true},
                                                        {true, 2, false},
                                                        {false, 1, true},
                                                        {false, 1, false},
                                                        {false, 2, true},
                                                        {false, 2, false}}};

struct FinishedRun {
  const PlannedRun* run = nullptr;
  Summary summary;
  SubjectCounts subjects;
  std::optional<double> value(const Figure& figure) const;  ///< in percent
};

/// A row of the table: all runs that differ in nothing but fold and seed.
struct GridRow {
  std::vector<std::string> keys;  ///< values of plan.keys, as text
  std::int64_t planned = 0;
  std::vector<FinishedRun> runs;
  const PublishedResult* published = nullptr;  ///< of this method and data set, when the grid varies nothing else away from it

  std::vector<SeedFoldValue> values(const Figure& figure) const;
  std::array<Interval, 2> by_subject = {};  ///< of the accuracies of task 1 and 2, test part; see interval()
  /// 95 % over subjects of a test accuracy in percent: each subject's correct windows of all runs over its windows. NaN for
  /// others.
  Interval interval(const Figure& figure) const;
};

/// Two rows compared. Pairs are those seeds (or runs) that both rows have.
struct Comparison {
  std::string key;                   ///< what the rows differ in
  std::vector<std::string> stratum;  ///< values of the other keys, in the order of plan.keys without `key`
  std::string a, b;                  ///< values of `key`
  Figure figure{};
  bool by_seed = true;  ///< a pair is a seed's mean over its folds; else a run
  std::int64_t pairs = 0;
  double difference = 0;  ///< mean of a - b, percent points
  PairedTest t, wilcoxon;
  double t_holm = 0, wilcoxon_holm = 0;  ///< within the comparisons of the same figure, stratum and kind of pairs
  std::optional<double> published;       ///< p of the paper's table 8
};

struct GridResults {
  const Plan* plan = nullptr;
  std::filesystem::path runs;  ///< the directory of the run directories
  std::vector<GridRow> rows;   ///< in the grid's order
  std::vector<Comparison> comparisons;
  std::int64_t planned = 0, finished = 0;
};

/// Reads what is finished; `plan` must outlive the results. Rows without a finished run are there, empty.
GridResults grid_results(const Plan& plan, const std::filesystem::path& runs);

PublishedValue published_value(const PublishedResult& result, const Figure& figure);

std::string row_name(const Plan& plan, const GridRow& row);  ///< "smooth-distill, lambda 0.5": the values of plan.keys
std::string data_text(const GridResults& results);           ///< data, preset, split, epochs: what all rows share
std::string count_text(const GridResults& results);          ///< "20 runs", "INCOMPLETE: 3 of 20 runs"

std::string results_csv(const GridResults& results);  ///< a line a row and figure
std::string results_tex(const GridResults& results);  ///< a booktabs table, the paper's figures below ours
std::string tests_csv(const GridResults& results);    ///< a line a comparison
std::string classes_csv(
    const GridResults& results);  ///< a line a row, task and class: the measures of the paper's table 6, test part
std::string runs_csv(const GridResults& results);  ///< a line a finished run: its directory, options and figures
std::string times_csv(
    const GridResults& results);  ///< a line a finished run: parameters, FLOPs, seconds, energy, device, version
std::string costs_csv(const GridResults& results);  ///< a line a row: table 7
std::string classes_tex(const GridResults& results);
std::string costs_tex(const GridResults& results);
std::string tests_tex(const GridResults& results);
std::string results_text(const GridResults& results);  ///< for the terminal

/// Writes all of these into `directory`, the plan (plan_file.h) and the page (report/grid_report.h). Returns what it wrote,
/// results.csv first and the page last.
std::vector<std::filesystem::path> write_grid_results(const GridResults& results, const std::filesystem::path& directory);

/// Reads the grids of a directory that `retort experiment --out` was given and writes one page for all of them; returns its path.
/// InputError when there are none.
std::filesystem::path write_collection(const std::filesystem::path& directory);

}  // namespace retort
