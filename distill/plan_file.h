// grid.json: what a grid's directory is about, so that `retort report` can write its tables and its page again without the data.
//
//     {"name": "table5", "title": "…", "effort": "smoke", "grid": {"method": ["multi-task", …], …}, "data": {…}, "runs":
//     ["0123…", …]}
//
// The runs themselves are in the directory beside it, ../runs.
#pragma once

#include "retort/distill/experiment.h"

#include <filesystem>

namespace retort {

inline constexpr const char* plan_file = "grid.json";

/// Makes the directory if need be.
void write_plan(const std::filesystem::path& directory, const Plan& plan);

bool holds_plan(const std::filesystem::path& directory);

/// InputError for a missing or damaged file, and for one whose runs this version of the program would name otherwise.
Plan load_plan(const std::filesystem::path& directory);

/// Where the runs of the grid in `directory` are.
std::filesystem::path runs_of(const std::filesystem::path& directory);

/// The directories of grids in `directory`, sorted: what `retort experiment --out` was given.
std::vector<std::filesystem::path> grids_in(const std::filesystem::path& directory);

}  // namespace retort
