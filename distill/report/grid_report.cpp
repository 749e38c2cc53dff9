#include "retort/distill/report/grid_report.h"

#include "retort/core/version.h"
#include "retort/distill/report/format.h"
#include "retort/distill/report/grid_sections.h"
#include "retort/distill/report/page.h"

#include <algorithm>

namespace retort {
namespace {

enum class Part { results, dependence, tests, classes, curves, costs };
constexpr Part all_parts[] = {Part::results, Part::dependence, Part::tests, Part::classes, Part::curves, Part::costs};

const char* heading(Part part) {
  switch (part) {
    case Part::results:
      return "Accuracy and F1";
    case Part::dependence:
      return "What the varied number does";
    case Part::tests:
      return "Tests between rows";
    case Part::classes:
      return "Classes";
    case Part::curves:
      return "Training";
    case Part::costs:
      return "Costs";
  }
  return "";
}

std::string content(Part part, const GridResults& results, const ReportOptions& options) {
  switch (part) {
    case Part::results:
      return results_part(results);
    case Part::dependence:
      return dependence_part(results, options.figures);
    case Part::tests:
      return tests_part(results);
    case Part::classes:
      return classes_part(results);
    case Part::curves:
      return curves_part(results, options.figures);
    case Part::costs:
      return costs_part(results);
  }
  return "";
}

/// What an experiment is named for.
std::vector<Part> main_parts(const std::string& name) {
  if (name == "table5") return {Part::results};
  if (name == "table6") return {Part::classes};
  if (name == "table7") return {Part::costs};
  if (name == "table8") return {Part::tests};
  if (name == "curves") return {Part::curves};
  if (name == "lambda" || name == "train-ratio") return {Part::dependence};
  return {Part::dependence, Part::results};
}

std::string header(const GridResults& results, const std::string& title) {
  const DataIdentity& data = results.plan->runs.front().config.data;
  return fmt::format(
      "<header>\n<h1>{}{}</h1>\n<p class=\"soft\">On {}: two labels a window of acceleration, one shared network.</p>\n{}",
      escape_html(title), data.synthetic ? " <span class=\"badge\">synthetic data</span>" : "", escape_html(data.dataset),
      data.synthetic ? synthetic_notice("") : "");
}

struct Section {
  std::string id, heading, html;
};

std::string assembled(const std::vector<Section>& sections) {
  std::string nav = "<nav>", body;
  for (const Section& section : sections) {
    if (section.html.empty()) continue;
    nav += fmt::format("<a href=\"#{}\">{}</a>", section.id, escape_html(section.heading));
    body +=
        fmt::format("<section id=\"{}\">\n<h2>{}</h2>\n{}</section>\n", section.id, escape_html(section.heading), section.html);
  }
  return nav + "</nav>\n</header>\n<main>\n" + body + "</main>\n";
}

}  // namespace

std::string grid_report_html(const GridResults& results, const ReportOptions& options) {
  const std::string title = results.plan->title.empty() ? results.plan->name : results.plan->title;
  std::vector<Section> sections = {{"data", "Data and effort", facts_part(results) + missing_part(results)},
                                   {"differences", "What differs from the paper", differences_part({&results, 1})}};
  if (results.finished > 0) {
    std::vector<Part> order = main_parts(results.plan->name);
    for (const Part part : all_parts)
      if (std::ranges::find(order, part) == order.end()) order.push_back(part);
    for (const Part part : order)
      sections.push_back({fmt::format("part{}", static_cast<int>(part)), heading(part), content(part, results, options)});
  }
  return html_page(title, header(results, title) + assembled(sections), version());
}

std::string collection_report_html(std::span<const GridResults> grids, const ReportOptions& options) {
  check<InputError>(!grids.empty(), "report: no grids given");
  std::vector<Section> sections = {{"data", "Data and effort", collection_facts(grids)},
                                   {"differences", "What differs from the paper", differences_part(grids)}};
  for (const GridResults& grid : grids) {
    std::string html = missing_part(grid);
    if (grid.finished > 0)
      for (const Part part : main_parts(grid.plan->name)) html += content(part, grid, options);
    html += fmt::format("<p class=\"soft\">All figures of this grid: <a href=\"{0}/report.html\">{0}/report.html</a>.</p>\n",
                        escape_html(grid.plan->name));
    sections.push_back(
        {"grid-" + escape_html(grid.plan->name), grid.plan->title.empty() ? grid.plan->name : grid.plan->title, html});
  }
  const std::string title = grids.size() == 1 ? grids.front().plan->name : fmt::format("{} experiments", grids.size());
  return html_page(title, header(grids.front(), title) + assembled(sections), version());
}

}  // namespace retort
