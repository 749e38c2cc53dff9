// The statistics of a grid of runs: mean ± standard deviation as the paper's table 5, paired tests as its table 8, with what the
// paper leaves out beside them (Holm's correction, Wilcoxon's test, intervals over subjects).
//
// Where SciPy has the function its behaviour is matched (tests/golden/statistics_fixtures.py); where SciPy answers NaN with a
// warning, the comment says what is answered here. NaN always means "these data do not say".
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace retort {

struct MeanDeviation {
  double mean = 0;       ///< NaN without values
  double deviation = 0;  ///< of the sample, n - 1 below the line; NaN with fewer than two values
  std::int64_t count = 0;
};

MeanDeviation mean_deviation(std::span<const double> values);

/// One run's figure.
struct SeedFoldValue {
  std::uint64_t seed = 0;
  std::int64_t fold = 0;
  double value = 0;
};

/// For each seed, in rising order, the mean over its folds. Error when a fold of a seed occurs twice.
struct SeedMean {
  std::uint64_t seed = 0;
  double value = 0;
};
std::vector<SeedMean> seed_means(std::span<const SeedFoldValue> values);

/// Table 5's figure: mean and deviation over seeds of the means over folds.
MeanDeviation over_seeds(std::span<const SeedFoldValue> values);

struct PairedTest {
  double statistic = 0;
  double p = 1;  ///< two-sided
};

/// Student's paired t-test (scipy.stats.ttest_rel). Fewer than two pairs: NaN, NaN. All differences zero: 0, p = 1 (SciPy: NaN).
/// All differences equal and not zero: ±infinity, p = 0. Error when the lengths differ.
PairedTest paired_t_test(std::span<const double> a, std::span<const double> b);

/// Wilcoxon's signed-rank test (scipy.stats.wilcoxon, zero_method "wilcox", no continuity correction): pairs without a difference
/// are left out, the statistic is the smaller sum of ranks. p is exact for up to 25 pairs without ties and zeros, else by the
/// normal approximation with correction for ties. No pairs: NaN, NaN. All differences zero: 0, p = 1. Error when the lengths
/// differ.
PairedTest wilcoxon_signed_rank(std::span<const double> a, std::span<const double> b);

/// Holm's step-down correction: the p-values of one family adjusted so that p <= 0.05 keeps the chance of any false alarm in the
/// family below 0.05. Same order as given; NaNs stay NaN and do not count as tests.
std::vector<double> holm(std::span<const double> p);

/// What one subject contributes to a figure that is a ratio of sums: correct windows over windows for accuracy.
struct SubjectScore {
  double sum = 0, weight = 0;
};

struct Interval {
  double low = 0, high = 0;  ///< NaN when there are fewer than two subjects or no weight at all
};

/// The percentile bootstrap by subject: subjects (not windows, which are alike within a subject) are drawn with replacement,
/// `resamples` times; the interval holds the middle `level` of the ratios, quantiles interpolated as numpy.quantile does. The
/// same seed gives the same interval on every platform (core/random.h). Draws without weight are left out.
Interval bootstrap_interval(std::span<const SubjectScore> subjects, std::uint64_t seed = 0, int resamples = 10000,
                            double level = 0.95);

}  // namespace retort
