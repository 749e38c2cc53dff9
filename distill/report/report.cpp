#include "retort/distill/report/report.h"

#include "retort/core/file.h"
#include "retort/distill/report/figures.h"
#include "retort/distill/report/format.h"
#include "retort/distill/report/page.h"
#include "retort/distill/report/results.h"
#include "retort/distill/report/sections.h"

#include <algorithm>

namespace retort {
namespace {

std::string page_title(std::span<const RunRecord> runs) {
  std::vector<std::string> datasets;
  for (const RunRecord& run : runs)
    if (std::find(datasets.begin(), datasets.end(), run.config.data.dataset) == datasets.end())
      datasets.push_back(run.config.data.dataset);
  const std::string on = fmt::format("{}", fmt::join(datasets, ", "));
  if (runs.size() == 1) return fmt::format("{} on {}", runs[0].config.method, on);
  return fmt::format("{} runs on {}", runs.size(), on);
}

std::string header(std::span<const RunRecord> runs, std::string_view title) {
  const auto synthetic = std::count_if(runs.begin(), runs.end(), [](const RunRecord& r) { return r.config.data.synthetic; });
  const bool all = synthetic == std::ssize(runs);
  std::string out =
      fmt::format("<header>\n<h1>{}{}</h1>\n", escape_html(title), all ? " <span class=\"badge\">synthetic data</span>" : "");
  out += "<p class=\"soft\">Multi-task learning on accelerometer windows: two labels a window, one shared network.</p>\n";
  if (synthetic > 0) out += synthetic_notice(all ? "" : fmt::format("{} of these {} runs used ", synthetic, runs.size()));
  return out + "</header>\n";
}

}  // namespace

std::string report_html(std::span<const RunRecord> runs, const ReportOptions& options) {
  check<InputError>(!runs.empty(), "report: no runs given; name one or more run directories");
  const std::string title = page_title(runs);
  std::string page = header(runs, title) + "<main>\n";
  const std::vector<RunGroup> groups = group_runs(runs);
  for (const RunGroup& group : groups) {
    page += data_section(group, groups.size() > 1);
    page += results_section(group);
    page += curves_section(group, options.figures);
  }
  for (const RunGroup& group : groups)
    for (const ResultRow& row : group.rows) page += run_section(*row.run);
  return html_page(title, page + "</main>\n", runs.front().config.version);
}

void write_report(const std::filesystem::path& path, std::span<const RunRecord> runs, const ReportOptions& options) {
  write_file_atomically(path, report_html(runs, options));
}

}  // namespace retort
