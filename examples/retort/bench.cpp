// retort bench
#include "retort/bench/suite/bench.h"
#include "retort/examples/retort/command.h"

namespace retort::command {

void add_bench(CLI::App& root, Command& command) {
  auto* app = root.add_subcommand("bench", "Time every op and the whole training step on this machine");
  auto options = std::make_shared<bench::Options>();
  options->add(*app);
  app->callback([=, &command] { command.run = [=] { return bench::run(*options); }; });
}

}  // namespace retort::command
