#include "retort/distill/report/figures.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <limits>
#include <memory>
#include <string_view>
#include <utility>

extern char** environ;

namespace retort {
namespace {

// Colours that no one draws with: each stands for a CSS variable and is replaced in the SVG. Curve c is #0001cc.
constexpr const char* kInk = "#010101";
constexpr const char* kRule = "#020202";
constexpr int kColours = 8;

using File = std::unique_ptr<std::FILE, int (*)(std::FILE*)>;

std::string read_all(std::FILE* file) {
  std::string text;
  std::rewind(file);
  char buffer[1 << 14];
  for (std::size_t n; (n = std::fread(buffer, 1, sizeof buffer, file)) > 0;) text.append(buffer, n);
  return text;
}

/// Runs gnuplot with unnamed files as stdin and stdout: no pipe can block, and a dying gnuplot cannot signal us.
std::optional<std::string> run_gnuplot(const std::string& script) {
  const File in(std::tmpfile(), &std::fclose), out(std::tmpfile(), &std::fclose);
  if (!in || !out || std::fwrite(script.data(), 1, script.size(), in.get()) != script.size() || std::fflush(in.get()) != 0)
    return std::nullopt;
  std::rewind(in.get());
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, fileno(in.get()), 0);
  posix_spawn_file_actions_adddup2(&actions, fileno(out.get()), 1);
  posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
  char name[] = "gnuplot", defaults[] = "--default-settings", from_stdin[] = "-";
  char* const arguments[] = {name, defaults, from_stdin, nullptr};
  pid_t child = 0;
  const int failed = posix_spawnp(&child, name, &actions, nullptr, arguments, environ);
  posix_spawn_file_actions_destroy(&actions);
  if (failed != 0) return std::nullopt;
  int status = 0;
  while (waitpid(child, &status, 0) == -1 && errno == EINTR) {
  }
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) return std::nullopt;
  return read_all(out.get());
}

/// Removes every piece that starts with `from` and ends with the next `to`.
void erase_all(std::string& text, std::string_view from, std::string_view to) {
  for (std::size_t at = text.find(from); at != std::string::npos; at = text.find(from, at)) {
    const std::size_t end = text.find(to, at + from.size());
    if (end == std::string::npos) return;
    text.erase(at, end + to.size() - at);
  }
}

/// gnuplot opens many groups in which it then draws nothing.
void erase_empty_groups(std::string& svg) {
  for (std::size_t close = svg.find("</g>"); close != std::string::npos; close = svg.find("</g>", close + 1)) {
    const std::size_t before = svg.find_last_not_of(" \n\t", close - 1);
    const std::size_t open = svg.rfind('<', before);
    if (svg[before] != '>' || svg.compare(open, 3, "<g ") != 0) continue;
    svg.erase(open, close + 4 - open);
    close = open == 0 ? 0 : open - 1;
  }
}

/// The CSS variable that a colour stands for.
std::string colour_variable(int red, int green, int blue) {
  if (red == 0 && green == 1) return fmt::format("var(--c{})", blue);
  return green == 2 ? "var(--rule)" : "var(--ink-soft)";
}

void name_colours(std::string& svg) {
  for (std::size_t at = svg.find("rgb("); at != std::string::npos; at = svg.find("rgb(", at + 1)) {
    int red = 0, green = 0, blue = 0;
    const std::size_t end = svg.find(')', at);
    if (end == std::string::npos || std::sscanf(svg.c_str() + at, "rgb( %d , %d , %d", &red, &green, &blue) != 3) return;
    svg.replace(at, end + 1 - at, colour_variable(red, green, blue));
  }
}

/// From gnuplot's document to an element for our page: no prologue, definitions, ids or fonts, colours by variable.
std::string adapt(std::string svg) {
  svg.erase(0, std::min(svg.find("<svg"), svg.size()));
  for (const auto& [from, to] : {std::pair{"<defs>", "</defs>"}, {"<title>", "</title>"}, {"<desc>", "</desc>"}})
    erase_all(svg, from, to);
  for (const char* attribute : {" id=\"", " class=\"", " font-family=\"", " xmlns:xlink=\"", "\nxmlns:xlink=\""})
    erase_all(svg, attribute, "\"");
  name_colours(svg);
  erase_empty_groups(svg);
  std::string lines;
  for (const char c : svg)
    if (c != '\n' || !lines.ends_with('\n')) lines += c;
  return lines;
}

/// A line needs two points.
bool drawable(const Curve& curve) {
  return std::count_if(curve.y.begin(), curve.y.end(), [](double y) { return std::isfinite(y); }) > 1;
}

/// 1, 2 or 5 times a power of ten: about five marks on an axis of this length.
double mark_step(double length) {
  const double rough = length / 5, power = std::pow(10, std::floor(std::log10(rough)));
  for (const double factor : {1.0, 2.0, 5.0})
    if (rough <= factor * power) return factor * power;
  return 10 * power;
}

struct Extent {
  double low = std::numeric_limits<double>::infinity(), high = -low;
  void add(double value) {
    if (std::isfinite(value)) low = std::min(low, value), high = std::max(high, value);
  }
  void add(const std::vector<double>& values) {
    for (const double value : values) add(value);
  }
};

std::string x_axis(const Plot& plot) {
  if (plot.marks.empty()) {
    Extent x;
    x.add(2);
    for (const Curve& curve : plot.curves) x.add(curve.x);
    return fmt::format("set xrange [1:{}]\nset xtics {}\n", x.high, std::max(1.0, mark_step(x.high - 1)));
  }
  std::string marks;
  for (std::size_t i = 0; i < plot.marks.size(); ++i) marks += fmt::format("{}'{:g}' {}", i > 0 ? ", " : "", plot.marks[i], i);
  return fmt::format("set xrange [-0.4:{}]\nset xtics ({})\n", static_cast<double>(plot.marks.size()) - 0.6, marks);
}

/// A loss goes from 0, percent to 100 unless the figure is to show small differences.
std::string y_axis(const Plot& plot) {
  Extent y;
  for (const Curve& curve : plot.curves) y.add(curve.y);
  for (const Band& band : plot.bands) y.add(band.low), y.add(band.high);
  for (const Whiskers& w : plot.whiskers) y.add(w.y), y.add(w.low), y.add(w.high);
  if (y.low > y.high) y.low = 0, y.high = 1;
  if (!plot.percent) return fmt::format("set yrange [0:*]\nset ytics {}\n", mark_step(y.high > 0 ? y.high : 1));
  double bottom = std::max(0.0, 10 * std::floor(10 * y.low)), top = 100;
  if (!plot.whole_percent) {
    const double step = mark_step(std::max(100 * (y.high - y.low), 0.1));
    bottom = std::max(0.0, step * std::floor(100 * y.low / step)), top = std::min(100.0, step * std::ceil(100 * y.high / step));
  }
  if (bottom >= top) bottom = top - 1;
  return fmt::format("set yrange [{}:{}]\nset ytics {}\n", bottom, top, mark_step(top - bottom));
}

/// The data blocks of a script and its plot command.
class Script {
 public:
  explicit Script(bool percent) : scale_(percent ? 100 : 1) {}

  /// A line a point; what is not finite ends a line (gnuplot breaks curves at blank lines).
  std::string block(const std::vector<double>& x, std::initializer_list<const std::vector<double>*> columns) {
    std::string name = fmt::format("$data{}", count_++), text;
    for (std::size_t i = 0; i < x.size(); ++i) {
      std::string line = fmt::format("{}", x[i]);
      bool finite = true;
      for (const auto* column : columns) {
        finite = finite && i < column->size() && std::isfinite((*column)[i]);
        if (finite) line += fmt::format(" {}", scale_ * (*column)[i]);
      }
      text += finite ? line + "\n" : "\n";
    }
    data += fmt::format("{} << END\n{}END\n", name, text);
    return name;
  }
  void add(const std::string& what, int colour, const char* style) {
    plot += fmt::format("{}{} linecolor rgb '#0001{:02x}' {}", plot.empty() ? "plot " : ", ", what, colour % kColours, style);
  }

  std::string data, plot;

 private:
  double scale_;
  int count_ = 0;
};

}  // namespace

std::string plot_script(const Plot& plot) {
  Script script(plot.percent);
  for (const Band& band : plot.bands)
    if (band.x.size() > 1)
      script.add(script.block(band.x, {&band.low, &band.high}) + " using 1:2:3 with filledcurves", band.colour,
                 "fillstyle transparent solid 0.16 noborder");
  for (const Curve& curve : plot.curves)
    if (drawable(curve))
      script.add(script.block(curve.x, {&curve.y}) + " using 1:2 with lines", curve.colour,
                 curve.dashed ? "dashtype (4,4) linewidth 1.2" : "dashtype solid linewidth 2");
  for (const Whiskers& w : plot.whiskers) {
    // Neither points nor error bars: gnuplot draws those from definitions with ids, which adapt() takes out.
    const std::string points = script.block(w.x, {&w.y});
    const double radius = 0.011 * (static_cast<double>(std::max<std::size_t>(plot.marks.size(), 2)) - 0.2);
    script.add(points + " using 1:2 with lines", w.colour, "linewidth 1");
    script.add(script.block(w.x, {&w.low, &w.high}) + " using 1:2:(0):($3-$2) with vectors nohead", w.colour, "linewidth 1.6");
    script.add(fmt::format("{} using 1:2:({:.4g}) with circles", points, radius), w.colour, "fillstyle solid noborder");
  }
  if (script.plot.empty()) return "";
  return "set encoding utf8\nset terminal svg noenhanced size 370,270 dynamic font 'sans-serif,12'\n" + x_axis(plot) +
         y_axis(plot) +
         fmt::format(
             "set border 1 linecolor rgb '{0}' linewidth 0.8\n"
             "set tics nomirror out scale 0.5 textcolor rgb '{0}'\nset ytics scale 0\n"
             "set grid ytics linetype 1 linecolor rgb '{1}' linewidth 0.8\n"
             "set xlabel '{3}' textcolor rgb '{0}' offset 0,0.3\n"
             "{4}set format y '{2}'\nunset key\n"
             "set lmargin 6.5\nset rmargin 1.5\nset tmargin 0.8\nset bmargin 3.2\n",
             kInk, kRule, plot.percent ? "%g %%" : "%g", plot.x_label, plot.marks.empty() ? "set format x '%g'\n" : "") +
         script.data + script.plot + "\n";
}

std::optional<std::string> draw(const Plot& plot) {
  const std::string script = plot_script(plot);
  if (script.empty()) return "";
  auto svg = run_gnuplot(script);
  if (!svg || svg->find("</svg>") == std::string::npos) return std::nullopt;
  return adapt(std::move(*svg));
}

}  // namespace retort
