#include "retort/distill/report/format.h"
#include "retort/distill/report/sections.h"

#include <cmath>

namespace retort {
namespace {

/// Labels without a name (a file that names fewer classes than it has) are shown by number.
std::string class_name(const std::vector<std::string>& names, std::size_t label) {
  return label < names.size() ? escape_html(names[label]) : std::to_string(label);
}

std::string per_class_table(const TaskMetrics& metrics, const std::vector<std::string>& names) {
  std::string out =
      "<div class=\"scroll\"><table class=\"data\">\n<thead><tr><th class=\"text\">Class</th><th>Windows</th><th>Acc.</th>"
      "<th>Sens.</th><th>PPV</th><th>NPV</th><th>F1</th></tr></thead>\n<tbody>\n";
  for (std::size_t c = 0; c < metrics.per_class.size(); ++c) {
    const ClassMetrics& m = metrics.per_class[c];
    out +=
        fmt::format("<tr class=\"run\"><th scope=\"row\">{}</th><td>{}</td>", class_name(names, c), grouped(m.support, "\u202f"));
    for (const double value : {m.accuracy, m.sensitivity, m.ppv, m.npv, m.f1}) out += fmt::format("<td>{}</td>", percent(value));
    out += "</tr>\n";
  }
  return out +
         "</tbody>\n<caption>Percent, each class against the rest. Sens.: share of the class’s windows found; PPV: share of its "
         "predictions that are right; NPV: share of the other predictions that are right.</caption></table></div>\n";
}

std::string heat_cell(const TaskMetrics& metrics, const std::vector<std::string>& names, std::size_t row, std::size_t column) {
  const auto count = metrics.confusion[row * static_cast<std::size_t>(metrics.classes) + column];
  const std::int64_t support = metrics.per_class[row].support;
  if (count == 0) return row == column ? "<td class=\"zero hit\">0</td>" : "<td class=\"zero\"></td>";
  const double share = static_cast<double>(count) / static_cast<double>(support);
  // The square root keeps rare mistakes visible beside the diagonal.
  const double shade = row == column ? 0.08 + 0.92 * share : 0.08 + 0.92 * std::sqrt(share);
  // From here on the page's light text reads better than its dark one, in both themes; orange is lighter than blue.
  const bool strong = shade > (row == column ? 0.75 : 0.85);
  const std::string text = share < 0.005 ? "<1" : fmt::format("{:.0f}", 100 * share);
  return fmt::format("<td class=\"{}{}\" style=\"--v:{:.2f}\" title=\"{} → {}: {} of {}\">{}</td>",
                     row == column ? "hit" : "miss", strong ? " strong" : "", shade, class_name(names, row),
                     class_name(names, column), count, support, escape_html(text));
}

}  // namespace

std::string heat_map(const TaskMetrics& metrics, const std::vector<std::string>& names) {
  const auto classes = static_cast<std::size_t>(metrics.classes);
  const char* size = classes <= 4 ? " small" : classes > 13 ? " many" : "";
  std::string out = fmt::format("<div>\n<div class=\"scroll\"><table class=\"heat{}\">\n<thead><tr><th></th>", size);
  for (std::size_t c = 0; c < classes; ++c) out += fmt::format("<th scope=\"col\"><span>{}</span></th>", class_name(names, c));
  out += "</tr></thead>\n<tbody>\n";
  for (std::size_t row = 0; row < classes; ++row) {
    out += fmt::format("<tr><th scope=\"row\">{}</th>", class_name(names, row));
    for (std::size_t column = 0; column < classes; ++column) out += heat_cell(metrics, names, row, column);
    out += "</tr>\n";
  }
  return out +
         "</tbody></table></div>\n<p class=\"soft\">Rows: true class; columns: predicted. Percent of the row’s "
         "windows.</p>\n</div>\n";
}

std::string task_section(const TaskMetrics& metrics, const std::vector<std::string>& names, std::string_view title) {
  return fmt::format("<h3>{} <span class=\"soft\">accuracy {}, macro F1 {}</span></h3>\n<div class=\"task\">\n{}{}</div>\n",
                     escape_html(title), percent(metrics.accuracy), percent(metrics.macro_f1), per_class_table(metrics, names),
                     heat_map(metrics, names));
}

}  // namespace retort
