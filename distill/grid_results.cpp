#include "retort/distill/grid_results.h"

#include "retort/core/file.h"
#include "retort/distill/grid_keys.h"
#include "retort/distill/plan_file.h"
#include "retort/distill/presets.h"
#include "retort/distill/report/grid_report.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <set>

namespace retort {
namespace fs = std::filesystem;
namespace {

/// Whether the paper's table 5 stands beside a row: an MTL-net, and of everything the grid varies the published value.
bool as_published(const Plan& plan, const RunConfig& config) {
  RunConfig usual = default_config(config.preset, config.method);
  usual.data.axis_layout = name(window_preset(config.preset, config.data.dataset).axis_layout);
  return config.arch.starts_with("mtl-net") && std::ranges::all_of(plan.keys, [&](const std::string& key) {
           return key == "method" || key == "arch" || option_text(config, key) == option_text(usual, key);
         });
}

std::vector<std::string> key_values(const Plan& plan, const RunConfig& config) {
  std::vector<std::string> values;
  for (const std::string& key : plan.keys) values.push_back(option_text(config, key));
  return values;
}

/// The positions of a row's values among the grid's, for sorting rows as the file lists them.
std::vector<std::size_t> key_order(const Plan& plan, const RunConfig& config) {
  std::vector<std::size_t> order;
  for (const std::string& key : plan.keys) {
    const auto entry = std::ranges::find(plan.grid, key, &GridEntry::key);
    if (entry == plan.grid.end()) continue;
    const Json value = option(config, key);
    auto at = std::ranges::find(entry->values, value);
    if (at == entry->values.end()) at = std::ranges::find(entry->values, Json(preset_arch));  // it became a name
    order.push_back(static_cast<std::size_t>(at - entry->values.begin()));
  }
  return order;
}

struct PairKey {
  std::uint64_t seed;
  std::int64_t fold;  ///< -1: the mean over folds
  auto operator<=>(const PairKey&) const = default;
};

std::map<PairKey, double> paired_values(const GridRow& row, const Figure& figure, bool by_seed) {
  std::map<PairKey, double> out;
  const auto values = row.values(figure);
  if (by_seed)
    for (const auto& [seed, value] : seed_means(values)) out[{seed, -1}] = value;
  else
    for (const auto& [seed, fold, value] : values) out[{seed, fold}] = value;
  return out;
}

/// Folds that only one of two rows has finished would make unlike means: a seed counts where both have the same folds.
bool same_folds(const GridRow& a, const GridRow& b, std::uint64_t seed) {
  const auto folds = [&](const GridRow& row) {
    std::set<std::int64_t> out;
    for (const FinishedRun& run : row.runs)
      if (run.run->config.seed == seed) out.insert(run.run->config.fold);
    return out;
  };
  return folds(a) == folds(b);
}

void compare(Comparison& c, const GridRow& a, const GridRow& b) {
  const auto of_a = paired_values(a, c.figure, c.by_seed), of_b = paired_values(b, c.figure, c.by_seed);
  std::vector<double> left, right, difference;
  for (const auto& [key, value] : of_a) {
    const auto other = of_b.find(key);
    if (other == of_b.end() || (c.by_seed && !same_folds(a, b, key.seed))) continue;
    left.push_back(value), right.push_back(other->second), difference.push_back(value - other->second);
  }
  c.pairs = std::ssize(left);
  c.difference = mean_deviation(difference).mean;
  c.t = paired_t_test(left, right);
  c.wilcoxon = wilcoxon_signed_rank(left, right);
}

void correct(std::span<Comparison> family) {
  std::vector<double> t, w;
  for (const Comparison& c : family) t.push_back(c.t.p), w.push_back(c.wilcoxon.p);
  t = holm(t), w = holm(w);
  for (std::size_t i = 0; i < family.size(); ++i) family[i].t_holm = t[i], family[i].wilcoxon_holm = w[i];
}

/// All pairs of rows of one stratum, figure and kind of pairs.
std::vector<Comparison> family(const std::vector<const GridRow*>& rows, std::size_t key, const Plan& plan, const Figure& figure,
                               bool by_seed) {
  std::vector<Comparison> out;
  for (std::size_t i = 0; i < rows.size(); ++i)
    for (std::size_t j = i + 1; j < rows.size(); ++j) {
      Comparison c;
      c.key = plan.keys[key];
      c.a = rows[i]->keys[key], c.b = rows[j]->keys[key];
      c.stratum = rows[i]->keys;
      c.stratum.erase(c.stratum.begin() + static_cast<std::ptrdiff_t>(key));
      c.figure = figure;
      c.by_seed = by_seed;
      compare(c, *rows[i], *rows[j]);
      if (rows[i]->published && rows[j]->published && rows[i]->published->dataset == "sleep" && figure.task == 1)
        c.published = published_p(figure.metric(), c.a, c.b);
      out.push_back(std::move(c));
    }
  correct(out);
  return out;
}

/// The rows are compared in the first key that has several values, stratum by stratum of the others.
std::vector<Comparison> compare_rows(const Plan& plan, const std::vector<GridRow>& rows) {
  std::size_t key = 0;
  const auto several = [&](std::size_t k) {
    return std::ranges::any_of(rows, [&](const GridRow& row) { return row.keys[k] != rows[0].keys[k]; });
  };
  while (key < plan.keys.size() && !several(key)) ++key;
  std::vector<Comparison> out;
  if (key == plan.keys.size()) return out;
  std::vector<std::pair<std::vector<std::string>, std::vector<const GridRow*>>> strata;
  for (const GridRow& row : rows) {
    auto others = row.keys;
    others.erase(others.begin() + static_cast<std::ptrdiff_t>(key));
    auto found = std::ranges::find(strata, others, [](const auto& s) { return s.first; });
    if (found == strata.end()) found = strata.insert(strata.end(), {others, {}});
    found->second.push_back(&row);
  }
  for (const bool by_seed : {true, false})
    for (const auto& [others, members] : strata)
      for (const Figure& figure : grid_figures)
        for (Comparison& c : family(members, key, plan, figure, by_seed)) out.push_back(std::move(c));
  return out;
}

}  // namespace

std::optional<double> FinishedRun::value(const Figure& figure) const {
  const auto& part = figure.test ? summary.best.test : summary.best.val;
  if (!part) return std::nullopt;
  const TaskMetrics& task = figure.task == 1 ? part->task1 : part->task2;
  return 100 * (figure.accuracy ? task.accuracy : task.macro_f1);
}

std::vector<SeedFoldValue> GridRow::values(const Figure& figure) const {
  std::vector<SeedFoldValue> out;
  for (const FinishedRun& run : runs)
    if (const auto value = run.value(figure)) out.push_back({run.run->config.seed, run.run->config.fold, *value});
  return out;
}

Interval GridRow::interval(const Figure& figure) const {
  if (!figure.test || !figure.accuracy) return {std::nan(""), std::nan("")};
  return by_subject[static_cast<std::size_t>(figure.task - 1)];
}

static Interval subject_interval(const GridRow& row, int task) {
  std::map<std::string, SubjectScore> scores;
  for (const FinishedRun& run : row.runs)
    for (std::size_t i = 0; i < run.subjects.subject.size(); ++i) {
      SubjectScore& score = scores[run.subjects.subject[i]];
      score.sum += 100 * static_cast<double>(task == 1 ? run.subjects.correct1[i] : run.subjects.correct2[i]);
      score.weight += static_cast<double>(run.subjects.windows[i]);
    }
  std::vector<SubjectScore> list;
  for (const auto& [subject, score] : scores) list.push_back(score);
  return bootstrap_interval(list);
}

GridResults grid_results(const Plan& plan, const fs::path& runs) {
  GridResults results{&plan, runs, {}, {}, std::ssize(plan.runs), 0};
  std::map<std::pair<std::vector<std::size_t>, std::vector<std::string>>, GridRow> rows;
  for (const PlannedRun& run : plan.runs) {
    const auto keys = key_values(plan, run.config);
    GridRow& row = rows[{key_order(plan, run.config), keys}];
    row.keys = keys;
    ++row.planned;
    if (as_published(plan, run.config)) row.published = find_published(run.config.method, run.config.data.dataset);
    if (!run_finished(runs, run.id)) continue;
    ++results.finished;
    row.runs.push_back({&run, read_summary(runs / run.id), read_subjects(runs / run.id)});
  }
  for (auto& [order, row] : rows) {
    row.by_subject = {subject_interval(row, 1), subject_interval(row, 2)};
    results.rows.push_back(std::move(row));
  }
  results.comparisons = compare_rows(plan, results.rows);
  return results;
}

std::vector<fs::path> write_grid_results(const GridResults& results, const fs::path& directory) {
  write_plan(directory, *results.plan);
  std::vector<fs::path> written;
  const auto write = [&](const char* file, const std::string& text) {
    written.push_back(directory / file);
    write_file_atomically(written.back(), text);
  };
  write("results.csv", results_csv(results));
  write("results.tex", results_tex(results));
  write("tests.csv", tests_csv(results));
  write("tests.tex", tests_tex(results));
  write("classes.csv", classes_csv(results));
  write("classes.tex", classes_tex(results));
  write("costs.csv", costs_csv(results));
  write("costs.tex", costs_tex(results));
  write("runs.csv", runs_csv(results));
  write("times.csv", times_csv(results));
  write(run_files::report, grid_report_html(results));
  return written;
}

fs::path write_collection(const fs::path& directory) {
  std::vector<std::unique_ptr<Plan>> plans;
  std::vector<GridResults> grids;
  std::vector<fs::path> directories = grids_in(directory);
  std::ranges::stable_sort(directories, {}, [](const fs::path& grid) {  // as in the paper, then others by name
    static constexpr const char* order[] = {"table5", "table6", "lambda", "train-ratio", "table7", "table8", "curves"};
    return std::ranges::find(order, grid.filename().string()) - std::ranges::begin(order);
  });
  for (const fs::path& grid : directories) {
    plans.push_back(std::make_unique<Plan>(load_plan(grid)));
    grids.push_back(grid_results(*plans.back(), runs_of(grid)));
  }
  const fs::path page = directory / run_files::report;
  write_file_atomically(page, collection_report_html(grids));
  return page;
}

}  // namespace retort
