// Figures as SVG, drawn by gnuplot: training curves, and a figure over a varied option.
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

/// The space between two lines, drawn as a light ground below the curves.
struct Band {
  std::vector<double> x, low, high;
  int colour = 0;
};

/// Points with intervals, joined by a thin line. Where low or high is not finite there is a point alone.
struct Whiskers {
  std::vector<double> x, y, low, high;
  int colour = 0;
};

struct Plot {
  std::vector<Curve> curves = {};
  std::vector<Band> bands = {};
  std::vector<Whiskers> whiskers = {};
  const char* x_label = "epoch";
  bool percent = false;            ///< the y axis in percent of 0…1 values
  bool whole_percent = true;       ///< … up to 100; else only as far as the data go
  std::vector<double> marks = {};  ///< not empty: mark i of the x axis stands at x = i and shows this number
};

/// An <svg> element without ids, sized by its container, whose colours are the page's CSS variables (--ink, --rule, --c0 …): one
/// figure serves light, dark and print. No value when gnuplot is missing or fails, an empty string when there is nothing to draw:
/// no curve with two points, no whiskers.
std::optional<std::string> draw(const Plot& plot);

/// What gnuplot is told; public so that a test sees that only numbers reach it.
std::string plot_script(const Plot& plot);

}  // namespace retort
