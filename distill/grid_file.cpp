// Reading experiment files: every mistake is found here or in make_plan, with its place.
#include "retort/core/file.h"
#include "retort/distill/experiment.h"
#include "retort/distill/grid_keys.h"
#include "retort/distill/method.h"

#define TOML_HEADER_ONLY 1  // Debian ships both forms; this one needs no library at run time
#include <toml++/toml.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace retort {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

enum class Kind { name, whole, real, truth };

struct Key {
  const char* name;
  Kind kind;
  double low = -infinity, high = infinity;  ///< of a number, both allowed
  bool above_low = false;                   ///< low itself is not
  std::vector<std::string> (*choices)() = nullptr;
};

std::vector<std::string> archs() {
  auto names = nn::architectures();
  names.push_back(preset_arch);
  return names;
}

const std::vector<Key>& keys() {
  static const std::vector<Key> all = {
      {.name = "method", .kind = Kind::name, .choices = method_names},
      {.name = "arch", .kind = Kind::name, .choices = archs},
      {.name = "preset",
       .kind = Kind::name,
       .choices =
           [] {
             return std::vector<std::string>{"released", "paper", "strict"};
           }},
      {.name = "axis_layout",
       .kind = Kind::name,
       .choices =
           [] {
             return std::vector<std::string>{"transposed", "interleaved"};
           }},
      {.name = "lambda", .kind = Kind::real, .low = 0},
      {.name = "tau", .kind = Kind::real, .low = 0, .above_low = true},
      {.name = "beta", .kind = Kind::real, .low = 0, .high = 1},
      {.name = "alpha", .kind = Kind::real, .low = 0, .high = 1},
      {.name = "ema_buffers",
       .kind = Kind::name,
       .choices =
           [] {
             return std::vector<std::string>{"average", "copy", "frozen"};
           }},
      {.name = "train_fraction", .kind = Kind::real, .low = 0, .high = 1, .above_low = true},
      {.name = "fold", .kind = Kind::whole, .low = 0, .high = 1000},
      {.name = "folds", .kind = Kind::whole, .low = 2, .high = 1000},
      {.name = "seed", .kind = Kind::whole, .low = 0},
      {.name = "split",
       .kind = Kind::name,
       .choices =
           [] {
             return std::vector<std::string>{"subject", "stratified", "random"};
           }},
      {.name = "select",
       .kind = Kind::name,
       .choices =
           [] {
             return std::vector<std::string>{"best-mean", "best-task1", "last"};
           }},
      {.name = "epochs", .kind = Kind::whole, .low = 1, .high = 1e6},
      {.name = "batch", .kind = Kind::whole, .low = 2, .high = 1e6},
      {.name = "lr", .kind = Kind::real, .low = 0, .above_low = true},
      {.name = "shuffle", .kind = Kind::truth},
      {.name = "max_steps", .kind = Kind::whole, .low = 0},
  };
  return all;
}

std::string place(const std::string& source, const toml::node& node) {
  const auto line = node.source().begin.line;
  return line > 0 ? fmt::format("{}:{}", source, line) : source;
}

Json number_of(const Key& key, double value, const Json& json, const std::string& where) {
  const bool ok = std::isfinite(value) && value <= key.high && (key.above_low ? value > key.low : value >= key.low);
  const std::string low = key.above_low ? fmt::format("above {}", key.low) : fmt::format("at least {}", key.low);
  check<InputError>(ok, "{}: {} = {}: must be {}{}", where, key.name, json.dump(), low,
                    key.high < infinity ? fmt::format(" and at most {}", key.high) : "");
  return json;
}

/// One value of a key, checked, as RunConfig's JSON has it.
Json value_of(const Key& key, const toml::node& node, const std::string& where) {
  switch (key.kind) {
    case Kind::name:
      if (const auto text = node.value_exact<std::string>()) {
        const auto choices = key.choices();
        check<InputError>(std::ranges::find(choices, *text) != choices.end(), "{}: unknown {} '{}'; known are {}", where,
                          key.name, *text, fmt::join(choices, ", "));
        return *text;
      }
      fail<InputError>("{}: {} must be a name in quotes", where, key.name);
    case Kind::whole:
      if (const auto number = node.value_exact<std::int64_t>())
        return number_of(key, static_cast<double>(*number), *number, where);
      fail<InputError>("{}: {} must be a whole number", where, key.name);
    case Kind::real:
      if (node.is_number()) return number_of(key, *node.value<double>(), *node.value<double>(), where);
      fail<InputError>("{}: {} must be a number", where, key.name);
    case Kind::truth:
      if (const auto truth = node.value_exact<bool>()) return *truth;
      fail<InputError>("{}: {} must be true or false", where, key.name);
  }
  fail("grid key {} of no kind", key.name);
}

GridEntry entry_of(std::string_view name, const toml::node& node, const std::string& source, const std::string& where) {
  const auto key = std::ranges::find(keys(), name, &Key::name);
  check<InputError>(key != keys().end(), "{}: unknown key '{}'; a grid may have {}{}", where, name, fmt::join(grid_keys(), ", "),
                    name == "device" || name == "threads" ? fmt::format("; --{} belongs on the command line", name) : "");
  GridEntry entry{std::string(name), {}, where};
  const auto add = [&](const toml::node& item) {
    const std::string at = node.is_array() ? place(source, item) : where;
    Json value = value_of(*key, item, at);
    check<InputError>(std::ranges::find(entry.values, value) == entry.values.end(), "{}: {} has {} twice", at, name,
                      value.dump());
    entry.values.push_back(std::move(value));
  };
  if (const auto* list = node.as_array())
    for (const auto& item : *list) add(item);
  else
    add(node);
  check<InputError>(!entry.values.empty(), "{}: {} is an empty list; there would be no runs", where, name);
  return entry;
}

/// The entries of [grid] or [effort.NAME] in the order of the file, which is that of the table's columns; toml++ sorts by name.
std::vector<GridEntry> entries_of(const toml::table& table, const std::string& source) {
  std::vector<std::pair<toml::source_position, GridEntry>> found;
  for (const auto& [key, node] : table)
    found.emplace_back(key.source().begin,
                       entry_of(key.str(), node, source, fmt::format("{}:{}", source, key.source().begin.line)));
  std::ranges::stable_sort(found, [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<GridEntry> entries;
  for (auto& [position, entry] : found) entries.push_back(std::move(entry));
  return entries;
}

const toml::table& section(const toml::node& node, const std::string& where, std::string_view name) {
  check<InputError>(node.is_table(), "{}: {} must be a section, [{}]", where, name, name);
  return *node.as_table();
}

toml::table parse_toml(std::string_view text, const std::string& source) {
  try {
    return toml::parse(text);
  } catch (const toml::parse_error& error) {
    fail<InputError>("{}:{}: {}", source, error.source().begin.line, error.description());
  }
}

}  // namespace

bool method_uses(std::string_view method, std::string_view key) {
  const bool smooth = method == "smooth-distill", distils = smooth || method == "born-again" || method == "sd-dropout";
  if (key == "beta" || key == "ema_buffers") return smooth;
  if (key == "lambda" || key == "tau") return distils;
  if (key == "alpha") return distils || method == "multi-task";
  return true;
}

std::vector<std::string> grid_keys() {
  std::vector<std::string> names;
  for (const Key& key : keys()) names.emplace_back(key.name);
  return names;
}

Experiment parse_experiment(std::string_view text, const std::string& source) {
  Experiment experiment;
  experiment.name = std::filesystem::path(source).stem().string();
  for (const auto& [key, node] : parse_toml(text, source)) {
    const std::string where = fmt::format("{}:{}", source, key.source().begin.line);
    if (key == "title") {
      const auto title = node.value_exact<std::string>();
      check<InputError>(title.has_value(), "{}: title must be text in quotes", where);
      experiment.title = *title;
    } else if (key == "grid") {
      experiment.grid = entries_of(section(node, where, "grid"), source);
    } else if (key == "effort") {
      for (const auto& [name, entries] : section(node, where, "effort.NAME")) {
        const std::string at = fmt::format("{}:{}", source, name.source().begin.line);
        experiment.efforts[std::string(name.str())] =
            entries_of(section(entries, at, fmt::format("effort.{}", name.str())), source);
      }
    } else {
      fail<InputError>("{}: unknown key '{}'; an experiment has title, [grid] and [effort.NAME]", where, key.str());
    }
  }
  check<InputError>(!experiment.grid.empty(), "{}: no [grid], or an empty one", source);
  return experiment;
}

Experiment load_experiment(const std::filesystem::path& path) { return parse_experiment(read_file(path), path.string()); }

GridEntry parse_setting(const std::string& text) {
  const auto equals = text.find('=');
  check<InputError>(equals != std::string::npos && equals > 0, "--set {}: expected key=value", text);
  const std::string key = text.substr(0, equals), value = text.substr(equals + 1), where = fmt::format("--set {}", text);
  toml::table table;
  try {
    table = toml::parse(fmt::format("value = {}", value));
  } catch (const toml::parse_error& error) {
    const auto bare = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '_'; };
    check<InputError>(!value.empty() && std::ranges::all_of(value, bare), "{}: {}", where, error.description());
    table = toml::parse(fmt::format("value = \"{}\"", value));  // a name without quotes
  }
  check<InputError>(table.size() == 1, "{}: expected one value", where);
  GridEntry entry = entry_of(key, *table.get("value"), where, where);
  entry.where = where;
  return entry;
}

}  // namespace retort
