// What else the finished runs of a grid say, each from the records alone: classes (table 6), costs (table 7), curves (figure 8),
// the figure over a varied number (figures 4 to 7), and in what the grid is not the paper's experiment. Tables and pages print
// it.
#pragma once

#include "retort/distill/grid_results.h"

#include <map>

namespace retort {

/// The measures of a class, in the paper's order and F1 last.
struct ClassMeasure {
  const char *name, *heading;
  double ClassMetrics::*value;
  double PublishedClass::*published;  ///< null: not in the paper
};
inline constexpr std::array<ClassMeasure, 5> class_measures = {
    {{"accuracy", "Acc.", &ClassMetrics::accuracy, &PublishedClass::accuracy},
     {"sensitivity", "Sens.", &ClassMetrics::sensitivity, &PublishedClass::sensitivity},
     {"ppv", "PPV", &ClassMetrics::ppv, &PublishedClass::ppv},
     {"npv", "NPV", &ClassMetrics::npv, &PublishedClass::npv},
     {"f1", "F1", &ClassMetrics::f1, nullptr}}};

struct ClassRow {
  std::string name;
  std::int64_t windows = 0;                               ///< of one run, the most of all
  std::array<MeanDeviation, class_measures.size()> ours;  ///< percent, over seeds of the means over folds
  const PublishedClass* published = nullptr;
};
/// The classes of a task, test part, in label order.
std::vector<ClassRow> class_rows(const GridResults& results, const GridRow& row, int task);

/// The test predictions of all runs of a row in one matrix; nothing when no run has a test part.
std::optional<TaskMetrics> summed_confusion(const GridRow& row, int task);

/// Table 7.
struct CostRow {
  const GridRow* row = nullptr;
  std::int64_t parameters = 0;
  std::int64_t flops = 0;  ///< forward pass of one window as the run saw it
  std::optional<std::int64_t>
      flops_one_row;                      ///< of (1, 1, 1, 100), as the paper counts; only where the rows of a window never mix
  double mebibytes = 0;                   ///< of best.safetensors; NaN when it is gone
  MeanDeviation seconds, kilowatt_hours;  ///< over runs; energy only of those that measured it (count)
  std::vector<std::string> energy_sources;
  const PublishedCost* published = nullptr;
};
/// Rows without a finished run are left out.
std::vector<CostRow> cost_rows(const GridResults& results);

struct Count {
  std::int64_t parameters = 0, flops = 0;
};
/// Parameters and FLOPs of a method's model for `axes` rows of input of 100 samples.
Count count_model(const std::string& method, const std::string& arch, std::int64_t classes1, std::int64_t classes2,
                  std::int64_t axes);

/// A value of every epoch of a row's runs: the mean over folds for each seed, then over seeds.
struct SeedBand {
  std::vector<double> median, low, high;  ///< low, high: the least and the greatest seed
  std::size_t seeds = 0;
};
/// Of the last stage (for Born-Again the student's). Epochs that not all runs of a seed have reached are left out.
SeedBand seed_band(const std::map<std::uint64_t, std::vector<std::vector<EpochRecord>>>& runs_by_seed,
                   double EpochRecord::*value);
/// The epochs of a row's finished runs, read from their logs.
std::map<std::uint64_t, std::vector<std::vector<EpochRecord>>> epochs_by_seed(const GridResults& results, const GridRow& row);

/// The key with several numbers that a figure has on its x axis (train_fraction if it varies, else the first); empty: none.
std::string varied_number(const Plan& plan);

/// One thing in which this grid is not the paper's experiment.
struct Difference {
  std::string what, here, paper;
  bool accuracy = true, cost = true;  ///< which figures it bears on
};
/// From the runs' configurations and records; empty for data sets that the paper does not have.
std::vector<Difference> differences(const GridResults& results);

/// The distinct values of an option among the planned runs, as text, in plan order.
std::vector<std::string> planned_values(const Plan& plan, const std::string& key);

}  // namespace retort
