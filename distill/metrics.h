// What a confusion matrix tells: accuracy, macro F1 and, class by class, the measures of the paper's table 6.
#pragma once

#include "retort/distill/json_fields.h"

#include <cstdint>
#include <span>
#include <vector>

namespace retort {

/// One class against all others. TP, FP, FN, TN counted over all N windows; a measure whose denominator is 0 is 0.
struct ClassMetrics {
  std::int64_t support = 0;  ///< windows whose true class this is
  double accuracy = 0;       ///< (TP + TN) / N
  double sensitivity = 0;    ///< TP / (TP + FN), also called recall
  double ppv = 0;            ///< TP / (TP + FP), positive predictive value, also called precision
  double npv = 0;            ///< TN / (TN + FN), negative predictive value
  double f1 = 0;             ///< 2 TP / (2 TP + FP + FN)
};

struct TaskMetrics {
  std::int64_t classes = 0;
  double accuracy = 0;  ///< correct windows / all windows; 0 when there are none
  /// Mean of the classes' F1 over the classes that occur among the true or the predicted labels, as scikit-learn's
  /// f1_score(average="macro", zero_division=0): a class that occurs in neither is left out, one never hit counts as 0.
  double macro_f1 = 0;
  std::vector<ClassMetrics> per_class;  ///< `classes` of them
  std::vector<std::int64_t> confusion;  ///< (classes, classes), row = true class, column = predicted class

  std::int64_t windows() const;
};

/// `confusion`: (classes, classes), row = true class. Throws Error when the size is not classes² or a count is negative.
TaskMetrics task_metrics(std::span<const std::int64_t> confusion, std::int64_t classes);
/// The same from the counts as ConfusionKernels leaves them.
TaskMetrics task_metrics(std::span<const std::int32_t> confusion, std::int64_t classes);

template <FieldsOf<ClassMetrics> S, class V>
void visit_fields(S& m, V& visit) {
  visit("support", m.support), visit("accuracy", m.accuracy), visit("sensitivity", m.sensitivity);
  visit("ppv", m.ppv), visit("npv", m.npv), visit("f1", m.f1);
}

template <FieldsOf<TaskMetrics> S, class V>
void visit_fields(S& m, V& visit) {
  visit("classes", m.classes), visit("accuracy", m.accuracy), visit("macro_f1", m.macro_f1);
  visit("per_class", m.per_class), visit("confusion", m.confusion);
}

Json to_json(const TaskMetrics& metrics);
/// Reads what to_json wrote, strictly. The figures are derived again from the confusion matrix, so a file cannot contradict
/// itself.
TaskMetrics task_metrics_from_json(const Json& json, const std::string& where);

}  // namespace retort
