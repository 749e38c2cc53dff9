// Training curves as SVG, drawn by gnuplot.
#pragma once

#include "retort/distill/run_record.h"

#include <optional>
#include <span>
#include <string>
#include <vector>

namespace retort {

/// One curve. Points that are not finite are gaps.
struct Curve {
  std::vector<double> x, y;
  int colour = 0;       ///< index of the run, 0 … 7: the page's --c0 … --c7
  bool dashed = false;  ///< training is dashed, validation solid
};

/// An <svg> element without ids, sized by its container, whose colours are the page's CSS variables (--ink, --rule, --c0 …): one
/// figure serves light, dark and print. No value when gnuplot is missing or fails, an empty string when no curve has two points.
/// `percent` puts the y axis in percent of 0…1 values.
std::optional<std::string> draw_curves(std::span<const Curve> curves, bool percent);

/// What gnuplot is told; public so that a test sees that only numbers reach it.
std::string curves_script(std::span<const Curve> curves, bool percent);

}  // namespace retort
