// Pieces of CSV (RFC 4180), LaTeX and terminal tables.
#pragma once

#include "retort/distill/statistics.h"

#include <string>
#include <vector>

namespace retort {

using Fields = std::vector<std::string>;

Fields operator+(Fields a, const Fields& b);

/// With quotes where they are needed, and the line's end.
std::string csv_line(const Fields& fields);
/// Empty for NaN, never "-0.0000".
std::string number(double value, int decimals = 4);
/// Six significant digits; empty for NaN.
std::string significant(double value);
/// "92.22 ± 0.53" with `sign` between; without a deviation the mean alone; "–" for NaN.
std::string plus_minus(const MeanDeviation& value, const char* sign);
/// `text` as LaTeX.
std::string tex_text(const std::string& text);
/// A line of a LaTeX table.
std::string tex_line(const Fields& cells);
/// left-aligned first column, right-aligned others, by what a terminal shows.
std::string aligned(const std::vector<Fields>& lines);

}  // namespace retort
