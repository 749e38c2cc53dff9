// Results as text. CSV: RFC 4180, figures in percent with four decimals, an empty field for "not there". LaTeX needs booktabs.
#include "retort/distill/grid_results.h"
#include "retort/distill/report/format.h"

#include <algorithm>
#include <cmath>

namespace retort {
namespace {

using Fields = std::vector<std::string>;

std::string csv_field(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string out = "\"";
  for (const char c : text) out += c == '"' ? "\"\"" : std::string(1, c);
  return out + "\"";
}

std::string csv_line(const Fields& fields) {
  std::string out;
  for (const std::string& field : fields) out += (&field == &fields.front() ? "" : ",") + csv_field(field);
  return out + "\n";
}

std::string number(double value, int decimals = 4) {
  if (std::isnan(value)) return "";
  const std::string text = fmt::format("{:.{}f}", value, decimals);
  return text.starts_with('-') && text.find_first_not_of("-0.") == text.npos ? text.substr(1) : text;  // no "-0.0000"
}

std::string significant(double value) { return std::isnan(value) ? "" : fmt::format("{:.6g}", value); }

Fields operator+(Fields a, const Fields& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

PublishedValue published_value(const PublishedResult& result, const Figure& figure) {
  const PublishedSplit& split = figure.test ? result.test : result.val;
  if (figure.task == 1) return figure.accuracy ? split.accuracy1 : split.f1_1;
  return figure.accuracy ? split.accuracy2 : split.f1_2;
}

std::string plus_minus(const MeanDeviation& value, const char* sign) {
  if (std::isnan(value.mean)) return kNoValue;
  return std::isnan(value.deviation) ? number(value.mean, 2) : number(value.mean, 2) + sign + number(value.deviation, 2);
}

/// Keys whose name or value a table shows: those in which rows differ, at least the method.
std::string row_name(const GridResults& results, const GridRow& row) {
  std::string name = row.keys.front();
  for (std::size_t k = 1; k < row.keys.size(); ++k) name += fmt::format(", {} {}", results.plan->keys[k], row.keys[k]);
  return name;
}

std::string tex_text(const std::string& text) {
  std::string out;
  for (const char c : text)
    out += std::string_view("_&%#$").find(c) != std::string_view::npos ? std::string("\\") + c : std::string(1, c);
  return out;
}

const RunConfig& config_of(const GridResults& results) { return results.plan->runs.front().config; }

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

/// left-aligned first column, right-aligned others, by what a terminal shows.
std::string aligned(const std::vector<Fields>& lines) {
  std::vector<std::size_t> widths;
  for (const Fields& line : lines)
    for (std::size_t i = 0; i < line.size(); ++i) {
      widths.resize(std::max(widths.size(), i + 1));
      widths[i] = std::max(widths[i], text_width(line[i]));
    }
  std::string out;
  for (const Fields& line : lines) {
    std::string text;
    for (std::size_t i = 0; i < line.size(); ++i) {
      const std::string space(widths[i] - text_width(line[i]), ' ');
      text += (i == 0 ? " " : "  ") + (i == 0 ? line[i] + space : space + line[i]);
    }
    text.erase(text.find_last_not_of(' ') + 1);
    out += text + "\n";
  }
  return out;
}

}  // namespace

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
  std::string out = csv_line(results.plan->keys + Fields{"task", "class", "name", "metric", "mean", "std"});
  struct Measure {
    const char* name;
    double ClassMetrics::*value;
  };
  constexpr Measure measures[] = {{"accuracy", &ClassMetrics::accuracy},
                                  {"sensitivity", &ClassMetrics::sensitivity},
                                  {"ppv", &ClassMetrics::ppv},
                                  {"npv", &ClassMetrics::npv},
                                  {"f1", &ClassMetrics::f1}};
  const DataIdentity& data = config_of(results).data;
  for (const GridRow& row : results.rows)
    for (const int task : {1, 2}) {
      const auto& names = task == 1 ? data.task1_classes : data.task2_classes;
      for (std::size_t k = 0; k < names.size(); ++k)
        for (const Measure& measure : measures) {
          std::vector<SeedFoldValue> values;
          for (const FinishedRun& run : row.runs) {
            if (!run.summary.best.test) continue;
            const TaskMetrics& metrics = task == 1 ? run.summary.best.test->task1 : run.summary.best.test->task2;
            if (k < metrics.per_class.size())
              values.push_back({run.run->config.seed, run.run->config.fold, 100 * metrics.per_class[k].*measure.value});
          }
          const MeanDeviation ours = over_seeds(values);
          out += csv_line(row.keys + Fields{std::to_string(task), std::to_string(k), names[k], measure.name, number(ours.mean),
                                            number(ours.deviation)});
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
  std::string out = csv_line(results.plan->keys +
                             Fields{"seed", "fold", "run", "parameters", "flops", "steps", "train_seconds", "device", "version"});
  for (const GridRow& row : results.rows)
    for (const FinishedRun& run : row.runs) {
      const Summary& s = run.summary;
      out += csv_line(row.keys + Fields{std::to_string(run.run->config.seed), std::to_string(run.run->config.fold), run.run->id,
                                        std::to_string(s.parameters), std::to_string(s.flops), std::to_string(s.steps),
                                        number(s.train_seconds, 3), s.device, s.version});
    }
  return out;
}

std::string results_tex(const GridResults& results) {
  std::string out = fmt::format("% {}: {}; {}. Percent, mean $\\pm$ standard deviation over seeds of the mean over folds.\n",
                                results.plan->name, data_text(results), count_text(results));
  out += "\\begin{tabular}{l" + std::string(grid_figures.size(), 'r') + "}\n\\toprule\n";
  out += " & \\multicolumn{4}{c}{Test} & \\multicolumn{4}{c}{Validation} \\\\\n";
  for (int i = 0; i < 2; ++i) out += " & \\multicolumn{2}{c}{Task 1} & \\multicolumn{2}{c}{Task 2}";
  out += " \\\\\n";
  for (const Figure& figure : grid_figures) out += figure.accuracy ? " & Acc." : " & F1";
  out += " \\\\\n\\midrule\n";
  for (const GridRow& row : results.rows) {
    out += tex_text(row_name(results, row));
    for (const Figure& figure : grid_figures) {
      const MeanDeviation ours = over_seeds(row.values(figure));
      out += std::isnan(ours.mean) ? " & --" : fmt::format(" & ${}$", plus_minus(ours, " \\pm "));
    }
    out += " \\\\\n";
    if (!row.published) continue;
    out += config_of(results).data.synthetic ? "\\quad \\emph{paper, real data}" : "\\quad \\emph{paper}";
    for (const Figure& figure : grid_figures) {
      const PublishedValue p = published_value(*row.published, figure);
      out += fmt::format(" & ${} \\pm {}$", number(p.mean, 2), number(p.deviation, 2));
    }
    out += " \\\\\n";
  }
  return out + "\\bottomrule\n\\end{tabular}\n";
}

std::string results_text(const GridResults& results) {
  const bool synthetic = config_of(results).data.synthetic;
  std::string out = fmt::format("{}: {}; {}\npercent, mean ± deviation over seeds of the mean over folds\n", results.plan->name,
                                data_text(results), count_text(results));
  std::vector<Fields> lines{{""}};
  for (const Figure& figure : grid_figures)
    lines[0].push_back(fmt::format("{} {} {}", figure.split(), figure.accuracy ? "acc" : "F1", figure.task));
  for (const GridRow& row : results.rows) {
    lines.push_back({row_name(results, row)});
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
