// retort: from raw accelerometer files to trained weights and a results page.
#include "retort/core/version.h"
#include "retort/examples/retort/command.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstdio>

namespace {

using namespace retort;

/// `--config FILE.toml` holds options of the chosen subcommand, with or without its [section].
class SubcommandToml final : public CLI::ConfigTOML {
 public:
  explicit SubcommandToml(const CLI::App& app) : app_(app) {}

  std::vector<CLI::ConfigItem> from_config(std::istream& input) const override {
    auto read = CLI::ConfigTOML::from_config(input);
    std::vector<std::string> chosen;
    for (const CLI::App* at = &app_; !at->get_subcommands().empty();) {
      at = at->get_subcommands().front();
      chosen.push_back(at->get_name());
    }
    for (CLI::ConfigItem& item : read)
      if (item.parents.empty()) item.parents = chosen;
    return read;
  }

 private:
  const CLI::App& app_;
};

int run(int argc, char** argv) {
  CLI::App app{"Retort: self-distillation for two-task learning on wearable accelerometers.\n"
               "Start with: retort data synth, retort data prepare, retort train, retort report.",
               "retort"};
  app.set_version_flag("--version", std::string(version()));
  app.set_config("--config", "", "Read options of the subcommand from a TOML file; the command line wins");
  app.config_formatter(std::make_shared<SubcommandToml>(app));
  app.allow_config_extras(false);
  app.require_subcommand(1);
  app.option_defaults()->always_capture_default();

  command::Command command;
  command::add_data(app, command);
  command::add_train(app, command);
  command::add_evaluate(app, command);
  command::add_predict(app, command);
  command::add_report(app, command);
  command::add_summary(app, command);
  command::add_info(app, command);
  for (CLI::App* sub : app.get_subcommands({})) {
    sub->fallthrough();  // retort train --config FILE
    for (CLI::App* inner : sub->get_subcommands({})) inner->fallthrough();
  }

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help, --version
    fmt::print(stderr, "retort: {} (see --help)\n", error.what());
    return command::users_mistake;
  }
  return command.run();
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const DeviceError& error) {
    fmt::print(stderr, "retort: {}\n", error.what());
    return command::device_trouble;
  } catch (const Error& error) {
    fmt::print(stderr, "retort: {}\n", error.what());
    return command::users_mistake;
  } catch (const std::bad_alloc&) {
    fmt::print(stderr, "retort: out of memory\n");
    return command::device_trouble;
  } catch (const std::exception& error) {
    fmt::print(stderr, "retort: internal error: {}\n", error.what());
    return command::internal_error;
  }
}
