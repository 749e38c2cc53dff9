// report.html: one page for one or several runs. It needs no network, no script and no other file, follows the reader's light or
// dark setting, prints, and can be read on a phone. The same runs give the same bytes.
#pragma once

#include "retort/distill/run_record.h"

#include <filesystem>
#include <span>
#include <string>

namespace retort {

struct ReportOptions {
  bool figures = true;  ///< draw training curves with gnuplot; without it the page says what to install
};

/// The page. Throws InputError when there are no runs.
std::string report_html(std::span<const RunRecord> runs, const ReportOptions& options = {});

/// Writes the page atomically.
void write_report(const std::filesystem::path& path, std::span<const RunRecord> runs, const ReportOptions& options = {});

}  // namespace retort
