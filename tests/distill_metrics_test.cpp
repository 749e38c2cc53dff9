#include "retort/distill/metrics.h"

#include "catch.h"

#include <random>

namespace {

using namespace retort;

TEST_CASE("metrics of a matrix worked out by hand") {
  // Rows true, columns predicted; 20 windows.
  const std::vector<std::int64_t> confusion = {5, 2, 0,  //
                                               1, 6, 1,  //
                                               0, 2, 3};
  const TaskMetrics m = task_metrics(confusion, 3);
  CHECK(m.windows() == 20);
  CHECK(m.accuracy == Approx(14.0 / 20));
  // Class 1: TP 6, FN 2, FP 4, TN 8.
  const ClassMetrics& c = m.per_class[1];
  CHECK(c.support == 8);
  CHECK(c.accuracy == Approx(14.0 / 20));
  CHECK(c.sensitivity == Approx(6.0 / 8));
  CHECK(c.ppv == Approx(6.0 / 10));
  CHECK(c.npv == Approx(8.0 / 10));
  CHECK(c.f1 == Approx(12.0 / 18));
  CHECK(m.macro_f1 == Approx((10.0 / 13 + 12.0 / 18 + 6.0 / 9) / 3));
}

TEST_CASE("macro F1 treats absent classes as scikit-learn does") {
  SECTION("a class in neither truth nor prediction is left out") {
    // f1_score([0, 0, 2, 2], [0, 0, 2, 0], average="macro") = 0.7333…
    CHECK(task_metrics(std::vector<std::int64_t>{2, 0, 0, 0, 0, 0, 1, 0, 1}, 3).macro_f1 == Approx((0.8 + 2.0 / 3) / 2));
  }
  SECTION("a class that is predicted but never true counts as 0") {
    // f1_score([0, 0], [0, 1], average="macro") = 0.3333…
    CHECK(task_metrics(std::vector<std::int64_t>{1, 1, 0, 0}, 2).macro_f1 == Approx((2.0 / 3 + 0) / 2));
  }
  SECTION("no windows at all: every measure is 0, none is NaN") {
    const TaskMetrics m = task_metrics(std::vector<std::int64_t>(9, 0), 3);
    CHECK(m.accuracy == 0);
    CHECK(m.macro_f1 == 0);
    for (const ClassMetrics& c : m.per_class)
      CHECK((c.accuracy == 0 && c.sensitivity == 0 && c.ppv == 0 && c.npv == 0 && c.f1 == 0));
  }
}

TEST_CASE("metrics agree with counting windows one by one") {
  const unsigned seed = std::random_device{}();
  CAPTURE(seed);
  std::mt19937 random(seed);
  for (const std::int64_t classes : {1, 2, 3, 13, 18}) {
    CAPTURE(classes);
    std::uniform_int_distribution<std::int64_t> label(0, classes - 1);
    std::vector<std::pair<std::int64_t, std::int64_t>> windows(257);
    std::vector<std::int32_t> confusion(static_cast<std::size_t>(classes * classes));
    for (auto& [truth, predicted] : windows) {
      truth = label(random), predicted = label(random);
      ++confusion[static_cast<std::size_t>(truth * classes + predicted)];
    }
    const TaskMetrics m = task_metrics(confusion, classes);
    for (std::int64_t c = 0; c < classes; ++c) {
      double tp = 0, tn = 0, fp = 0, fn = 0;
      for (const auto& [truth, predicted] : windows) {
        tp += truth == c && predicted == c, tn += truth != c && predicted != c;
        fp += truth != c && predicted == c, fn += truth == c && predicted != c;
      }
      const auto ratio = [](double a, double b) { return b == 0 ? 0 : a / b; };
      const ClassMetrics& k = m.per_class[static_cast<std::size_t>(c)];
      CHECK(k.accuracy == Approx(ratio(tp + tn, 257)));
      CHECK(k.sensitivity == Approx(ratio(tp, tp + fn)));
      CHECK(k.ppv == Approx(ratio(tp, tp + fp)));
      CHECK(k.npv == Approx(ratio(tn, tn + fn)));
      CHECK(k.f1 == Approx(ratio(2 * tp, 2 * tp + fp + fn)));
    }
  }
}

TEST_CASE("a confusion matrix of the wrong size or with negative counts is refused") {
  CHECK_THROWS_AS(task_metrics(std::vector<std::int64_t>(8), 3), Error);
  CHECK_THROWS_AS(task_metrics(std::vector<std::int64_t>{1, -1, 0, 0}, 2), Error);
}

TEST_CASE("metrics survive JSON, and JSON that is wrong is named") {
  const TaskMetrics m = task_metrics(std::vector<std::int64_t>{5, 2, 1, 6}, 2);
  Json json = to_json(m);
  const TaskMetrics back = task_metrics_from_json(json, "summary.json");
  CHECK(back.confusion == m.confusion);
  CHECK(back.macro_f1 == m.macro_f1);
  json["surprise"] = 1;
  CHECK_THROWS_WITH(task_metrics_from_json(json, "summary.json"), "summary.json: unknown key 'surprise'");
  json.erase("surprise");
  json["classes"] = "two";
  CHECK_THROWS_WITH(task_metrics_from_json(json, "summary.json"), "summary.json: 'classes' must be a whole number, it is string");
  json["classes"] = 3;
  CHECK_THROWS_AS(task_metrics_from_json(json, "summary.json"), InputError);
}

}  // namespace
