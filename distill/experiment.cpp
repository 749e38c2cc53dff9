#include "retort/distill/experiment.h"

#include "retort/core/version.h"
#include "retort/distill/grid_keys.h"
#include "retort/distill/method.h"
#include "retort/distill/presets.h"
#include "retort/distill/trainer.h"

#include <algorithm>
#include <set>

namespace retort {
namespace {

const GridEntry* find_entry(std::span<const GridEntry> entries, std::string_view key) {
  const auto found = std::ranges::find(entries, key, &GridEntry::key);
  return found == entries.end() ? nullptr : &*found;
}

/// `over` replaces values of the same key and adds the others.
void overlay(std::vector<GridEntry>& grid, std::span<const GridEntry> over) {
  for (const GridEntry& entry : over) {
    const auto found = std::ranges::find(grid, entry.key, &GridEntry::key);
    if (found == grid.end())
      grid.push_back(entry);
    else
      *found = entry;
  }
}

std::vector<GridEntry> chosen_grid(const Experiment& experiment, const std::string& effort, std::span<const GridEntry> settings) {
  std::vector<GridEntry> grid = experiment.grid;
  if (!effort.empty()) {
    const auto found = experiment.efforts.find(effort);
    std::vector<std::string> names;
    for (const auto& [name, entries] : experiment.efforts) names.push_back(name);
    check<InputError>(found != experiment.efforts.end(), "experiment {}: no effort '{}'; the file has {}", experiment.name,
                      effort, names.empty() ? "none" : fmt::format("{}", fmt::join(names, ", ")));
    overlay(grid, found->second);
  }
  overlay(grid, settings);
  return grid;
}

std::vector<std::string> names_of(const GridEntry* entry, const std::string& otherwise) {
  if (!entry) return {otherwise};
  std::vector<std::string> names;
  for (const Json& value : entry->values) names.push_back(value.get<std::string>());
  return names;
}

/// Keys that some methods have no use for; see make_plan.
void check_usefulness(std::span<const GridEntry> grid, const std::vector<std::string>& methods) {
  for (const GridEntry& entry : grid) {
    const auto idle = std::ranges::find_if(methods, [&](const auto& method) { return !method_uses(method, entry.key); });
    if (idle == methods.end()) continue;
    check<InputError>(entry.values.size() == 1,
                      "{}: {} has {} values but no effect on method '{}', whose runs would all be the same; "
                      "leave that method or the list out",
                      entry.where, entry.key, entry.values.size(), *idle);
    check<InputError>(std::ranges::any_of(methods, [&](const auto& method) { return method_uses(method, entry.key); }),
                      "{}: {} has no effect on any method of this grid ({}); leave it out", entry.where, entry.key,
                      fmt::join(methods, ", "));
  }
}

/// The grid's keys from the slowest to the fastest in the order of runs.
std::vector<const GridEntry*> loop_order(const std::vector<GridEntry>& grid) {
  std::vector<const GridEntry*> order;
  for (const char* key : {"seed", "fold"})
    if (const GridEntry* entry = find_entry(grid, key)) order.push_back(entry);
  for (const GridEntry& entry : grid)
    if (entry.key != "seed" && entry.key != "fold") order.push_back(&entry);
  return order;
}

RunConfig configure(const std::vector<const GridEntry*>& entries, const std::vector<std::size_t>& at, const DataIdentity& data) {
  std::map<std::string, std::pair<Json, std::string>> chosen;  // key -> value, where
  for (std::size_t i = 0; i < entries.size(); ++i) chosen[entries[i]->key] = {entries[i]->values[at[i]], entries[i]->where};
  const auto text = [&](const char* key, const std::string& otherwise) {
    return chosen.contains(key) ? chosen.at(key).first.get<std::string>() : otherwise;
  };
  const std::string method = text("method", RunConfig{}.method);
  const RunConfig base = default_config(text("preset", data.preset), method);
  Json json = to_json(base);
  for (const auto& [key, value] : chosen)
    if (json.contains(key) && method_uses(method, key) && !(key == "arch" && value.first == preset_arch)) json[key] = value.first;
  RunConfig config = run_config_from_json(json, "grid");
  check<InputError>(config.fold < config.folds, "{}: fold {} of {} folds; they count from 0",
                    chosen.contains("fold") ? chosen.at("fold").second : "grid", config.fold, config.folds);
  config.data = data;
  config.data.axis_layout = text("axis_layout", data.axis_layout);  // windows can be put in the other one as they are read
  config.version = version();
  return config;
}

/// Counts `at` up like an odometer, the last entry fastest; false after the last combination.
bool advance(const std::vector<const GridEntry*>& entries, std::vector<std::size_t>& at) {
  for (std::size_t i = entries.size(); i-- > 0;) {
    if (++at[i] < entries[i]->values.size()) return true;
    at[i] = 0;
  }
  return false;
}

}  // namespace

Plan make_plan(const Experiment& experiment, const std::string& effort, std::span<const GridEntry> settings,
               const DataIdentity& data) {
  Plan plan{experiment.name, experiment.title, effort, chosen_grid(experiment, effort, settings), {}, {}};
  check_usefulness(plan.grid, names_of(find_entry(plan.grid, "method"), RunConfig{}.method));
  plan.keys = {"method"};
  for (const GridEntry& entry : plan.grid)
    if (entry.values.size() > 1 && entry.key != "method" && entry.key != "fold" && entry.key != "seed")
      plan.keys.push_back(entry.key);
  const auto order = loop_order(plan.grid);
  std::map<std::string, std::string> seen;
  std::vector<std::size_t> at(order.size());
  do {
    RunConfig config = configure(order, at, data);
    std::string id = run_id(config);
    const std::string title = run_title(plan, config);
    const auto [twin, fresh] = seen.emplace(id, title);
    check<InputError>(fresh, "{}: two combinations are the same run: {}, and {}",
                      experiment.grid.empty() ? experiment.name : experiment.grid.front().where, twin->second, title);
    plan.runs.push_back({std::move(id), std::move(config)});
  } while (advance(order, at));
  return plan;
}

std::vector<std::string> check_splits(const WindowSet& windows, const Plan& plan) {
  std::set<std::string> done;
  std::vector<std::string> notes;
  for (const PlannedRun& run : plan.runs) {
    const RunConfig& c = run.config;
    if (!done.insert(fmt::format("{} {} {} {} {}", c.split, c.folds, c.fold, c.seed, c.train_fraction)).second) continue;
    try {
      for (const std::string& warning : run_split(windows, c).warnings)
        if (std::ranges::find(notes, warning) == notes.end()) notes.push_back(warning);
    } catch (const InputError& error) {
      fail<InputError>("experiment {}: {}: {}", plan.name, run_title(plan, c), error.what());
    }
  }
  return notes;
}

std::string run_id(const RunConfig& config) {
  nlohmann::json canonical = to_json(config);  // nlohmann::json sorts its keys, ordered_json does not
  for (const char* key : {"threads", "device", "impl", "log_every", "version"}) canonical.erase(key);
  canonical.at("data").erase("path");
  return sha256_of_text(canonical.dump()).substr(0, 16);
}

Json option(const RunConfig& config, const std::string& key) {
  return key == "axis_layout" ? Json(config.data.axis_layout) : to_json(config).at(key);
}

std::string option_text(const RunConfig& config, const std::string& key) {
  const Json value = option(config, key);
  return value.is_string() ? value.get<std::string>() : value.dump();
}

std::string run_title(const Plan& plan, const RunConfig& config) {
  std::string title = config.method;
  for (const std::string& key : plan.keys)
    if (key != "method") title += fmt::format(", {} {}", key, option_text(config, key));
  return title + fmt::format(", seed {}, fold {}", config.seed, config.fold);
}

DataIdentity data_identity(const WindowSet& windows, const std::string& path, const std::string& sha256) {
  const WindowInfo& info = windows.info;
  return {path,
          sha256,
          info.dataset,
          info.synthetic,
          info.options.preset,
          std::string(name(info.options.axis_layout)),
          std::string(name(info.options.label)),
          windows.count(),
          info.task1_names,
          info.task2_names};
}

}  // namespace retort
