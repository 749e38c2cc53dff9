// Classes on a grid's page: table 6 and the confusion matrices.
#include "retort/distill/report/format.h"
#include "retort/distill/report/grid_sections.h"
#include "retort/distill/report/page.h"
#include "retort/distill/report/sections.h"
#include "retort/distill/table_text.h"

#include <algorithm>
#include <cmath>

namespace retort {
namespace {

const std::vector<std::string>& class_names(const GridResults& results, int task) {
  const DataIdentity& data = results.plan->runs.front().config.data;
  return task == 1 ? data.task1_classes : data.task2_classes;
}

std::string value_html(double value) { return std::isnan(value) ? kNoValue : number(value, 2); }

/// The measures of each class, the paper's below ours.
std::string measures_table(const std::vector<ClassRow>& classes) {
  std::string out =
      "<div class=\"scroll\"><table class=\"data narrow\">\n<thead><tr><th class=\"text\">Class</th><th>Windows</th>";
  for (const ClassMeasure& measure : class_measures) out += fmt::format("<th>{}</th>", measure.heading);
  out += "</tr></thead>\n<tbody>\n";
  bool published = false;
  for (const ClassRow& line : classes) {
    out += fmt::format("<tr class=\"run\"><th scope=\"row\">{}{}</th><td>{}</td>", escape_html(line.name),
                       line.published ? "<br><small>paper</small>" : "", number_html(line.windows));
    for (std::size_t m = 0; m < class_measures.size(); ++m) {
      const bool has = line.published && class_measures[m].published;
      out += fmt::format("<td>{}{}</td>", value_html(line.ours[m].mean),
                         has ? fmt::format("<br><small>{:.2f}</small>", line.published->*class_measures[m].published) : "");
    }
    out += "</tr>\n";
    published = published || line.published;
  }
  return out + fmt::format(
                   "</tbody>\n<caption>Percent, test part, each class against the rest; means over seeds of the means over "
                   "folds.{}</caption></table></div>\n",
                   published ? " Below ours: the paper’s table 6." : "");
}

/// F1 of each class, a column a row of the grid: where does which one help?
std::string overview(const GridResults& results, int task) {
  std::vector<std::vector<ClassRow>> columns;
  std::string out = fmt::format(
      "<h3>Task {}: F1 of each class</h3>\n<div class=\"scroll\"><table class=\"data narrow\">\n<thead><tr>"
      "<th class=\"text\">Percent</th>",
      task);
  for (std::size_t i = 0; i < results.rows.size(); ++i) {
    columns.push_back(class_rows(results, results.rows[i], task));
    out += fmt::format("<th>{}</th>", row_label(results, results.rows[i]));
  }
  out += "</tr></thead>\n<tbody>\n";
  constexpr std::size_t f1 = class_measures.size() - 1;
  const auto& names = class_names(results, task);
  for (std::size_t k = 0; k < names.size(); ++k) {
    std::string best;
    double highest = -1;
    for (const auto& column : columns)
      if (column[k].ours[f1].mean > highest) highest = column[k].ours[f1].mean, best = number(highest, 2);
    out += fmt::format("<tr class=\"run\"><th scope=\"row\">{}</th>", escape_html(names[k]));
    for (const auto& column : columns) {
      const std::string text = value_html(column[k].ours[f1].mean);
      out += text == best && columns.size() > 1 && results.finished == results.planned ? "<td><b>" + text + "</b></td>"
                                                                                       : "<td>" + text + "</td>";
    }
    out += "</tr>\n";
  }
  return out + "</tbody></table></div>\n";
}

std::string row_detail(const GridResults& results, const GridRow& row, int task) {
  const auto confusion = summed_confusion(row, task);
  if (!confusion) return "";
  return fmt::format("<h3>Task {}, {} <span class=\"soft\">{} run{}</span></h3>\n<div class=\"task\">\n{}{}</div>\n", task,
                     row_label(results, row), row.runs.size(),
                     row.runs.size() == 1 ? "" : "s, their test predictions added up in the matrix",
                     measures_table(class_rows(results, row, task)), heat_map(*confusion, class_names(results, task)));
}

}  // namespace

std::string classes_part(const GridResults& results) {
  if (results.rows.size() > detailed_rows)
    return "<p>Too many rows to show their classes here: all measures are in <code>classes.csv</code>.</p>\n";
  std::string out, details;
  for (const int task : {1, 2}) {
    std::string rows;
    for (const GridRow& row : results.rows) rows += row_detail(results, row, task);
    if (rows.empty()) continue;
    out += overview(results, task);
    details += rows;
  }
  return out.empty() ? "" : out + differences_note(results, false) + details;
}

}  // namespace retort
