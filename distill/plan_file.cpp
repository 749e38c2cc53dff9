#include "retort/distill/plan_file.h"

#include "retort/core/file.h"

#include <algorithm>

namespace retort {
namespace fs = std::filesystem;
namespace {

template <class T>
T field(const Json& json, const char* key, const std::string& where) {
  check<InputError>(json.contains(key), "{}: '{}' is missing", where, key);
  return json_detail::from_json_value<T>(json.at(key), where, key);
}

std::vector<GridEntry> entries(const Json& grid, const std::string& where) {
  std::vector<GridEntry> out;
  for (const auto& [key, values] : grid.items()) {
    const auto known = grid_keys();
    check<InputError>(std::ranges::find(known, key) != known.end(), "{}: unknown key '{}'", where, key);
    check<InputError>(values.is_array() && !values.empty(), "{}: '{}' must be a list of values", where, key);
    out.push_back({key, {values.begin(), values.end()}, where});
  }
  return out;
}

}  // namespace

void write_plan(const fs::path& directory, const Plan& plan) {
  Json grid = Json::object(), runs = Json::array();
  for (const GridEntry& entry : plan.grid) grid[entry.key] = entry.values;
  for (const PlannedRun& run : plan.runs) runs.push_back(run.id);
  const Json json = {{"name", plan.name},
                     {"title", plan.title},
                     {"effort", plan.effort},
                     {"grid", grid},
                     {"data", fields_to_json(plan.runs.front().config.data)},
                     {"runs", runs}};
  fs::create_directories(directory);
  write_file_atomically(directory / plan_file, json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n");
}

bool holds_plan(const fs::path& directory) { return fs::exists(directory / plan_file); }

Plan load_plan(const fs::path& directory) {
  const std::string where = (directory / plan_file).string();
  const Json json = parse_json(read_file(directory / plan_file), where);
  check<InputError>(json.is_object() && json.contains("grid") && json.at("grid").is_object(), "{}: not a grid's description",
                    where);
  Experiment experiment{
      field<std::string>(json, "name", where), field<std::string>(json, "title", where), entries(json.at("grid"), where), {}};
  try {
    Plan plan = make_plan(experiment, "", {}, field<DataIdentity>(json, "data", where));
    plan.effort = field<std::string>(json, "effort", where);
    const auto ids = field<std::vector<std::string>>(json, "runs", where);
    check<InputError>(std::ranges::equal(plan.runs, ids, {}, &PlannedRun::id),
                      "{}: this version of the program plans other runs for this grid; run `retort experiment` again", where);
    return plan;
  } catch (const Json::exception& error) {
    fail<InputError>("{}: {}", where, error.what());
  }
}

fs::path runs_of(const fs::path& directory) { return fs::absolute(directory).lexically_normal() / ".." / "runs"; }

std::vector<fs::path> grids_in(const fs::path& directory) {
  std::vector<fs::path> found;
  if (!fs::is_directory(directory)) return found;
  for (const auto& entry : fs::directory_iterator(directory))
    if (holds_plan(entry.path())) found.push_back(entry.path());
  std::ranges::sort(found);
  return found;
}

}  // namespace retort
