// What the paper reports, to stand beside our own numbers: tables 5 to 8 of "Smooth-Distill". Methods and data sets by our names.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace retort {

struct PublishedValue {
  double mean = 0, deviation = 0;  ///< percent
};

struct PublishedSplit {
  PublishedValue accuracy1, f1_1, accuracy2, f1_2;
};

/// A row of table 5: mean and standard deviation over 5 folds x 5 seeds.
struct PublishedResult {
  std::string_view method, dataset;  ///< in our names: "smooth-distill", "sleep"
  PublishedSplit val, test;
};

/// All 15 rows, in the paper's order of methods, then data sets.
std::span<const PublishedResult> published_results();

/// Null when the paper has no such row (cross-task, other data).
const PublishedResult* find_published(std::string_view method, std::string_view dataset);

/// Table 6, percent.
struct PublishedClass {
  double accuracy = 0, sensitivity = 0, ppv = 0, npv = 0;
};
/// Only Sleep's task 1 is in the paper; else null.
const PublishedClass* find_published_class(std::string_view method, std::string_view dataset, int task, std::size_t label);

/// A row of table 7, on Sleep. FLOPs are counted on one row of input, (1, 1, 1, 100); the size is in units of 2^20 bytes. The
/// energy is 400 W times the training time, to 0.001 kWh.
struct PublishedCost {
  std::string_view method;
  double mebibytes = 0;
  double parameters = 0;  ///< millions
  std::int64_t flops = 0;
  double seconds = 0, kilowatt_hours = 0;
};
std::span<const PublishedCost> published_costs();
const PublishedCost* find_published_cost(std::string_view method);

/// p of table 8 (Sleep, task 1): "accuracy" or "f1" of two methods, in either order. No value when it has none.
std::optional<double> published_p(std::string_view metric, std::string_view a, std::string_view b);

/// Windows that the paper counts in a data set; 0 for others.
std::int64_t published_windows(std::string_view dataset);

}  // namespace retort
