// An experiment: a grid of runs declared in a TOML file (docs/experiments.md). This file reads it, refuses what cannot be meant,
// and turns it into the list of runs; distill/grid.h trains them, distill/grid_results.h makes tables of them.
//
//     title = "Five methods"
//     [grid]                                        # every combination of these values is a run
//     method = ["multi-task", "smooth-distill"]
//     fold = [0, 1, 2, 3, 4]
//     seed = [0, 1, 2, 3, 4]
//     [effort.smoke]                                # replaces values of [grid] when this effort is asked for
//     fold = [0, 1]
//     epochs = 2
#pragma once

#include "retort/data/split.h"
#include "retort/distill/run_record.h"

#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace retort {

/// One key of a grid with its values, and the place it was read from: "table5.toml:7".
struct GridEntry {
  std::string key;
  std::vector<Json> values;
  std::string where;
};

struct Experiment {
  std::string name;  ///< of the file, without ".toml"
  std::string title;
  std::vector<GridEntry> grid;
  std::map<std::string, std::vector<GridEntry>> efforts;
};

/// The keys a grid may have, in the order of the documentation. All are options of `retort train` but `axis_layout`, which is
/// one of `retort data prepare`; `arch` may also be "preset", the preset's own form of MTL-net.
std::vector<std::string> grid_keys();

/// `source` is the file's name in messages. InputError naming file:line and key for what is not TOML, an unknown key or section,
/// a value of the wrong type or out of range, an unknown name, an empty list and a value given twice.
Experiment parse_experiment(std::string_view text, const std::string& source);
Experiment load_experiment(const std::filesystem::path& path);

/// "key=value" of `--set`: the value as in TOML, names also without quotes. InputError as above.
GridEntry parse_setting(const std::string& text);

struct PlannedRun {
  std::string id;  ///< the run's directory name
  RunConfig config;
};

/// What to run.
struct Plan {
  std::string name, title, effort;
  std::vector<GridEntry> grid;  ///< after effort and settings
  std::vector<std::string>
      keys;  ///< those that tell the rows of a table apart: "method", and what else has several values (not fold, seed)
  std::vector<PlannedRun> runs;  ///< seed by seed and fold by fold: a grid that is stopped early can be compared as far as it got
};

/// Every combination, as configurations. Options the grid does not name are the preset's and the method's own; the preset is the
/// data's unless the grid names one. A key that a method has no use for (beta without a moving average) keeps its default there.
/// InputError, naming the key's place, for: an effort the file does not have; fold >= folds; a key with several values that a
/// method of the grid has no use for (its runs would be the same), or with one that no method uses; two combinations that are the
/// same run.
Plan make_plan(const Experiment& experiment, const std::string& effort, std::span<const GridEntry> settings,
               const DataIdentity& data);

/// Splits every run's windows as its training will; an InputError here names the run, and comes before the first one is trained.
/// Returns the notes of all splits, each once: classes that validation or test lack.
std::vector<std::string> check_splits(const WindowSet& windows, const Plan& plan);

/// 16 hexadecimal digits: the sha256 of the configuration as canonical JSON (keys sorted, no blanks) without what does not change
/// results: threads, device, kernels, log_every, the data's path, the program's version.
std::string run_id(const RunConfig& config);

/// The value of a run's option; `key` is one of grid_keys().
Json option(const RunConfig& config, const std::string& key);

/// The same for people: "smooth-distill", "0.5". The key is one of grid_keys().
std::string option_text(const RunConfig& config, const std::string& key);

/// "smooth-distill, lambda 0.5, seed 0, fold 1": what sets the run apart in its plan.
std::string run_title(const Plan& plan, const RunConfig& config);

/// Who `windows` are, for RunConfig::data.
DataIdentity data_identity(const WindowSet& windows, const std::string& path, const std::string& sha256);

}  // namespace retort
