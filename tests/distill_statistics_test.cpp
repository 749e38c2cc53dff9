// The statistics against SciPy (tests/golden/statistics_fixtures.py) and, where nothing is left to compute, against their
// definitions.
#include "retort/distill/statistics.h"

#include "catch.h"
#include "retort/core/error.h"
#include "retort/core/file.h"
#include "retort/core/random.h"

#include <nlohmann/json.hpp>

#include <cmath>
#include <limits>
#include <random>

using namespace retort;

namespace {

const nlohmann::json& golden() {
  static const auto file = nlohmann::json::parse(read_file(RETORT_GOLDEN_DIR "/statistics.json"));
  return file;
}

std::vector<double> list(const nlohmann::json& json) { return json.get<std::vector<double>>(); }

void check_test(const PairedTest& ours, const nlohmann::json& scipy) {
  CHECK(ours.statistic == Approx(scipy.at("statistic").get<double>()).epsilon(1e-10));
  CHECK(ours.p == Approx(scipy.at("p").get<double>()).epsilon(1e-9));
}

constexpr double infinity = std::numeric_limits<double>::infinity();

}  // namespace

TEST_CASE("paired tests agree with SciPy") {
  for (const auto& c : golden().at("t_test")) {
    INFO("t-test of " << c.at("a").size() << " pairs");
    check_test(paired_t_test(list(c.at("a")), list(c.at("b"))), c);
  }
  int exact = 0, approximate = 0;
  for (const auto& c : golden().at("wilcoxon")) {
    INFO("Wilcoxon of " << c.at("a").size() << " pairs");
    (c.at("exact").get<bool>() ? exact : approximate)++;
    check_test(wilcoxon_signed_rank(list(c.at("a")), list(c.at("b"))), c);
  }
  CHECK(exact >= 4);
  CHECK(approximate >= 4);
}

TEST_CASE("paired tests do not care for order and change only their sign when the sides are swapped") {
  const auto seed = std::random_device{}();
  CAPTURE(seed);
  Random random(seed);
  for (const int n : {2, 7, 25, 31}) {
    std::vector<double> a, b;
    for (int i = 0; i < n; ++i) a.push_back(random.normal()), b.push_back(random.normal());
    const PairedTest t = paired_t_test(a, b), back = paired_t_test(b, a);
    CHECK(t.statistic == Approx(-back.statistic));
    CHECK(t.p == Approx(back.p));
    CHECK(wilcoxon_signed_rank(a, b).p == wilcoxon_signed_rank(b, a).p);
    std::ranges::reverse(a), std::ranges::reverse(b);
    CHECK(paired_t_test(a, b).p == Approx(t.p));
    CHECK(t.p >= 0);
    CHECK(t.p <= 1);
  }
}

TEST_CASE("degenerate pairs have defined answers") {
  const std::vector<double> none, one{0.5}, same{0.25, 0.5, 0.75}, more{1.25, 1.5, 1.75};
  CHECK(std::isnan(paired_t_test(none, none).p));
  CHECK(std::isnan(paired_t_test(one, one).p));
  CHECK(paired_t_test(same, same).p == 1);
  CHECK(paired_t_test(same, same).statistic == 0);
  CHECK(paired_t_test(more, same).statistic == infinity);
  CHECK(paired_t_test(same, more).statistic == -infinity);
  CHECK(paired_t_test(same, more).p == 0);
  CHECK(std::isnan(wilcoxon_signed_rank(none, none).p));
  CHECK(wilcoxon_signed_rank(same, same).p == 1);
  CHECK(wilcoxon_signed_rank(one, none.empty() ? std::vector<double>{0.25} : none).p == 1);  // one pair says nothing
  const std::vector<double> broken{std::nan(""), 0.5, 0.75};
  CHECK(std::isnan(paired_t_test(broken, same).p));
  CHECK(std::isnan(wilcoxon_signed_rank(broken, same).p));
  CHECK_THROWS_AS(paired_t_test(one, same), Error);
  CHECK_THROWS_AS(wilcoxon_signed_rank(one, same), Error);
  // Five pairs, all better: the smallest p that the exact test can give, 2 / 2^5.
  const std::vector<double> low{1, 2, 3, 4, 5}, high{1.1, 2.2, 3.3, 4.4, 5.5};
  CHECK(wilcoxon_signed_rank(high, low).p == 0.0625);
}

TEST_CASE("Holm's correction agrees with its definition; NaNs are not tests") {
  for (const auto& c : golden().at("holm")) {
    const auto adjusted = holm(list(c.at("p"))), expected = list(c.at("adjusted"));
    REQUIRE(adjusted.size() == expected.size());
    for (std::size_t i = 0; i < expected.size(); ++i) CHECK(adjusted[i] == Approx(expected[i]).epsilon(1e-12));
  }
  // By hand: 0.005 · 4, 0.01 · 3, then max(0.03 · 2, …) and 0.04 raised to it.
  const std::vector<double> p{0.01, 0.04, 0.03, 0.005}, adjusted = holm(p);
  CHECK(adjusted[3] == Approx(0.02));
  CHECK(adjusted[0] == Approx(0.03));
  CHECK(adjusted[2] == Approx(0.06));
  CHECK(adjusted[1] == Approx(0.06));
  const std::vector<double> gaps{std::nan(""), 0.03}, filled = holm(gaps);
  CHECK(std::isnan(filled[0]));
  CHECK(filled[1] == Approx(0.03));
  CHECK(holm(std::vector<double>{}).empty());
}

TEST_CASE("mean and deviation over seeds of the means over folds") {
  for (const auto& c : golden().at("over_seeds")) {
    std::vector<SeedFoldValue> values;
    std::uint64_t seed = 40;
    for (const auto& folds : c.at("values")) {
      std::int64_t fold = 0;
      for (const double value : list(folds)) values.push_back({seed, fold++, value});
      --seed;  // falling: the order of the runs must not matter
    }
    const MeanDeviation result = over_seeds(values);
    CHECK(result.mean == Approx(c.at("mean").get<double>()).epsilon(1e-12));
    CHECK(result.deviation == Approx(c.at("deviation").get<double>()).epsilon(1e-9));
    CHECK(result.count == 4);
    std::ranges::reverse(values);
    CHECK(over_seeds(values).mean == result.mean);  // bit for bit
    CHECK(over_seeds(values).deviation == result.deviation);
    values.push_back(values.front());
    CHECK_THROWS_AS(over_seeds(values), Error);
  }
  CHECK(std::isnan(mean_deviation({}).mean));
  const std::vector<double> one{0.5};
  CHECK(mean_deviation(one).mean == 0.5);
  CHECK(std::isnan(mean_deviation(one).deviation));
}

TEST_CASE("the bootstrap draws subjects as the fixture's script does, and covers the truth about as often as it says") {
  for (const auto& c : golden().at("bootstrap")) {
    std::vector<SubjectScore> subjects;
    for (const auto& s : c.at("subjects")) subjects.push_back({s.at(0), s.at(1)});
    const Interval interval = bootstrap_interval(subjects, c.at("seed"), c.at("resamples"), c.at("level"));
    CHECK(interval.low == Approx(c.at("low").get<double>()).epsilon(1e-12));
    CHECK(interval.high == Approx(c.at("high").get<double>()).epsilon(1e-12));
  }
  const auto seed = std::random_device{}();
  CAPTURE(seed);
  Random random(seed);
  int covered = 0;
  for (int trial = 0; trial < 200; ++trial) {
    std::vector<SubjectScore> subjects;
    for (int i = 0; i < 40; ++i) subjects.push_back({70 + 5 * random.normal(), 100});
    const Interval interval = bootstrap_interval(subjects, seed + static_cast<unsigned>(trial), 400);
    covered += interval.low <= 0.7 && 0.7 <= interval.high ? 1 : 0;
  }
  // 95 % nominal; with 40 subjects the percentile interval covers about 94 %, five deviations below that is 170.
  CHECK(covered >= 170);
  const std::vector<SubjectScore> one{{5, 10}}, empty{{0, 0}, {0, 0}};
  CHECK(std::isnan(bootstrap_interval(one).low));
  CHECK(std::isnan(bootstrap_interval(empty).low));
  const std::vector<SubjectScore> alike{{5, 10}, {5, 10}, {5, 10}};
  CHECK(bootstrap_interval(alike).low == 0.5);
  CHECK(bootstrap_interval(alike).high == 0.5);
}
