#include "retort/distill/metrics.h"

#include <numeric>

namespace retort {
namespace {

double ratio(std::int64_t numerator, std::int64_t denominator) {
  return denominator == 0 ? 0.0 : static_cast<double>(numerator) / static_cast<double>(denominator);
}

ClassMetrics class_metrics(std::int64_t tp, std::int64_t fn, std::int64_t fp, std::int64_t total) {
  const std::int64_t tn = total - tp - fn - fp;
  return {.support = tp + fn,
          .accuracy = ratio(tp + tn, total),
          .sensitivity = ratio(tp, tp + fn),
          .ppv = ratio(tp, tp + fp),
          .npv = ratio(tn, tn + fn),
          .f1 = ratio(2 * tp, 2 * tp + fp + fn)};
}

}  // namespace

Json parse_json(std::string_view text, const std::string& where) {
  try {
    return Json::parse(text);
  } catch (const Json::exception& error) {  // of syntax, or a number that is too large
    // The library's message ends in what it expected; ours says where and keeps that in one line.
    std::string reason = error.what();
    if (const auto bracket = reason.find("] "); bracket != std::string::npos) reason = reason.substr(bracket + 2);
    for (char& c : reason)
      if (static_cast<unsigned char>(c) < 0x20) c = ' ';
    fail<InputError>("{}: not valid JSON: {}", where, reason);
  }
}

std::int64_t TaskMetrics::windows() const { return std::accumulate(confusion.begin(), confusion.end(), std::int64_t{0}); }

TaskMetrics task_metrics(std::span<const std::int64_t> confusion, std::int64_t classes) {
  check(classes >= 0 && confusion.size() == static_cast<std::size_t>(classes * classes),
        "task_metrics: a confusion matrix of {0} classes has {0} x {0} counts, this one has {1}", classes, confusion.size());
  TaskMetrics metrics;
  metrics.classes = classes;
  metrics.confusion.assign(confusion.begin(), confusion.end());
  std::vector<std::int64_t> truth(static_cast<std::size_t>(classes)), predicted(truth.size());
  std::int64_t total = 0, correct = 0;
  for (std::size_t row = 0; row < truth.size(); ++row) {
    for (std::size_t column = 0; column < truth.size(); ++column) {
      const std::int64_t count = confusion[row * truth.size() + column];
      check(count >= 0, "task_metrics: negative count {} at row {}, column {}", count, row, column);
      truth[row] += count, predicted[column] += count, total += count;
      if (row == column) correct += count;
    }
  }
  double f1_sum = 0;
  std::int64_t occurring = 0;
  for (std::size_t c = 0; c < truth.size(); ++c) {
    const std::int64_t tp = confusion[c * truth.size() + c];
    metrics.per_class.push_back(class_metrics(tp, truth[c] - tp, predicted[c] - tp, total));
    if (truth[c] + predicted[c] > 0) f1_sum += metrics.per_class.back().f1, ++occurring;
  }
  metrics.accuracy = ratio(correct, total);
  metrics.macro_f1 = occurring == 0 ? 0.0 : f1_sum / static_cast<double>(occurring);
  return metrics;
}

TaskMetrics task_metrics(std::span<const std::int32_t> confusion, std::int64_t classes) {
  const std::vector<std::int64_t> wide(confusion.begin(), confusion.end());
  return task_metrics(wide, classes);
}

Json to_json(const TaskMetrics& metrics) { return fields_to_json(metrics); }

TaskMetrics task_metrics_from_json(const Json& json, const std::string& where) {
  const auto read = fields_from_json<TaskMetrics>(json, where);
  try {
    return task_metrics(read.confusion, read.classes);
  } catch (const Error& error) {
    fail<InputError>("{}: {}", where, error.what());
  }
}

}  // namespace retort
