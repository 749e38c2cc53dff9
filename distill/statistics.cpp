#include "retort/distill/statistics.h"

#include "retort/core/error.h"
#include "retort/core/random.h"

#include <boost/math/distributions/normal.hpp>
#include <boost/math/distributions/students_t.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>

namespace retort {
namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();
constexpr std::size_t exact_pairs = 25;

std::vector<double> differences(std::span<const double> a, std::span<const double> b, const char* test) {
  check(a.size() == b.size(), "{}: {} values against {}; a paired test needs pairs", test, a.size(), b.size());
  std::vector<double> d(a.size());
  std::ranges::transform(a, b, d.begin(), std::minus<>());
  return d;
}

/// Ranks from 1, ties share their mean rank. `tie_term`: sum of t³ - t over the groups of t ties.
std::vector<double> ranks_of(const std::vector<double>& values, double& tie_term) {
  std::vector<std::size_t> order(values.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::sort(order, {}, [&](std::size_t i) { return values[i]; });
  std::vector<double> ranks(values.size());
  tie_term = 0;
  for (std::size_t begin = 0; begin < order.size();) {
    std::size_t end = begin + 1;
    while (end < order.size() && values[order[end]] == values[order[begin]]) ++end;
    const double shared = (static_cast<double>(begin) + 1 + static_cast<double>(end)) / 2,
                 ties = static_cast<double>(end - begin);
    for (std::size_t i = begin; i < end; ++i) ranks[order[i]] = shared;
    tie_term += ties * ties * ties - ties;
    begin = end;
  }
  return ranks;
}

/// P(W <= statistic) · 2 under the null hypothesis: each of the 2^n signs of the ranks 1 … n is equally likely. The number of
/// sign patterns with a given sum of ranks is the coefficient of the product of (1 + x^rank).
double exact_p(std::size_t n, double statistic) {
  std::vector<double> patterns(n * (n + 1) / 2 + 1);  // at most 2^25, exact in a double
  patterns[0] = 1;
  for (std::size_t rank = 1; rank <= n; ++rank)
    for (std::size_t sum = patterns.size() - 1; sum >= rank; --sum) patterns[sum] += patterns[sum - rank];
  const auto last = patterns.begin() + static_cast<std::ptrdiff_t>(statistic) + 1;
  return std::min(1.0, 2 * std::accumulate(patterns.begin(), last, 0.0) / std::ldexp(1.0, static_cast<int>(n)));
}

double quantile(const std::vector<double>& sorted, double share) {
  const double position = share * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(position);
  const std::size_t above = std::min(below + 1, sorted.size() - 1);
  return std::lerp(sorted[below], sorted[above], position - static_cast<double>(below));
}

}  // namespace

MeanDeviation mean_deviation(std::span<const double> values) {
  const auto n = static_cast<double>(values.size());
  MeanDeviation result{nan, nan, static_cast<std::int64_t>(values.size())};
  if (values.empty()) return result;
  result.mean = std::accumulate(values.begin(), values.end(), 0.0) / n;
  if (values.size() < 2) return result;
  double squares = 0;
  for (const double v : values) squares += (v - result.mean) * (v - result.mean);
  result.deviation = std::sqrt(squares / (n - 1));
  return result;
}

std::vector<SeedMean> seed_means(std::span<const SeedFoldValue> values) {
  std::map<std::uint64_t, std::map<std::int64_t, double>> seeds;  // ordered: sums do not depend on the order of the runs
  for (const auto& [seed, fold, value] : values)
    check(seeds[seed].emplace(fold, value).second, "statistics: fold {} of seed {} occurs twice", fold, seed);
  std::vector<SeedMean> means;
  for (const auto& [seed, folds] : seeds) {
    double sum = 0;
    for (const auto& [fold, value] : folds) sum += value;
    means.push_back({seed, sum / static_cast<double>(folds.size())});
  }
  return means;
}

MeanDeviation over_seeds(std::span<const SeedFoldValue> values) {
  std::vector<double> means;
  for (const SeedMean& mean : seed_means(values)) means.push_back(mean.value);
  return mean_deviation(means);
}

PairedTest paired_t_test(std::span<const double> a, std::span<const double> b) {
  const std::vector<double> d = differences(a, b, "paired t-test");
  if (d.size() < 2) return {nan, nan};
  const MeanDeviation difference = mean_deviation(d);
  if (std::isnan(difference.mean)) return {nan, nan};
  if (difference.deviation == 0) {
    if (difference.mean == 0) return {0, 1};
    return {std::copysign(std::numeric_limits<double>::infinity(), difference.mean), 0};
  }
  const auto n = static_cast<double>(d.size());
  const double t = difference.mean / (difference.deviation / std::sqrt(n));
  const boost::math::students_t_distribution<double> distribution(n - 1);
  return {t, 2 * boost::math::cdf(boost::math::complement(distribution, std::abs(t)))};
}

PairedTest wilcoxon_signed_rank(std::span<const double> a, std::span<const double> b) {
  std::vector<double> d = differences(a, b, "wilcoxon");
  if (d.empty() || std::ranges::any_of(d, [](double x) { return std::isnan(x); })) return {nan, nan};
  const std::size_t pairs = d.size();
  std::erase(d, 0.0);
  if (d.empty()) return {0, 1};
  std::vector<double> sizes(d.size());
  std::ranges::transform(d, sizes.begin(), [](double x) { return std::abs(x); });
  double ties = 0;
  const std::vector<double> ranks = ranks_of(sizes, ties);
  double positive = 0;
  for (std::size_t i = 0; i < d.size(); ++i)
    if (d[i] > 0) positive += ranks[i];
  const auto n = static_cast<double>(d.size());
  const double statistic = std::min(positive, n * (n + 1) / 2 - positive);
  if (pairs <= exact_pairs && d.size() == pairs && ties == 0) return {statistic, exact_p(pairs, statistic)};
  const double mean = n * (n + 1) / 4, variance = (n * (n + 1) * (2 * n + 1) - ties / 2) / 24;
  const double z = (statistic - mean) / std::sqrt(variance);
  return {statistic, 2 * boost::math::cdf(boost::math::complement(boost::math::normal_distribution<double>(), std::abs(z)))};
}

std::vector<double> holm(std::span<const double> p) {
  std::vector<std::size_t> order;
  for (std::size_t i = 0; i < p.size(); ++i)
    if (!std::isnan(p[i])) order.push_back(i);
  std::ranges::stable_sort(order, {}, [&](std::size_t i) { return p[i]; });
  std::vector<double> adjusted(p.size(), nan);
  double highest = 0;  // an adjusted value is never below that of a smaller p
  for (std::size_t k = 0; k < order.size(); ++k) {
    highest = std::max(highest, std::min(1.0, static_cast<double>(order.size() - k) * p[order[k]]));
    adjusted[order[k]] = highest;
  }
  return adjusted;
}

Interval bootstrap_interval(std::span<const SubjectScore> subjects, std::uint64_t seed, int resamples, double level) {
  check(resamples > 0 && level > 0 && level < 1, "bootstrap: {} resamples and level {}", resamples, level);
  if (subjects.size() < 2) return {nan, nan};
  Random random(seed);
  std::vector<double> ratios;
  ratios.reserve(static_cast<std::size_t>(resamples));
  for (int r = 0; r < resamples; ++r) {
    double sum = 0, weight = 0;
    for (std::size_t i = 0; i < subjects.size(); ++i) {
      const SubjectScore& drawn = subjects[random.below(static_cast<std::uint32_t>(subjects.size()))];
      sum += drawn.sum, weight += drawn.weight;
    }
    if (weight > 0) ratios.push_back(sum / weight);
  }
  if (ratios.empty()) return {nan, nan};
  std::ranges::sort(ratios);
  return {quantile(ratios, (1 - level) / 2), quantile(ratios, (1 + level) / 2)};
}

}  // namespace retort
