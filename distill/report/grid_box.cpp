// What a grid's page says before any figure: the data, the effort, what is missing, and what differs from the paper.
#include "retort/core/file.h"
#include "retort/distill/report/format.h"
#include "retort/distill/report/grid_sections.h"
#include "retort/distill/report/page.h"

#include <algorithm>
#include <cmath>

namespace retort {
namespace fs = std::filesystem;
namespace {

std::string joined_values(const Plan& plan, const std::string& key) {
  const auto values = planned_values(plan, key);
  return escape_html(fmt::format("{}", fmt::join(values, ", ")));
}

std::string counted(std::size_t n, const char* what) { return fmt::format("{} {}{}", n, what, n == 1 ? "" : "s"); }

std::string effort_text(const Plan& plan) {
  const RunConfig& c = plan.runs.front().config;
  const std::size_t folds = planned_values(plan, "fold").size(), seeds = planned_values(plan, "seed").size();
  const auto epochs = planned_values(plan, "epochs");
  std::string text = fmt::format("{} × {} × {}", counted(folds, "fold"), counted(seeds, "seed"),
                                 epochs.size() == 1 ? counted(static_cast<std::size_t>(c.epochs), "epoch")
                                                    : fmt::format("{} epochs", fmt::join(epochs, ", ")));
  if (planned_values(plan, "train_fraction").size() == 1 && c.train_fraction < 1)
    text += fmt::format(", {:.4g} % of the training part", 100 * c.train_fraction);
  return plan.effort.empty() ? text : escape_html(plan.effort) + ": " + text;
}

void add_new(std::vector<std::string>& values, const std::string& value) {
  if (std::ranges::find(values, value) == values.end()) values.push_back(value);
}

/// What the finished runs' records say, each value once.
std::string recorded(std::span<const GridResults> grids, std::string Summary::*field) {
  std::vector<std::string> values;
  for (const GridResults& results : grids)
    for (const GridRow& row : results.rows)
      for (const FinishedRun& run : row.runs) add_new(values, run.summary.*field);
  return values.empty() ? kNoValue : escape_html(fmt::format("{}", fmt::join(values, "; ")));
}

struct Totals {
  double seconds = 0, joules = 0;
  std::int64_t measured = 0;
};

Totals totals(const GridResults& results) {
  Totals t;
  for (const GridRow& row : results.rows)
    for (const FinishedRun& run : row.runs) {
      t.seconds += run.summary.train_seconds;
      if (run.summary.energy) t.joules += run.summary.energy->joules, ++t.measured;
    }
  return t;
}

std::string energy_total(const GridResults& results, const Totals& t) {
  if (t.measured == 0) return "not measured";
  return fmt::format("{}{}", energy_text(t.joules / 3.6e6),
                     t.measured < results.finished ? fmt::format(" ({} of the finished runs)", t.measured) : "");
}

std::string data_facts(const DataIdentity& d) {
  return fact("Data set",
              escape_html(d.dataset) + (d.synthetic ? " <span class=\"badge\">synthetic</span>" : ", real recordings")) +
         fact("Windows", number_html(d.windows)) +
         fact("Classes", fmt::format("{} (task 1), {} (task 2)", d.task1_classes.size(), d.task2_classes.size()));
}

std::string record_facts(std::span<const GridResults> grids, const DataIdentity& d) {
  return fact("Device", recorded(grids, &Summary::device), true) +
         fact("Version",
              fmt::format("{}, built with {}", recorded(grids, &Summary::version), recorded(grids, &Summary::compiler))) +
         fact("File", "<code>" + escape_html(d.path) + "</code>") +
         fact("SHA-256 of the file", "<code>" + escape_html(d.sha256) + "</code>", true);
}

std::string finished_of(const GridResults& results) { return fmt::format("{} of {}", results.finished, results.planned); }

}  // namespace

std::string facts_part(const GridResults& results) {
  const Plan& plan = *results.plan;
  const DataIdentity& d = plan.runs.front().config.data;
  const Totals t = totals(results);
  std::string out = "<dl class=\"facts\">\n" + data_facts(d);
  out += fact("Preset", fmt::format("data {}, runs {}", escape_html(d.preset), joined_values(plan, "preset")));
  out += fact("Window", fmt::format("axes {}, label {}", joined_values(plan, "axis_layout"), escape_html(d.window_label)));
  out += fact("Split", fmt::format("{}, {} folds", joined_values(plan, "split"), joined_values(plan, "folds")));
  out += fact("Model", joined_values(plan, "arch"));
  out += fact("Selection", joined_values(plan, "select"));
  out += fact("Effort", effort_text(plan));
  out += fact("Runs finished", finished_of(results));
  out += fact("Training time", results.finished > 0 ? duration(t.seconds) + ", all runs together" : kNoValue);
  out += fact("Energy", energy_total(results, t));
  return out + record_facts({&results, 1}, d) + "</dl>\n";
}

std::string collection_facts(std::span<const GridResults> grids) {
  const DataIdentity& d = grids.front().plan->runs.front().config.data;
  std::string out =
      "<dl class=\"facts\">\n" + data_facts(d) + fact("Preset of the data", escape_html(d.preset)) + record_facts(grids, d) +
      "</dl>\n" +
      "<div class=\"scroll\"><table class=\"data\">\n<thead><tr><th class=\"text\">Experiment</th><th "
      "class=\"text\">Effort</th><th>Runs finished</th><th>Training time</th><th>Energy</th></tr></thead>\n<tbody>\n";
  for (const GridResults& results : grids) {
    const Totals t = totals(results);
    out += fmt::format(
        "<tr class=\"run\"><th scope=\"row\">{}</th><td class=\"text\">{}</td><td>{}</td><td>{}</td><td>{}</td></tr>\n",
        escape_html(results.plan->name), effort_text(*results.plan), finished_of(results),
        results.finished > 0 ? duration(t.seconds) : kNoValue, energy_total(results, t));
  }
  return out +
         "</tbody>\n<caption>Times and energy are those of all runs of an experiment; a run that several share is done once and "
         "counted in each.</caption></table></div>\n";
}

std::string missing_part(const GridResults& results) {
  if (results.finished == results.planned) return "";
  std::int64_t begun = 0;
  std::string failed;
  for (const PlannedRun& run : results.plan->runs) {
    const fs::path directory = results.runs / run.id;
    if (run_finished(results.runs, run.id) || !fs::exists(directory)) continue;
    if (fs::exists(directory / run_files::failed))
      failed += fmt::format("<li>{}: {}</li>\n", escape_html(run_title(*results.plan, run.config)),
                            escape_html(read_file(directory / run_files::failed)));
    else if (fs::exists(directory / run_files::config))
      ++begun;
  }
  std::string out = fmt::format(
      "<p class=\"notice\"><strong>INCOMPLETE: {} of {} runs are finished</strong>{}. Figures below stand on the finished ones; "
      "each row "
      "says how many it has. The same <code>retort experiment</code> command goes on.</p>\n",
      results.finished, results.planned, begun > 0 ? fmt::format(", {} more are begun", begun) : "");
  return failed.empty() ? out : out + "<p>Failed, to be tried again by the next call:</p>\n<ul>\n" + failed + "</ul>\n";
}

std::string differences_part(std::span<const GridResults> grids) {
  std::vector<std::pair<Difference, std::vector<std::string>>> list;  // and what all grids have
  for (const GridResults& results : grids)
    for (const Difference& d : differences(results)) {
      auto known = std::ranges::find_if(list, [&](const auto& entry) { return entry.first.what == d.what; });
      if (known == list.end()) known = list.insert(list.end(), {d, {}});
      add_new(known->second, d.here);
    }
  if (list.empty()) return "";
  std::string out =
      "<div class=\"scroll\"><table class=\"data words\">\n<thead><tr><th class=\"text\"></th><th class=\"text\">Here</th><th "
      "class=\"text\">In "
      "the paper</th></tr></thead>\n<tbody>\n";
  for (const auto& [d, here] : list)
    out += fmt::format("<tr class=\"run\"><th scope=\"row\">{}</th><td class=\"text\">{}</td><td class=\"text\">{}</td></tr>\n",
                       escape_html(d.what), escape_html(fmt::format("{}", fmt::join(here, "; "))), escape_html(d.paper));
  return out +
         "</tbody>\n<caption>From the records of the runs. Figures of this page and of the paper may differ for each of these "
         "reasons.</caption></table></div>\n";
}

std::string differences_note(const GridResults& results, bool costs) {
  std::string items;
  for (const Difference& d : differences(results)) {
    if (costs ? !d.cost : !d.accuracy) continue;
    items +=
        fmt::format("{}{}: {} ({})", items.empty() ? "" : "; ", escape_html(d.what), escape_html(d.here), escape_html(d.paper));
  }
  if (items.empty()) return "";
  return "<p class=\"soft\"><strong>Not the paper’s experiment</strong> (in parentheses the paper’s): " + items + ".</p>\n";
}

}  // namespace retort
