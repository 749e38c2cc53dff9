// Results as LaTeX tables; they need the package booktabs. The paper's figures stand below ours.
#include "retort/distill/grid_analysis.h"
#include "retort/distill/report/format.h"
#include "retort/distill/table_text.h"

#include <algorithm>
#include <cmath>

namespace retort {
namespace {

std::string heading(const GridResults& results, const char* what) {
  return fmt::format("% {}: {}; {}. {}\n", results.plan->name, data_text(results), count_text(results), what);
}

/// Below a row of ours.
std::string paper_name(const GridResults& results) {
  return results.plan->runs.front().config.data.synthetic ? "\\quad \\emph{paper, real data}" : "\\quad \\emph{paper}";
}

std::string or_dash(const std::string& text) { return text.empty() ? "--" : text; }

std::string p_text(double p) { return std::isnan(p) ? "--" : p < 0.0001 ? "$<$0.0001" : fmt::format("{:.4f}", p); }

}  // namespace

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
    out += tex_text(row_name(*results.plan, row));
    for (const Figure& figure : grid_figures) {
      const MeanDeviation ours = over_seeds(row.values(figure));
      out += std::isnan(ours.mean) ? " & --" : fmt::format(" & ${}$", plus_minus(ours, " \\pm "));
    }
    out += " \\\\\n";
    if (!row.published) continue;
    out += results.plan->runs.front().config.data.synthetic ? "\\quad \\emph{paper, real data}" : "\\quad \\emph{paper}";
    for (const Figure& figure : grid_figures) {
      const PublishedValue p = published_value(*row.published, figure);
      out += fmt::format(" & ${} \\pm {}$", number(p.mean, 2), number(p.deviation, 2));
    }
    out += " \\\\\n";
  }
  return out + "\\bottomrule\n\\end{tabular}\n";
}

/// As the paper's table 6: a line a row and measure, a column a class.
std::string classes_tex(const GridResults& results) {
  std::string out = heading(results, "Percent, test part, means over seeds of the means over folds.");
  const DataIdentity& data = results.plan->runs.front().config.data;
  for (const int task : {1, 2}) {
    const auto& names = task == 1 ? data.task1_classes : data.task2_classes;
    Fields head{fmt::format("Task {}", task), ""};
    for (const std::string& name : names) head.push_back("\\rotatebox{90}{" + tex_text(name) + "}");
    out +=
        fmt::format("% needs graphicx\n\\begin{{tabular}}{{ll{}}}\n\\toprule\n", std::string(names.size(), 'r')) + tex_line(head);
    for (std::size_t m = 0; m < class_measures.size(); ++m) {
      out += "\\midrule\n";
      for (const GridRow& row : results.rows) {
        Fields ours{class_measures[m].heading, tex_text(row_name(*results.plan, row))}, paper{"", paper_name(results)};
        bool published = false;
        for (const ClassRow& line : class_rows(results, row, task)) {
          ours.push_back(or_dash(number(line.ours[m].mean, 2)));
          published = line.published && class_measures[m].published;
          if (published) paper.push_back(number(line.published->*class_measures[m].published, 2));
        }
        out += tex_line(ours) + (published ? tex_line(paper) : "");
      }
    }
    out += "\\bottomrule\n\\end{tabular}\n\n";
  }
  return out;
}

/// As the paper's table 7.
std::string costs_tex(const GridResults& results) {
  std::string out = heading(results, "Means over runs; FLOPs of one window's forward pass, in parentheses of one row of it.");
  out +=
      "\\begin{tabular}{lrrrrr}\n\\toprule\n & Size (MiB) & Parameters (M) & FLOPs & Time (s) & Energy (kWh) \\\\\n\\midrule\n";
  for (const CostRow& cost : cost_rows(results)) {
    std::string flops = grouped(cost.flops, "\\,");
    if (cost.flops_one_row) flops += fmt::format(" ({})", grouped(*cost.flops_one_row, "\\,"));
    out += tex_line({tex_text(row_name(*results.plan, *cost.row)), or_dash(number(cost.mebibytes, 3)),
                     number(static_cast<double>(cost.parameters) / 1e6, 3), flops, number(cost.seconds.mean, 1),
                     cost.kilowatt_hours.count > 0 ? number(cost.kilowatt_hours.mean, 6) : "not measured"});
    if (const PublishedCost* p = cost.published)
      out += tex_line({paper_name(results), number(p->mebibytes, 3), number(p->parameters, 3), grouped(p->flops, "\\,"),
                       number(p->seconds, 0), number(p->kilowatt_hours, 3)});
  }
  return out + "\\bottomrule\n\\end{tabular}\n";
}

/// As the paper's table 8, with what it leaves out.
std::string tests_tex(const GridResults& results) {
  std::string out = heading(results, "Paired tests of the seeds' means, test part. Differences in percent points.");
  out +=
      "\\begin{tabular}{lrrrrrr}\n\\toprule\n & Pairs & Difference & $p$ ($t$) & $p$ (Holm) & $p$ (Wilcoxon) & $p$ (paper) "
      "\\\\\n";
  for (const Figure& figure : grid_figures) {
    if (!figure.test) continue;
    out += fmt::format("\\midrule\n\\multicolumn{{7}}{{l}}{{\\emph{{Task {}, {}}}}} \\\\\n", figure.task,
                       figure.accuracy ? "accuracy" : "macro F1");
    for (const Comparison& c : results.comparisons) {
      if (!c.by_seed || !c.figure.test || c.figure.task != figure.task || c.figure.accuracy != figure.accuracy) continue;
      std::string pair = tex_text(c.a) + " -- " + tex_text(c.b);
      for (const std::string& value : c.stratum) pair += ", " + tex_text(value);
      out += tex_line({pair, std::to_string(c.pairs), or_dash(number(c.difference, 2)), p_text(c.t.p), p_text(c.t_holm),
                       p_text(c.wilcoxon.p), c.published ? p_text(*c.published) : "--"});
    }
  }
  return out + "\\bottomrule\n\\end{tabular}\n";
}

}  // namespace retort
