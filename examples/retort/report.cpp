// retort report
#include "retort/distill/report/report.h"

#include "retort/core/file.h"
#include "retort/distill/grid_results.h"
#include "retort/distill/plan_file.h"
#include "retort/distill/report/grid_report.h"
#include "retort/distill/report/table.h"
#include "retort/examples/retort/command.h"

#include <unistd.h>

#include <iostream>

namespace retort::command {

namespace fs = std::filesystem;

namespace {

int report_grid(const fs::path& directory, const std::string& out) {
  const Plan plan = load_plan(directory);
  const GridResults results = grid_results(plan, runs_of(directory));
  std::cout << results_text(results);
  if (!out.empty()) {
    write_file_atomically(out, grid_report_html(results));
    std::cout << "report: " << out << std::endl;
    return ok;
  }
  std::cout << "written:";
  for (const fs::path& path : write_grid_results(results, directory)) std::cout << " " << path.string();
  std::cout << std::endl;
  return ok;
}

int report_collection(const fs::path& directory) {
  for (const fs::path& grid : grids_in(directory)) report_grid(grid, "");
  std::cout << "all of them: " << write_collection(directory).string() << std::endl;
  return ok;
}

int report_runs(const std::vector<std::string>& directories, const std::string& out) {
  std::vector<RunRecord> runs;
  for (const auto& directory : directories) runs.push_back(load_run(directory));
  print_table(std::cout, runs, table_style(STDOUT_FILENO));
  const fs::path page = out.empty() ? fs::path(directories.front()) / run_files::report : fs::path(out);
  write_report(page, runs);
  std::cout << "report: " << page.string() << std::endl;
  return ok;
}

int report(const std::vector<std::string>& directories, const std::string& out) {
  for (const fs::path directory : directories) {
    if (!fs::is_directory(directory) || fs::exists(directory / run_files::config)) continue;  // load_run says what is wrong
    const bool grid = holds_plan(directory);
    check<InputError>(grid || !grids_in(directory).empty(),
                      "{}: neither a run ({}, from `retort train --out`) nor a grid ({}, from `retort experiment --out`)",
                      directory.string(), run_files::config, plan_file);
    check<InputError>(directories.size() == 1, "{}: a grid; grids are reported one at a time, without other directories",
                      directory.string());
    check<InputError>(grid || out.empty(), "--out: {} holds several grids, each of which gets its own page", directory.string());
    return grid ? report_grid(directory, out) : report_collection(directory);
  }
  return report_runs(directories, out);
}

}  // namespace

void add_report(CLI::App& root, Command& command) {
  auto* app = root.add_subcommand("report", "A table in the terminal and a results page of runs, or of a grid of runs");
  auto directories = std::make_shared<std::vector<std::string>>();
  auto out = std::make_shared<std::string>();
  app->add_option("runs", *directories, "Run directories, or one directory of `retort experiment`")->required();
  app->add_option("--out", *out, "The page to write; default: report.html in the (first) directory");
  app->callback([=, &command] { command.run = [=] { return report(*directories, *out); }; });
}

}  // namespace retort::command
