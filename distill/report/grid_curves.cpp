// The figures of a grid's page: training curves with a band over seeds, and accuracies over the number that the grid varies.
#include "retort/distill/report/figures.h"
#include "retort/distill/report/format.h"
#include "retort/distill/report/grid_sections.h"
#include "retort/distill/report/page.h"
#include "retort/distill/table_text.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace retort {
namespace {

constexpr const char* no_gnuplot =
    "<p class=\"soft\">Install gnuplot (<code>apt-get install gnuplot-nox</code>) for the figures.</p>\n";

struct Panel {
  const char* title;
  double EpochRecord::*value;
  bool percent;
};
constexpr Panel panels[] = {{"Validation loss", &EpochRecord::val_loss, false},
                            {"Validation accuracy, task 1", &EpochRecord::val_acc1, true},
                            {"Validation accuracy, task 2", &EpochRecord::val_acc2, true},
                            {"Training loss", &EpochRecord::train_loss, false},
                            {"Training accuracy, task 1", &EpochRecord::train_acc1, true},
                            {"Training accuracy, task 2", &EpochRecord::train_acc2, true}};

std::optional<std::string> figure_html(std::string_view title, const Plot& plot) {
  const auto svg = draw(plot);
  if (!svg) return std::nullopt;
  if (svg->empty()) return "";
  return fmt::format("<figure><div class=\"title\">{}</div>{}</figure>\n", title, *svg);
}

std::string legend(const std::vector<std::string>& labels) {
  if (labels.size() < 2) return "";
  std::string out = "<ul class=\"legend\">";
  for (std::size_t i = 0; i < labels.size(); ++i) out += fmt::format("<li>{}{}</li>", colour_key(i), labels[i]);
  return out + "</ul>\n";
}

/// The rows by all that they have but the varied number.
struct Series {
  std::string label;
  std::vector<std::string> others;  ///< keys without the varied one
  std::vector<const GridRow*> rows;
};

std::vector<Series> series_of(const GridResults& results, std::size_t key) {
  std::vector<Series> out;
  for (const GridRow& row : results.rows) {
    auto others = row.keys;
    others.erase(others.begin() + static_cast<std::ptrdiff_t>(key));
    auto found = std::ranges::find(out, others, &Series::others);
    if (found == out.end()) found = out.insert(out.end(), {{}, others, {}});
    found->rows.push_back(&row);
  }
  for (std::size_t k = 0; k + 1 < results.plan->keys.size(); ++k) {
    if (std::ranges::all_of(out, [&](const Series& s) { return s.others[k] == out[0].others[k]; })) continue;
    const std::string& name = results.plan->keys[k < key ? k : k + 1];
    for (Series& s : out)
      s.label += (s.label.empty() ? "" : ", ") + (name == "arch" || name == "method" ? "" : escape_html(name) + " ") +
                 escape_html(s.others[k]);
  }
  return out;
}

bool has_interval(const std::vector<Series>& series, const Figure& figure) {
  return std::ranges::any_of(series, [&](const Series& s) {
    return std::ranges::any_of(s.rows, [&](const GridRow* row) { return !std::isnan(row->interval(figure).low); });
  });
}

/// Series with intervals stand beside each other at each mark, so that these can be told apart.
Plot dependence_plot(const std::vector<Series>& series, const std::vector<double>& marks, std::size_t key, const Figure& figure,
                     const char* label) {
  const double apart = has_interval(series, figure) ? 0.1 : 0;
  Plot plot{.x_label = label, .percent = true, .whole_percent = false, .marks = marks};
  for (std::size_t s = 0; s < series.size(); ++s) {
    Whiskers w;
    w.colour = static_cast<int>(s);
    const double shift = apart * (static_cast<double>(s) - 0.5 * static_cast<double>(series.size() - 1));
    for (const GridRow* row : series[s].rows) {
      const double mean = over_seeds(row->values(figure)).mean;
      const auto mark = std::ranges::find(marks, std::stod(row->keys[key]));
      if (std::isnan(mean) || mark == marks.end()) continue;
      const Interval interval = row->interval(figure);
      w.x.push_back(static_cast<double>(mark - marks.begin()) + shift);
      w.y.push_back(mean / 100), w.low.push_back(interval.low / 100), w.high.push_back(interval.high / 100);
    }
    plot.whiskers.push_back(std::move(w));
  }
  return plot;
}

/// A line a series, a column a value of the number.
std::string pivot(const std::vector<Series>& series, const std::vector<double>& marks, std::size_t key, const Figure& figure,
                  const char* label) {
  std::string out = fmt::format(
      "<div><h3>Task {}, test {}</h3>\n<div class=\"scroll\"><table class=\"data narrow\">\n<thead><tr>"
      "<th class=\"text\">Percent; {}</th>",
      figure.task, figure.accuracy ? "accuracy" : "macro F1", label);
  for (const double mark : marks) out += fmt::format("<th>{:g}</th>", mark);
  out += "</tr></thead>\n<tbody>\n";
  for (std::size_t s = 0; s < series.size(); ++s) {
    out += fmt::format("<tr class=\"run\"><th scope=\"row\">{}{}</th>", series.size() > 1 ? colour_key(s) : "",
                       series[s].label.empty() ? "smooth-distill" : series[s].label);
    for (const double mark : marks) {
      const auto row = std::ranges::find_if(series[s].rows, [&](const GridRow* r) { return std::stod(r->keys[key]) == mark; });
      const MeanDeviation value =
          row == series[s].rows.end() ? MeanDeviation{std::nan(""), std::nan(""), 0} : over_seeds((*row)->values(figure));
      out += fmt::format(
          "<td>{}{}</td>", std::isnan(value.mean) ? kNoValue : number(value.mean, 2),
          std::isnan(value.deviation) ? "" : fmt::format("<br><small>±{}{}</small>", kThinSpace, number(value.deviation, 2)));
    }
    out += "</tr>\n";
  }
  return out + "</tbody></table></div></div>\n";
}

}  // namespace

std::string curves_part(const GridResults& results, bool draw_them) {
  if (results.rows.size() > detailed_rows) return "";
  Plot empty[std::size(panels)];
  std::vector<std::string> labels;
  std::size_t seeds = 0;
  for (std::size_t i = 0; i < results.rows.size(); ++i) {
    labels.push_back(row_label(results, results.rows[i]));
    const auto epochs = epochs_by_seed(results, results.rows[i]);
    for (std::size_t p = 0; p < std::size(panels); ++p) {
      const SeedBand band = seed_band(epochs, panels[p].value);
      seeds = std::max(seeds, band.seeds);
      std::vector<double> x(band.median.size());
      std::iota(x.begin(), x.end(), 1.0);
      empty[p].percent = panels[p].percent;
      empty[p].curves.push_back({x, band.median, static_cast<int>(i), false});
      if (band.seeds > 1) empty[p].bands.push_back({x, band.low, band.high, static_cast<int>(i)});
    }
  }
  std::string figures;
  for (std::size_t p = 0; p < std::size(panels); ++p) {
    const auto figure = draw_them ? figure_html(panels[p].title, empty[p]) : std::nullopt;
    if (!figure) return no_gnuplot;
    figures += *figure;
  }
  if (figures.empty()) return "<p>A curve needs two epochs.</p>\n";
  return legend(labels) + "<div class=\"figures\">\n" + figures + "</div>\n" +
         fmt::format(
             "<p class=\"soft\">{} Training loss is what the method minimises, distillation terms included, so its height cannot "
             "be "
             "compared between methods; validation loss is α CE₁ + (1−α) CE₂. Of Born-Again the student is shown.</p>\n",
             seeds > 1
                 ? fmt::format("Lines: median over {} seeds of the mean over folds; ground: from the lowest to the highest seed.",
                               seeds)
                 : "Lines: mean over folds of one seed.");
}

std::string dependence_part(const GridResults& results, bool draw_them) {
  const std::string name = varied_number(*results.plan);
  const auto at = std::ranges::find(results.plan->keys, name);
  if (name.empty() || at == results.plan->keys.end()) return "";
  const auto key = static_cast<std::size_t>(at - results.plan->keys.begin());
  const std::vector<Series> series = series_of(results, key);
  if (series.size() > detailed_rows) return "";
  std::vector<double> marks;
  for (const GridRow& row : results.rows) marks.push_back(std::stod(row.keys[key]));
  std::ranges::sort(marks);
  marks.erase(std::unique(marks.begin(), marks.end()), marks.end());
  const char* label = name == "lambda"           ? "λ"
                      : name == "train_fraction" ? "share of the training part"
                                                 : results.plan->keys[key].c_str();
  std::vector<std::string> labels;
  for (const Series& s : series) labels.push_back(s.label);
  std::string figures, tables;
  bool bars = false;
  for (const Figure& figure : grid_figures) {
    if (!figure.test) continue;
    tables += pivot(series, marks, key, figure, label);
    if (!figure.accuracy) continue;
    bars = bars || has_interval(series, figure);
    const auto svg = draw_them ? figure_html(fmt::format("Test accuracy, task {}", figure.task),
                                             dependence_plot(series, marks, key, figure, label))
                               : std::nullopt;
    figures += svg ? *svg : figure.task == 1 ? no_gnuplot : "";
  }
  return legend(labels) + "<div class=\"figures two\">\n" + figures +
         "</div>\n<p class=\"soft\">Points: mean over seeds of the mean over folds." +
         (bars
              ? " Bars: 95 % intervals over people (bootstrap by subject), who are the same at every point: the bars say how the "
                "whole line may lie with other people."
              : "") +
         "</p>\n" + "<div class=\"task\">\n" + tables + "</div>\n" + differences_note(results, false);
}

}  // namespace retort
