// Results as CSV (figures in percent with four decimals, an empty field for "not there") and for the terminal.
#include "retort/distill/grid_analysis.h"
#include "retort/distill/report/format.h"
#include "retort/distill/table_text.h"

#include <algorithm>
#include <cmath>

namespace retort {
PublishedValue published_value(const PublishedResult& result, const Figure& figure) {
  const PublishedSplit& split = figure.test ? result.test : result.val;
  if (figure.task == 1) return figure.accuracy ? split.accuracy1 : split.f1_1;
  return figure.accuracy ? split.accuracy2 : split.f1_2;
}

std::string row_name(const Plan& plan, const GridRow& row) {
  std::string name = row.keys.front();
  for (std::size_t k = 1; k < row.keys.size(); ++k) name += fmt::format(", {} {}", plan.keys[k], row.keys[k]);
  return name;
}

static const RunConfig& config_of(const GridResults& results) { return results.plan->runs.front().config; }

std::string data_text(const GridResults& results) {
  const RunConfig& c = config_of(results);
  std::string text = fmt::format("{}{}", c.data.dataset, c.data.synthetic ? " (SYNTHETIC data)" : "");
  const auto& keys = results.plan->keys;
  const auto add = [&](const char* key, const std::string& words) {  // what all rows share
    if (std::ranges::find(keys, key) == keys.end()) text += ", " + words;
  };
  add("preset", c.preset + " preset");
  add("split", c.split + " split");
  add("epochs", fmt::format("{} epoch{}", c.epochs, c.epochs == 1 ? "" : "s"));
  if (c.train_fraction < 1) add("train_fraction", fmt::format("{:.4g} % of the training part", 100 * c.train_fraction));
  return text;
}

std::string count_text(const GridResults& results) {
  return results.finished == results.planned ? fmt::format("{} runs", results.planned)
                                             : fmt::format("INCOMPLETE: {} of {} runs", results.finished, results.planned);
}

std::string results_csv(const GridResults& results) {
  std::string out = csv_line(results.plan->keys + Fields{"split", "task", "metric", "runs", "planned", "seeds", "mean", "std",
                                                         "low95", "high95", "paper_mean", "paper_std", "difference"});
  for (const GridRow& row : results.rows)
    for (const Figure& figure : grid_figures) {
      const auto values = row.values(figure);
      const MeanDeviation ours = over_seeds(values);
      const Interval interval = row.interval(figure);
      Fields paper(3);
      if (row.published) {
        const PublishedValue p = published_value(*row.published, figure);
        paper = {number(p.mean, 2), number(p.deviation, 2), number(ours.mean - p.mean)};
      }
      out += csv_line(row.keys +
                      Fields{figure.split(), std::to_string(figure.task), figure.metric(), std::to_string(values.size()),
                             std::to_string(row.planned), std::to_string(ours.count), number(ours.mean), number(ours.deviation),
                             number(interval.low), number(interval.high)} +
                      paper);
    }
  return out;
}

std::string tests_csv(const GridResults& results) {
  const std::string key = results.comparisons.empty() ? "method" : results.comparisons.front().key;
  Fields others;
  for (const std::string& name : results.plan->keys)
    if (name != key) others.push_back(name);
  std::string out = csv_line(others + Fields{"key", "a", "b", "split", "task", "metric", "pairs_of", "pairs", "difference", "t",
                                             "t_p", "t_p_holm", "wilcoxon", "wilcoxon_p", "wilcoxon_p_holm", "paper_p"});
  for (const Comparison& c : results.comparisons)
    out += csv_line(c.stratum + Fields{c.key, c.a, c.b, c.figure.split(), std::to_string(c.figure.task), c.figure.metric(),
                                       c.by_seed ? "seeds" : "runs", std::to_string(c.pairs), number(c.difference),
                                       significant(c.t.statistic), significant(c.t.p), significant(c.t_holm),
                                       significant(c.wilcoxon.statistic), significant(c.wilcoxon.p), significant(c.wilcoxon_holm),
                                       c.published ? significant(*c.published) : ""});
  return out;
}

std::string classes_csv(const GridResults& results) {
  std::string out =
      csv_line(results.plan->keys + Fields{"task", "class", "name", "metric", "mean", "std", "paper", "difference"});
  for (const GridRow& row : results.rows)
    for (const int task : {1, 2}) {
      int label = 0;
      for (const ClassRow& line : class_rows(results, row, task)) {
        for (std::size_t m = 0; m < class_measures.size(); ++m) {
          const ClassMeasure& measure = class_measures[m];
          const MeanDeviation& ours = line.ours[m];
          Fields paper(2);
          if (line.published && measure.published) {
            const double value = line.published->*measure.published;
            paper = {number(value, 2), number(ours.mean - value)};
          }
          out += csv_line(row.keys +
                          Fields{std::to_string(task), std::to_string(label), line.name, measure.name, number(ours.mean),
                                 number(ours.deviation)} +
                          paper);
        }
        ++label;
      }
    }
  return out;
}

std::string runs_csv(const GridResults& results) {
  Fields heading = results.plan->keys + Fields{"seed", "fold", "run", "best_epoch"};
  for (const Figure& figure : grid_figures)
    heading.push_back(fmt::format("{}_{}_{}", figure.split(), figure.metric(), figure.task));
  std::string out = csv_line(heading);
  for (const GridRow& row : results.rows)
    for (const FinishedRun& run : row.runs) {
      Fields line = row.keys + Fields{std::to_string(run.run->config.seed), std::to_string(run.run->config.fold), run.run->id,
                                      std::to_string(run.summary.best.epoch)};
      for (const Figure& figure : grid_figures) line.push_back(number(run.value(figure).value_or(std::nan(""))));
      out += csv_line(line);
    }
  return out;
}

std::string times_csv(const GridResults& results) {
  std::string out =
      csv_line(results.plan->keys + Fields{"seed", "fold", "run", "parameters", "flops", "steps", "train_seconds", "energy_kwh",
                                           "energy_source", "device", "version", "paper_train_seconds", "paper_energy_kwh"});
  for (const GridRow& row : results.rows)
    for (const FinishedRun& run : row.runs) {
      const Summary& s = run.summary;
      const PublishedCost* paper = row.published ? find_published_cost(run.run->config.method) : nullptr;
      out += csv_line(row.keys + Fields{std::to_string(run.run->config.seed), std::to_string(run.run->config.fold), run.run->id,
                                        std::to_string(s.parameters), std::to_string(s.flops), std::to_string(s.steps),
                                        number(s.train_seconds, 3), s.energy ? number(s.energy->joules / 3.6e6, 6) : "",
                                        s.energy ? s.energy->source : "not measured", s.device, s.version,
                                        paper ? number(paper->seconds, 0) : "", paper ? number(paper->kilowatt_hours, 3) : ""});
    }
  return out;
}

std::string costs_csv(const GridResults& results) {
  std::string out =
      csv_line(results.plan->keys + Fields{"runs", "mebibytes", "parameters", "flops", "flops_one_row", "train_seconds",
                                           "train_seconds_std", "energy_kwh", "energy_runs", "paper_mebibytes",
                                           "paper_parameters_m", "paper_flops", "paper_train_seconds", "paper_energy_kwh"});
  for (const CostRow& cost : cost_rows(results)) {
    const PublishedCost* p = cost.published;
    out += csv_line(cost.row->keys +
                    Fields{std::to_string(cost.row->runs.size()), number(cost.mebibytes, 3), std::to_string(cost.parameters),
                           std::to_string(cost.flops), cost.flops_one_row ? std::to_string(*cost.flops_one_row) : "",
                           number(cost.seconds.mean, 3), number(cost.seconds.deviation, 3), number(cost.kilowatt_hours.mean, 6),
                           std::to_string(cost.kilowatt_hours.count)} +
                    (p ? Fields{number(p->mebibytes, 3), number(p->parameters, 3), std::to_string(p->flops),
                                number(p->seconds, 0), number(p->kilowatt_hours, 3)}
                       : Fields(5)));
  }
  return out;
}

std::string results_text(const GridResults& results) {
  const bool synthetic = config_of(results).data.synthetic;
  std::string out = fmt::format("{}: {}; {}\npercent, mean ± deviation over seeds of the mean over folds\n", results.plan->name,
                                data_text(results), count_text(results));
  std::vector<Fields> lines{{""}};
  for (const Figure& figure : grid_figures)
    lines[0].push_back(fmt::format("{} {} {}", figure.split(), figure.accuracy ? "acc" : "F1", figure.task));
  for (const GridRow& row : results.rows) {
    lines.push_back({row_name(*results.plan, row)});
    for (const Figure& figure : grid_figures) lines.back().push_back(plus_minus(over_seeds(row.values(figure)), " ± "));
    if (!row.published) continue;
    lines.push_back({synthetic ? "  paper, real data" : "  in the paper"});
    for (const Figure& figure : grid_figures) {
      const PublishedValue p = published_value(*row.published, figure);
      lines.back().push_back(plus_minus({p.mean, p.deviation, 5}, " ± "));
    }
  }
  out += aligned(lines);
  std::vector<Fields> tests;
  for (const Comparison& c : results.comparisons)
    if (c.by_seed && c.figure.test && c.figure.task == 1 && c.figure.accuracy && c.pairs > 1) {
      std::string pair = fmt::format("{} – {}", c.a, c.b);
      for (const std::string& value : c.stratum) pair += ", " + value;
      tests.push_back({pair, std::to_string(c.pairs), number(c.difference, 2), fmt::format("{:.4f}", c.t.p),
                       fmt::format("{:.4f}", c.t_holm), fmt::format("{:.4f}", c.wilcoxon.p),
                       c.published ? fmt::format("{:.4f}", *c.published) : ""});
    }
  if (tests.empty()) return out;
  tests.insert(tests.begin(), {"test accuracy 1", "seeds", "difference", "p (t-test)", "p (Holm)", "p (Wilcoxon)", "p (paper)"});
  return out + "\npaired tests of the seeds' means (all figures: tests.csv)\n" + aligned(tests);
}

}  // namespace retort
