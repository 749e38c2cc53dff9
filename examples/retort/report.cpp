// retort report
#include "retort/distill/report/report.h"

#include "retort/distill/report/table.h"
#include "retort/examples/retort/command.h"

#include <unistd.h>
#include <iostream>

namespace retort::command {

void add_report(CLI::App& root, Command& command) {
  auto* app = root.add_subcommand("report", "A table in the terminal and a results page of one or several runs");
  auto directories = std::make_shared<std::vector<std::string>>();
  auto out = std::make_shared<std::string>();
  app->add_option("runs", *directories, "Run directories")->required();
  app->add_option("--out", *out, "The page to write; default: report.html in the first run's directory");
  app->callback([=, &command] {
    command.run = [=] {
      std::vector<RunRecord> runs;
      for (const auto& directory : *directories) runs.push_back(load_run(directory));
      print_table(std::cout, runs, table_style(STDOUT_FILENO));
      const auto page =
          out->empty() ? std::filesystem::path(directories->front()) / run_files::report : std::filesystem::path(*out);
      write_report(page, runs);
      std::cout << "report: " << page.string() << std::endl;
      return ok;
    };
  });
}

}  // namespace retort::command
