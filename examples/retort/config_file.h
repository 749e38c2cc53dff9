// `--config FILE.toml`: options of a subcommand from a file.
//
//     epochs = 40                  # keys before any section are options of the subcommand that is called
//     [train]                      # a section names its subcommand; other subcommands leave it alone
//     method = "smooth-distill"
//     no-shuffle = true
//     [data.prepare]
//     preset = "paper"
#pragma once

#include <CLI/CLI.hpp>

#include <string>
#include <string_view>
#include <vector>

namespace retort::command {

struct ConfigEntry {
  std::string section, key;  ///< section: "" before the first one, else as "data.prepare"
  std::vector<std::string> values;
  bool is_boolean = false, is_list = false;
  std::size_t line = 0;  ///< of the file, from 1
};

/// Throws InputError naming file:line for what is not such a file, and for a key given twice.
std::vector<ConfigEntry> parse_config(std::string_view text, const std::string& file);

/// CLI11's hook. Every key of every section must be an option of that subcommand; the values of the one that was called are
/// applied where the command line has none. Throws InputError naming file:line, key and reason.
class ConfigFile final : public CLI::Config {
 public:
  explicit ConfigFile(CLI::App& root) : root_(root) {}
  std::string to_config(const CLI::App*, bool, bool, std::string) const override { return {}; }
  std::vector<CLI::ConfigItem> from_config(std::istream& input) const override;

 private:
  CLI::App& root_;
};

}  // namespace retort::command
