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

/// Axes that end at the data: epochs from 1 to the last, percent never above 100, a loss from 0.
std::string axes(std::span<const Curve> curves, bool percent) {
  double last = 2, low = 1, high = 0;
  for (const Curve& curve : curves) {
    for (const double x : curve.x) last = std::max(last, x);
    for (const double y : curve.y)
      if (std::isfinite(y)) low = std::min(low, y), high = std::max(high, y);
  }
  const double bottom = percent ? std::max(0.0, 10 * std::floor(10 * low)) : 0, top = percent ? 100 : high;
  return fmt::format("set xrange [1:{}]\nset xtics {}\nset yrange [{}:{}]\nset ytics {}\n", last,
                     std::max(1.0, mark_step(last - 1)), bottom, percent ? "100" : "*",
                     mark_step(top > bottom ? top - bottom : 1));
}

}  // namespace

std::string curves_script(std::span<const Curve> curves, bool percent) {
  std::string script = "set terminal svg size 370,270 dynamic font 'sans-serif,12'\n" + axes(curves, percent);
  script += fmt::format(
      "set border 1 linecolor rgb '{0}' linewidth 0.8\n"
      "set tics nomirror out scale 0.5 textcolor rgb '{0}'\nset ytics scale 0\n"
      "set grid ytics linetype 1 linecolor rgb '{1}' linewidth 0.8\n"
      "set xlabel 'epoch' textcolor rgb '{0}' offset 0,0.3\n"
      "set format x '%g'\nset format y '{2}'\nunset key\n"
      "set lmargin 6.5\nset rmargin 1.5\nset tmargin 0.8\nset bmargin 3.2\n",
      kInk, kRule, percent ? "%g %%" : "%g");
  std::string plot;
  int number = 0;
  for (const Curve& curve : curves) {
    if (!drawable(curve)) continue;
    script += fmt::format("$curve{} << END\n", number);
    for (std::size_t i = 0; i < curve.x.size() && i < curve.y.size(); ++i)
      script += std::isfinite(curve.y[i]) ? fmt::format("{} {}\n", curve.x[i], percent ? 100 * curve.y[i] : curve.y[i]) : "\n";
    script += "END\n";
    plot += fmt::format("{}$curve{} using 1:2 with lines {} linecolor rgb '#0001{:02x}'", plot.empty() ? "plot " : ", ", number++,
                        curve.dashed ? "dashtype (4,4) linewidth 1.2" : "dashtype solid linewidth 2", curve.colour % kColours);
  }
  return plot.empty() ? "" : script + plot + "\n";
}

std::optional<std::string> draw_curves(std::span<const Curve> curves, bool percent) {
  const std::string script = curves_script(curves, percent);
  if (script.empty()) return "";
  auto svg = run_gnuplot(script);
  if (!svg || svg->find("</svg>") == std::string::npos) return std::nullopt;
  return adapt(std::move(*svg));
}

}  // namespace retort
