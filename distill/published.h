// What the paper reports, to stand beside our own numbers: table 5 of "Smooth-Distill", five methods on three data sets. Percent,
// mean and standard deviation over 5 folds x 5 seeds. (Its per-class figures and costs are in tables 6 and 7.)
#pragma once

#include <span>
#include <string_view>

namespace retort {

struct PublishedValue {
  double mean = 0, deviation = 0;  ///< percent
};

struct PublishedSplit {
  PublishedValue accuracy1, f1_1, accuracy2, f1_2;
};

struct PublishedResult {
  std::string_view method, dataset;  ///< in our names: "smooth-distill", "sleep"
  PublishedSplit val, test;
};

/// All 15 rows, in the paper's order of methods, then data sets.
std::span<const PublishedResult> published_results();

/// Null when the paper has no such row (cross-task, other data).
const PublishedResult* find_published(std::string_view method, std::string_view dataset);

}  // namespace retort
