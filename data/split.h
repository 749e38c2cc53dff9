// Which windows train, which validate, which test.
#pragma once

#include "retort/data/windowing.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace retort {

enum class SplitKind {
  subject,     ///< no subject in two parts: what a number from the field needs
  stratified,  ///< each class of task 1 in the same share everywhere, as the counts of the paper's tables 2 to 4
  random,      ///< windows at random
  all,         ///< everything trains
};

std::string_view name(SplitKind kind);
SplitKind parse_split_kind(std::string_view text);  ///< throws InputError naming the choices

/// The split that a preset stands for: released random, paper stratified, strict subject. Throws InputError for another name.
SplitKind split_of_preset(std::string_view preset);

struct SplitOptions {
  SplitKind kind = SplitKind::subject;
  std::int64_t folds = 5;      ///< parts of what is left after the test part
  std::int64_t fold = 0;       ///< the one that validates
  double test_fraction = 0.2;  ///< of the windows, rounded up; of the subjects, rounded to nearest and at least one
  /// Share of the training part that is used; validation and test stay the same, and a smaller share is part of a larger one.
  double train_fraction = 1.0;
  std::uint64_t seed = 0;
};

/// Window numbers, rising within each part. The same seed gives the same split on every platform; the test part does not depend
/// on `fold`.
struct Split {
  std::vector<std::int32_t> train, val, test;
  std::vector<std::string> warnings;  ///< classes that validation or test lack
};

/// Throws InputError when a fold would be empty, there are too few subjects, or a class that the windows hold is missing from the
/// training part (nothing could learn it). Overlapping neighbours (step < length) can fall on both sides of stratified and random
/// splits; only `subject` rules that out, and only for windows that were not cut across recordings.
Split make_split(const WindowSet& set, const SplitOptions& options);

}  // namespace retort
