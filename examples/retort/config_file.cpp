#include "retort/examples/retort/config_file.h"

#include "retort/core/error.h"
#include "retort/core/file.h"

#define TOML_HEADER_ONLY 1
#include <toml++/toml.h>

#include <algorithm>

namespace retort::command {

namespace {

/// One TOML value as the text that the command line would have.
std::string text_of(const toml::node& node, const std::string& where) {
  if (const auto* text = node.as_string()) return text->get();
  if (const auto* number = node.as_integer()) return fmt::format("{}", number->get());
  if (const auto* number = node.as_floating_point()) return fmt::format("{}", number->get());
  if (const auto* flag = node.as_boolean()) return flag->get() ? "true" : "false";
  fail<InputError>("{}: a string, a number, true, false or a list of these is needed", where);
}

void collect(const toml::table& table, const std::string& section, const std::string& file, std::vector<ConfigEntry>& entries) {
  for (const auto& [key, node] : table) {
    const std::string name(key.str());
    if (const auto* inner = node.as_table()) {
      collect(*inner, section.empty() ? name : section + "." + name, file, entries);
      continue;
    }
    ConfigEntry entry{.section = section,
                      .key = name,
                      .values = {},
                      .is_boolean = node.is_boolean(),
                      .is_list = node.is_array(),
                      .line = node.source().begin.line};
    const std::string where = fmt::format("{}:{}: {}", file, entry.line, name);
    if (const auto* list = node.as_array())
      for (const auto& item : *list) entry.values.push_back(text_of(item, where));
    else
      entry.values.push_back(text_of(node, where));
    entries.push_back(std::move(entry));
  }
}

/// The subcommand of a section; null when there is none.
CLI::App* find_subcommand(CLI::App& root, std::string_view section) {
  CLI::App* at = &root;
  while (at && !section.empty()) {
    const std::size_t dot = std::min(section.find('.'), section.size());
    const auto inner = at->get_subcommands([&](const CLI::App* app) { return app->get_name() == section.substr(0, dot); });
    at = inner.empty() ? nullptr : inner.front();
    section.remove_prefix(std::min(dot + 1, section.size()));
  }
  return at;
}

void apply(CLI::Option& option, const ConfigEntry& entry) {
  const bool flag = option.get_expected_min() == 0;
  check<InputError>(flag == (entry.is_boolean && !entry.is_list), "{}",
                    flag ? "is a flag: true or false is needed" : "true and false are for flags");
  if (option.count() > 0) return;  // the command line wins
  if (flag)
    option.add_result(option.get_flag_value(entry.key, entry.values.front()));
  else
    option.add_result(entry.values);
  option.run_callback();
}

/// Line `number`, from 1, as it stands in the text.
std::string_view line_of(std::string_view text, std::size_t number) {
  while (--number > 0) text.remove_prefix(std::min(text.find('\n'), text.size() - 1) + 1);
  return text.substr(0, text.find_first_of("\r\n"));
}

}  // namespace

std::vector<ConfigEntry> parse_config(std::string_view text, const std::string& file) {
  std::vector<ConfigEntry> entries;
  try {
    collect(toml::parse(text, file), "", file, entries);
  } catch (const toml::parse_error& error) {
    const auto line = error.source().begin.line;
    fail<InputError>("{}:{}: {}: {}", file, line, line_of(text, line), error.description());
  }
  std::ranges::sort(entries, {}, &ConfigEntry::line);  // a table has no order; the first mistake of the file is the one to name
  return entries;
}

std::vector<CLI::ConfigItem> ConfigFile::from_config(std::istream&) const {
  const auto file = root_.get_config_ptr()->as<std::string>();
  CLI::App* chosen = &root_;
  std::string chosen_name;
  while (!chosen->get_subcommands().empty()) {
    chosen = chosen->get_subcommands().front();
    chosen_name += (chosen_name.empty() ? "" : ".") + chosen->get_name();
  }
  for (ConfigEntry& entry : parse_config(read_file(file), file)) {
    if (entry.section.empty()) entry.section = chosen_name;
    CLI::App* app = find_subcommand(root_, entry.section);
    check<InputError>(app, "{}:{}: there is no subcommand [{}]", file, entry.line, entry.section);
    CLI::Option* option = app->get_option_no_throw("--" + entry.key);
    if (!option) option = app->get_option_no_throw(entry.key);
    check<InputError>(option && option->get_configurable(), "{}:{}: unknown key '{}' of [{}]; keys are the options in its --help",
                      file, entry.line, entry.key, entry.section);
    if (app != chosen) continue;
    try {
      apply(*option, entry);
    } catch (const std::exception& error) {
      fail<InputError>("{}:{}: {}: {}", file, entry.line, entry.key, error.what());
    }
  }
  return {};
}

}  // namespace retort::command
