// The parts of a grid's page, each a piece of HTML without its heading; empty where the grid has nothing of the kind.
#pragma once

#include "retort/distill/grid_analysis.h"

#include <span>
#include <string>

namespace retort {

/// Rows that a figure can tell apart by colour, and that a page can show in detail.
inline constexpr std::size_t detailed_rows = 8;

/// A row for people, as HTML: the method, and what else rows differ in ("λ 0.5").
std::string row_label(const GridResults& results, const GridRow& row);

/// Data, effort, device, version, how much is finished, how long it took.
std::string facts_part(const GridResults& results);
/// Runs that are missing or failed; empty when all are finished.
std::string missing_part(const GridResults& results);
/// The data of grids that share them, and effort, time and how much is finished of each.
std::string collection_facts(std::span<const GridResults> grids);
/// What differs from the paper in any of the grids, as a table.
std::string differences_part(std::span<const GridResults> grids);
/// The same in a sentence, for below a table of accuracies or of costs.
std::string differences_note(const GridResults& results, bool costs);

std::string results_part(const GridResults& results);  ///< table 5
std::string classes_part(const GridResults& results);  ///< table 6, confusion matrices
std::string costs_part(const GridResults& results);    ///< table 7
std::string tests_part(const GridResults& results);    ///< table 8
/// Figures 4 to 7: test accuracies over the number that the grid varies, drawn and as a table.
std::string dependence_part(const GridResults& results, bool draw);
std::string curves_part(const GridResults& results, bool draw);  ///< figure 8

}  // namespace retort
