#include "retort/examples/retort/config_file.h"

#include "retort/core/error.h"
#include "retort/core/file.h"

#include <algorithm>
#include <cctype>

namespace retort::command {

namespace {

constexpr std::string_view blanks = " \t\r";

/// Walks the text, counting lines.
class Reader {
 public:
  Reader(std::string_view text, const std::string& file) : text_(text), file_(file) {}

  bool at_end() const { return at_ == text_.size(); }
  std::size_t line() const { return line_; }
  char peek() const { return at_end() ? '\n' : text_[at_]; }
  char take() {
    const char c = text_[at_++];
    if (c == '\n') ++line_;
    return c;
  }
  bool take_if(char wanted) {
    if (at_end() || text_[at_] != wanted) return false;
    take();
    return true;
  }
  void skip_blanks() {
    while (!at_end() && blanks.find(text_[at_]) != std::string_view::npos) ++at_;
  }
  /// Blanks, line ends and comments.
  void skip_space() {
    for (;; take()) {
      skip_blanks();
      if (peek() == '#')
        while (!at_end() && peek() != '\n') ++at_;
      if (at_end() || peek() != '\n') return;
    }
  }
  /// Nothing but a comment may follow on this line.
  void end_line() {
    skip_blanks();
    if (!at_end() && peek() != '\n' && peek() != '#') error("'{}' is more than one value; strings need quotes", rest_of_line());
    skip_space();
  }
  std::string bare(std::string_view also) {
    const std::size_t begin = at_;
    while (!at_end() && (std::isalnum(static_cast<unsigned char>(text_[at_])) || also.find(text_[at_]) != std::string_view::npos)) ++at_;
    return std::string(text_.substr(begin, at_ - begin));
  }
  std::string_view rest_of_line() const {
    const std::string_view rest = text_.substr(at_);
    return rest.substr(0, std::min({rest.find('\n'), rest.find('\r'), std::size_t{60}}));
  }
  template <class... Args>
  [[noreturn]] void error(fmt::format_string<Args...> format, Args&&... args) const {
    fail<InputError>("{}:{}: {}", file_, line_, fmt::format(format, std::forward<Args>(args)...));
  }

 private:
  std::string_view text_;
  const std::string& file_;
  std::size_t at_ = 0, line_ = 1;
};

std::string quoted(Reader& in) {
  const char quote = in.take();
  std::string out;
  while (!in.take_if(quote)) {
    if (in.peek() == '\n') in.error("a string has no closing {}", quote);
    char c = in.take();
    if (c == '\\' && quote == '"') {
      constexpr std::string_view escapes = "\"\\tn", meant = "\"\\\t\n";
      const std::size_t which = escapes.find(in.peek());
      if (which == std::string_view::npos) in.error("unknown escape \\{}; in 'single quotes' a backslash is only that", in.peek());
      in.take();
      c = meant[which];
    }
    out += c;
  }
  return out;
}

/// One value, added to the entry's.
void read_scalar(Reader& in, ConfigEntry& entry) {
  if (in.peek() == '"' || in.peek() == '\'') {
    entry.values.push_back(quoted(in));
    return;
  }
  std::string word = in.bare("+-._");
  if (word.empty()) in.error("'{}' has no value", entry.key);
  entry.is_boolean = word == "true" || word == "false";
  const bool number = word.find_first_not_of("0123456789+-._eE") == std::string::npos && word.find_first_of("0123456789") != std::string::npos;
  if (!entry.is_boolean && !number) in.error("{}: '{}' is not a number, true or false; strings need quotes", entry.key, word);
  std::erase(word, '_');  // TOML's 1_000
  entry.values.push_back(word);
}

void read_value(Reader& in, ConfigEntry& entry) {
  if (!in.take_if('[')) return read_scalar(in, entry);
  entry.is_list = true;
  for (in.skip_space(); !in.take_if(']'); in.skip_space()) {
    read_scalar(in, entry);
    in.skip_space();
    if (in.at_end()) in.error("the list of '{}' has no closing ]", entry.key);
    if (!in.take_if(',') && in.peek() != ']') in.error("the list of '{}' needs a comma or ] before '{}'", entry.key, in.rest_of_line());
  }
  entry.is_boolean = false;
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
  check<InputError>(flag == (entry.is_boolean && !entry.is_list), "{}", flag ? "is a flag: true or false is needed" : "true and false are for flags");
  if (option.count() > 0) return;  // the command line wins
  if (flag)
    option.add_result(option.get_flag_value(entry.key, entry.values.front()));
  else
    option.add_result(entry.values);
  option.run_callback();
}

}  // namespace

std::vector<ConfigEntry> parse_config(std::string_view text, const std::string& file) {
  Reader in(text, file);
  std::vector<ConfigEntry> entries;
  std::string section;
  for (in.skip_space(); !in.at_end(); in.end_line()) {
    if (in.take_if('[')) {
      section = in.bare("-_.");
      if (section.empty() || !in.take_if(']')) in.error("a section is written [name]");
      continue;
    }
    ConfigEntry entry;
    entry.section = section, entry.line = in.line(), entry.key = in.bare("-_");
    if (entry.key.empty()) in.error("expected key = value or [section], found '{}'", in.rest_of_line());
    for (const ConfigEntry& other : entries)
      if (other.section == section && other.key == entry.key) in.error("'{}' was given in line {} already", entry.key, other.line);
    in.skip_blanks();
    if (!in.take_if('=')) in.error("'{}' needs = and a value", entry.key);
    in.skip_blanks();
    read_value(in, entry);
    entries.push_back(std::move(entry));
  }
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
    check<InputError>(option && option->get_configurable(), "{}:{}: unknown key '{}' of [{}]; keys are the options in its --help", file,
                      entry.line, entry.key, entry.section);
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
