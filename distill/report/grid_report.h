// report.html of a grid of runs: our figures beside the paper's, with what differs from the paper's experiment in words. Like the
// page of a run it needs no network, no script and no other file. A grid of which nothing is finished yet has a page, too.
#pragma once

#include "retort/distill/grid_results.h"
#include "retort/distill/report/report.h"

#include <span>
#include <string>

namespace retort {

/// The page of one grid: everything its runs say, what the experiment is named for first.
std::string grid_report_html(const GridResults& results, const ReportOptions& options = {});

/// One page for the grids of one `retort experiment --out`: of each the part that it is named for. InputError when there are
/// none.
std::string collection_report_html(std::span<const GridResults> grids, const ReportOptions& options = {});

}  // namespace retort
