// retort: from raw accelerometer files to trained weights and a results page.
#include "retort/core/version.h"
#include "retort/examples/retort/command.h"
#include "retort/examples/retort/config_file.h"

#include <fmt/core.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <iostream>

namespace {

using namespace retort;

/// One line of text on stderr, whatever is in the message: file names and torn files may hold line ends and bytes that are no
/// UTF-8.
void complain(const std::string& message) {
  auto text = Json::parse(command::dump(message)).get<std::string>();
  for (char& c : text)
    if (static_cast<unsigned char>(c) < ' ') c = ' ';
  fmt::print(stderr, "retort: {}\n", text);
}

int run(int argc, char** argv) {
  std::signal(SIGCHLD, SIG_DFL);  // ignored by whoever started us, it would keep us from waiting for worker processes
  CLI::App app{
      "Retort: self-distillation for two-task learning on wearable accelerometers.\n"
      "Start with: retort data synth, retort data prepare, retort train, retort report.",
      "retort"};
  app.set_version_flag("--version", std::string(version()));
  app.set_config("--config", "", "Read options of the subcommand from a TOML file; the command line wins");
  app.config_formatter(std::make_shared<command::ConfigFile>(app));
  app.require_subcommand(1);
  app.option_defaults()->always_capture_default();

  command::Command command;
  command::add_data(app, command);
  command::add_train(app, command);
  command::add_evaluate(app, command);
  command::add_predict(app, command);
  command::add_report(app, command);
  command::add_experiment(app, command);
  command::add_summary(app, command);
  command::add_bench(app, command);
  command::add_info(app, command);
  const std::string config_help = "Options may also come from a TOML file: --config FILE";
  for (CLI::App* sub : app.get_subcommands({})) {
    sub->fallthrough()->footer(config_help);  // retort train --config FILE
    for (CLI::App* inner : sub->get_subcommands({})) inner->fallthrough()->footer(config_help);
  }

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help, --version
    const auto unknown = app.remaining(true);
    if (!unknown.empty() && dynamic_cast<const CLI::RequiredError*>(&error))
      complain(fmt::format("unknown subcommand or argument '{}' (see --help)", unknown.front()));
    else
      complain(fmt::format("{} (see --help)", error.what()));
    return command::users_mistake;
  }
  const int code = command.run();
  std::cout.flush();
  check<InputError>(std::cout.good() && std::fflush(stdout) == 0, "standard output cannot be written: {}", std::strerror(errno));
  return code;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const DeviceError& error) {
    complain(error.what());
    return command::device_trouble;
  } catch (const Error& error) {
    complain(error.what());
    return command::users_mistake;
  } catch (const std::filesystem::filesystem_error& error) {  // e.g. a directory that may not be searched
    complain(fmt::format("{}: {}", error.path1().string(), error.code().message()));
    return command::users_mistake;
  } catch (const std::system_error& error) {  // what fmt::print throws when stdout is full or closed
    complain(error.what());
    return command::users_mistake;
  } catch (const std::bad_alloc&) {
    complain("out of memory");
    return command::device_trouble;
  } catch (const std::exception& error) {
    complain(fmt::format("internal error: {}", error.what()));
    return command::internal_error;
  }
}
