#include "retort/distill/grid_analysis.h"

#include "retort/distill/method.h"
#include "retort/distill/presets.h"

#include <algorithm>
#include <cmath>

namespace retort {
namespace fs = std::filesystem;
namespace {

const TaskMetrics* test_part(const FinishedRun& run, int task) {
  if (!run.summary.best.test) return nullptr;
  return task == 1 ? &run.summary.best.test->task1 : &run.summary.best.test->task2;
}

void add_unique(std::vector<std::string>& list, const std::string& text) {
  if (std::ranges::find(list, text) == list.end()) list.push_back(text);
}

}  // namespace

std::vector<ClassRow> class_rows(const GridResults& results, const GridRow& row, int task) {
  const DataIdentity& data = results.plan->runs.front().config.data;
  const auto& names = task == 1 ? data.task1_classes : data.task2_classes;
  std::vector<ClassRow> out;
  for (std::size_t k = 0; k < names.size(); ++k) {
    ClassRow line{names[k], 0, {}, nullptr};
    if (row.published) line.published = find_published_class(row.published->method, data.dataset, task, k);
    for (std::size_t m = 0; m < class_measures.size(); ++m) {
      std::vector<SeedFoldValue> values;
      for (const FinishedRun& run : row.runs) {
        const TaskMetrics* metrics = test_part(run, task);
        if (!metrics || k >= metrics->per_class.size()) continue;
        const ClassMetrics& of_class = metrics->per_class[k];
        line.windows = std::max(line.windows, of_class.support);
        values.push_back({run.run->config.seed, run.run->config.fold, 100 * of_class.*class_measures[m].value});
      }
      line.ours[m] = over_seeds(values);
    }
    out.push_back(std::move(line));
  }
  return out;
}

std::optional<TaskMetrics> summed_confusion(const GridRow& row, int task) {
  std::vector<std::int64_t> sum;
  std::int64_t classes = 0;
  for (const FinishedRun& run : row.runs) {
    const TaskMetrics* metrics = test_part(run, task);
    if (!metrics) continue;
    classes = metrics->classes;
    sum.resize(metrics->confusion.size());
    std::ranges::transform(sum, metrics->confusion, sum.begin(), std::plus<>());
  }
  if (sum.empty()) return std::nullopt;
  return task_metrics(sum, classes);
}

Count count_model(const std::string& method, const std::string& arch, std::int64_t classes1, std::int64_t classes2,
                  std::int64_t axes) {
  Context context;
  const auto model = make_method_model(context, method, {arch, {1, axes, 100}, {classes1, classes2}, 0});
  return {model->parameter_count(), model->flops()};
}

std::vector<CostRow> cost_rows(const GridResults& results) {
  std::vector<CostRow> out;
  for (const GridRow& row : results.rows) {
    if (row.runs.empty()) continue;
    const FinishedRun& first = row.runs.front();
    const RunConfig& config = first.run->config;
    CostRow cost{&row, first.summary.parameters, first.summary.flops, {}, std::nan(""), {}, {}, {}, nullptr};
    if (config.arch == "mtl-net-released" || config.arch == "mtl-net-paper")
      cost.flops_one_row =
          count_model(config.method, config.arch, std::ssize(config.data.task1_classes), std::ssize(config.data.task2_classes), 1)
              .flops;
    if (row.published) cost.published = find_published_cost(config.method);
    std::error_code missing;
    const auto bytes = fs::file_size(results.runs / first.run->id / run_files::best, missing);
    if (!missing) cost.mebibytes = static_cast<double>(bytes) / (1 << 20);
    std::vector<double> seconds, energy;
    for (const FinishedRun& run : row.runs) {
      seconds.push_back(run.summary.train_seconds);
      if (!run.summary.energy) continue;
      energy.push_back(run.summary.energy->joules / 3.6e6);
      add_unique(cost.energy_sources, run.summary.energy->source);
    }
    cost.seconds = mean_deviation(seconds);
    cost.kilowatt_hours = mean_deviation(energy);
    out.push_back(std::move(cost));
  }
  return out;
}

SeedBand seed_band(const std::map<std::uint64_t, std::vector<std::vector<EpochRecord>>>& runs_by_seed,
                   double EpochRecord::*value) {
  std::vector<std::vector<double>> by_epoch;  // the seeds' means
  for (const auto& [seed, runs] : runs_by_seed) {
    std::size_t epochs = runs.front().size();
    for (const auto& run : runs) epochs = std::min(epochs, run.size());
    if (by_epoch.size() < epochs) by_epoch.resize(epochs);
    for (std::size_t e = 0; e < epochs; ++e) {
      double sum = 0;
      for (const auto& run : runs) sum += run[e].*value;
      by_epoch[e].push_back(sum / static_cast<double>(runs.size()));
    }
  }
  SeedBand band;
  band.seeds = runs_by_seed.size();
  for (std::vector<double>& values : by_epoch) {
    std::ranges::sort(values);
    const std::size_t half = values.size() / 2;
    band.median.push_back(values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2);
    band.low.push_back(values.front()), band.high.push_back(values.back());
  }
  return band;
}

std::map<std::uint64_t, std::vector<std::vector<EpochRecord>>> epochs_by_seed(const GridResults& results, const GridRow& row) {
  std::map<std::uint64_t, std::vector<std::vector<EpochRecord>>> out;
  for (const FinishedRun& run : row.runs) {
    std::vector<EpochRecord> epochs = load_run(results.runs / run.run->id).epochs;
    if (epochs.empty()) continue;
    const std::int64_t last_stage = epochs.back().stage;
    std::erase_if(epochs, [&](const EpochRecord& e) { return e.stage != last_stage; });
    out[run.run->config.seed].push_back(std::move(epochs));
  }
  return out;
}

std::string varied_number(const Plan& plan) {
  std::string first;
  for (const std::string& key : plan.keys) {
    const auto entry = std::ranges::find(plan.grid, key, &GridEntry::key);
    if (entry == plan.grid.end() || entry->values.size() < 2) continue;
    if (!std::ranges::all_of(entry->values, [](const Json& v) { return v.is_number(); })) continue;
    if (key == "train_fraction") return key;
    if (first.empty()) first = key;
  }
  return first;
}

std::vector<std::string> planned_values(const Plan& plan, const std::string& key) {
  std::vector<std::string> values;
  for (const PlannedRun& run : plan.runs) add_unique(values, option_text(run.config, key));
  return values;
}

namespace {

std::string list(const std::vector<std::string>& values) {
  return values.size() > 4 ? fmt::format("{} values", values.size()) : fmt::format("{}", fmt::join(values, ", "));
}

void add_data(std::vector<Difference>& out, const DataIdentity& data) {
  if (data.synthetic) out.push_back({"recordings", "synthetic, from a physical model", "real"});
  if (data.windows != published_windows(data.dataset))
    out.push_back({"windows", std::to_string(data.windows), std::to_string(published_windows(data.dataset))});
  if (data.window_label == "last") out.push_back({"label of a window", "its last sample’s", "the most frequent", true, false});
}

void add_model(std::vector<Difference>& out, const Plan& plan) {
  if (planned_values(plan, "axis_layout") == std::vector<std::string>{"transposed"})
    out.push_back({"axes", "transposed: a row of a window is an axis", "interleaved in the authors’ code", true, false});
  const auto archs = planned_values(plan, "arch");
  if (archs == std::vector<std::string>{"mtl-net"})
    out.push_back({"model", "mtl-net: all three axes reach the classifier, batch normalisation",
                   "as released: one row in three reaches it, no batch normalisation"});
  if (archs == std::vector<std::string>{"mtl-net-paper"})
    out.push_back({"model", "mtl-net-paper: with batch normalisation", "as released: without it"});
}

void add_protocol(std::vector<Difference>& out, const Plan& plan) {
  const auto splits = planned_values(plan, "split");
  if (splits == std::vector<std::string>{"subject"})
    out.push_back({"split", "by subject: nobody is in two parts", "by window: everybody is in all parts", true, false});
  else if (splits == std::vector<std::string>{"random"})
    out.push_back({"split", "random", "stratified", true, false});
  const auto folds = planned_values(plan, "fold").size(), seeds = planned_values(plan, "seed").size();
  if (folds != 5 || seeds != 5) out.push_back({"folds × seeds", fmt::format("{} × {}", folds, seeds), "5 × 5", true, false});
  const auto fractions = planned_values(plan, "train_fraction");
  if (fractions.size() == 1 && fractions[0] != "1.0")
    out.push_back({"training part used", fmt::format("{:.4g} %", 100 * plan.runs.front().config.train_fraction), "all"});
}

/// Options of a method, against those that the paper names.
void add_options(std::vector<Difference>& out, const Plan& plan) {
  for (const auto& [key, word] : {std::pair{"epochs", "epochs"},
                                  {"batch", "batch"},
                                  {"lr", "learning rate"},
                                  {"alpha", "α"},
                                  {"lambda", "λ"},
                                  {"tau", "τ"},
                                  {"beta", "β"}}) {
    if (std::ranges::find(plan.keys, key) != plan.keys.end()) continue;  // the grid varies it
    for (const PlannedRun& run : plan.runs) {
      const std::string here = option_text(run.config, key);
      const std::string paper = option_text(default_config("paper", run.config.method), key);
      if (here == paper) continue;
      out.push_back({word, here, paper});
      break;
    }
  }
}

}  // namespace

std::vector<Difference> differences(const GridResults& results) {
  const Plan& plan = *results.plan;
  const DataIdentity& data = plan.runs.front().config.data;
  std::vector<Difference> out;
  if (published_windows(data.dataset) == 0) return out;
  add_data(out, data);
  add_model(out, plan);
  add_protocol(out, plan);
  add_options(out, plan);
  std::vector<std::string> devices;
  for (const GridRow& row : results.rows)
    for (const FinishedRun& run : row.runs) add_unique(devices, run.summary.device);
  if (!devices.empty()) out.push_back({"device", list(devices), "NVIDIA A100", false, true});
  if (data.dataset != "sleep") out.push_back({"data of table 7", data.dataset, "sleep", false, true});
  if (results.finished < results.planned)
    out.push_back({"runs finished", fmt::format("{} of {}", results.finished, results.planned), "all"});
  return out;
}

}  // namespace retort
