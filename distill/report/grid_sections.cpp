// The tables of a grid's page: results, tests, costs.
#include "retort/distill/report/grid_sections.h"

#include "retort/distill/report/format.h"
#include "retort/distill/report/page.h"
#include "retort/distill/table_text.h"

#include <algorithm>
#include <cmath>

namespace retort {
namespace {

constexpr std::size_t most_rows = 12;   ///< of a results table: each takes up to four lines
constexpr std::size_t most_tests = 30;  ///< of one figure

std::string key_sign(const std::string& key) {
  if (key == "lambda") return "λ";
  if (key == "tau") return "τ";
  if (key == "alpha") return "α";
  if (key == "beta") return "β";
  if (key == "train_fraction") return "training share";
  return key;
}

bool varies(const GridResults& results, std::size_t key) {
  return std::ranges::any_of(results.rows, [&](const GridRow& row) { return row.keys[key] != results.rows.front().keys[key]; });
}

const DataIdentity& data_of(const GridResults& results) { return results.plan->runs.front().config.data; }

const char* paper_label(const GridResults& results) {
  return data_of(results).synthetic ? "in the paper, real data" : "in the paper";
}

std::string dash_or(const std::string& text) { return text.empty() ? kNoValue : text; }

/// "+1.20", with a minus sign that is as wide.
std::string signed_number(double value) {
  const std::string text = number(std::abs(value), 2);
  if (text.empty()) return kNoValue;
  return (text == "0.00" ? "" : value < 0 ? "−" : "+") + text;
}

std::string deviation_html(double deviation) {
  return std::isnan(deviation) ? "" : fmt::format(" <small>±{}{}</small>", kThinSpace, number(deviation, 2));
}

std::string cell(std::size_t column, const std::string& html, std::size_t block) {
  return fmt::format("<td{}>{}</td>", column % block == 0 ? " class=\"from\"" : "", html);
}

/// Per figure the highest mean among rows whose runs are all finished, as printed; empty when fewer than two rows are.
std::array<std::string, grid_figures.size()> best_means(const GridResults& results) {
  std::array<std::string, grid_figures.size()> best;
  for (std::size_t f = 0; f < grid_figures.size(); ++f) {
    double highest = -1;
    int rows = 0;
    for (const GridRow& row : results.rows) {
      if (std::ssize(row.runs) != row.planned) continue;
      const double mean = over_seeds(row.values(grid_figures[f])).mean;
      if (!std::isnan(mean)) highest = std::max(highest, mean), ++rows;
    }
    if (rows > 1) best[f] = number(highest, 2);
  }
  return best;
}

bool has_interval(const GridRow& row) {
  return std::ranges::any_of(grid_figures, [&](const Figure& figure) { return !std::isnan(row.interval(figure).low); });
}

/// Ours, the interval, the paper's, the difference. `sign`: the colour that the row has in the training curves.
std::string result_lines(const GridResults& results, const GridRow& row, const std::string& sign,
                         const std::array<std::string, grid_figures.size()>& best) {
  std::string ours, interval, paper, difference;
  for (std::size_t f = 0; f < grid_figures.size(); ++f) {
    const Figure& figure = grid_figures[f];
    const MeanDeviation value = over_seeds(row.values(figure));
    const std::string mean = dash_or(number(value.mean, 2));
    ours += cell(f, (mean == best[f] ? "<b>" + mean + "</b>" : mean) + deviation_html(value.deviation), 4);
    const Interval range = row.interval(figure);
    interval += cell(f, std::isnan(range.low) ? "" : number(range.low, 2) + " – " + number(range.high, 2), 4);
    if (!row.published) continue;
    const PublishedValue p = published_value(*row.published, figure);
    paper += cell(f, number(p.mean, 2) + deviation_html(p.deviation), 4);
    difference += cell(f, signed_number(value.mean - p.mean), 4);
  }
  std::string out = fmt::format("<tr class=\"run\"><th scope=\"row\">{}{}</th>{}<td class=\"from\">{}{}</td></tr>\n", sign,
                                row_label(results, row), ours, row.runs.size(),
                                std::ssize(row.runs) == row.planned ? "" : fmt::format(" of {}", row.planned));
  const auto line = [&](const char* name, const std::string& cells) {
    out += fmt::format("<tr class=\"paper\"><th scope=\"row\">{}</th>{}<td></td></tr>\n", name, cells);
  };
  if (has_interval(row)) line("95 % by subject", interval);
  if (row.published) line(paper_label(results), paper), line("difference", difference);
  return out;
}

std::string p_html(double p, bool bold = false) {
  if (std::isnan(p)) return kNoValue;
  const std::string text = p < 0.0001 ? "&lt;0.0001" : fmt::format("{:.4f}", p);
  return bold ? "<b>" + text + "</b>" : text;
}

std::string test_table(const GridResults& results, const Figure& figure) {
  std::string lines;
  std::size_t count = 0;
  bool published = false;
  for (const Comparison& c : results.comparisons) {
    if (!c.by_seed || c.figure.test != figure.test || c.figure.task != figure.task || c.figure.accuracy != figure.accuracy)
      continue;
    ++count;
    std::string pair = fmt::format("{} – {}", escape_html(c.a), escape_html(c.b));
    for (const std::string& value : c.stratum) pair += ", " + escape_html(value);
    lines += fmt::format(
        "<tr class=\"run\"><th scope=\"row\">{}</th><td>{}</td><td>{}</td><td class=\"from\">{}</td><td>{}</td>"
        "<td class=\"from\">{}</td><td>{}</td>{}</tr>\n",
        pair, c.pairs, c.pairs > 0 ? signed_number(c.difference) : kNoValue, p_html(c.t.p), p_html(c.t_holm, c.t_holm <= 0.05),
        p_html(c.wilcoxon.p), p_html(c.wilcoxon_holm, c.wilcoxon_holm <= 0.05),
        c.published ? "<td class=\"from\">" + p_html(*c.published) + "</td>" : "");
    published = published || c.published;
  }
  if (count == 0 || count > most_tests) return "";
  return fmt::format(
      "<h3>Task {}, {} on test</h3>\n<div class=\"scroll\"><table class=\"data\">\n<thead>\n<tr><th></th><th></th><th></th>"
      "<th class=\"group from\" colspan=\"2\">t-test</th><th class=\"group from\" colspan=\"2\">Wilcoxon</th>{}</tr>\n"
      "<tr><th class=\"text\">{}</th><th>Seeds</th><th>Difference</th><th class=\"from\">p</th><th>p, Holm</th><th "
      "class=\"from\">p</th>"
      "<th>p, Holm</th>{}</tr>\n</thead>\n<tbody>\n{}</tbody></table></div>\n",
      figure.task, figure.accuracy ? "accuracy" : "macro F1", published ? "<th class=\"from\">In the paper</th>" : "",
      escape_html(key_sign(results.comparisons.front().key)), published ? "<th class=\"from\">p</th>" : "", lines);
}

std::string cost_line(const GridResults& results, const CostRow& cost) {
  const std::string sources = fmt::format("{}", fmt::join(cost.energy_sources, ", "));
  std::string out = fmt::format(
      "<tr class=\"run\"><th scope=\"row\">{}</th><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td "
      "class=\"from\">{}{}</td><td{}>{}</td>"
      "<td class=\"from\">{}</td></tr>\n",
      row_label(results, *cost.row), dash_or(number(cost.mebibytes, 3)), number_html(cost.parameters), number_html(cost.flops),
      cost.flops_one_row ? number_html(*cost.flops_one_row) : kNoValue, duration(cost.seconds.mean),
      std::isnan(cost.seconds.deviation) ? ""
                                         : fmt::format(" <small>±{}{}</small>", kThinSpace, duration(cost.seconds.deviation)),
      sources.empty() ? "" : fmt::format(" title=\"{}\"", escape_html(sources)),
      cost.kilowatt_hours.count > 0 ? energy_text(cost.kilowatt_hours.mean) : "not measured", cost.row->runs.size());
  if (const PublishedCost* p = cost.published)
    out += fmt::format(
        "<tr class=\"paper\"><th scope=\"row\">{}</th><td>{:.3f}</td><td>{:.3f}{}M</td><td></td><td>{}</td><td "
        "class=\"from\">{}</td>"
        "<td>{}</td><td></td></tr>\n",
        data_of(results).dataset == "sleep" ? paper_label(results) : "in the paper, sleep", p->mebibytes, p->parameters,
        kThinSpace, number_html(p->flops), duration(p->seconds), energy_text(p->kilowatt_hours));
  return out;
}

/// The published counts, counted again by this program: they do not depend on data, preset or device.
std::string released_counts() {
  std::string out =
      "<h3>The released form, counted by this program</h3>\n<div class=\"scroll\"><table class=\"data narrow\">\n<thead><tr>"
      "<th class=\"text\">mtl-net-released, 12 + 3 classes</th><th>Parameters</th><th>in the paper</th><th class=\"from\">FLOPs, "
      "one "
      "row</th><th>in the paper</th></tr></thead>\n<tbody>\n";
  for (const PublishedCost& p : published_costs()) {
    const Count count = count_model(std::string(p.method), "mtl-net-released", 12, 3, 1);
    out += fmt::format(
        "<tr class=\"run\"><th scope=\"row\">{}</th><td>{}</td><td>{:.3f}{}M</td><td class=\"from\">{}</td><td>{}</td></tr>\n",
        p.method, number_html(count.parameters), p.parameters, kThinSpace, number_html(count.flops), number_html(p.flops));
  }
  return out + "</tbody></table></div>\n";
}

}  // namespace

std::string row_label(const GridResults& results, const GridRow& row) {
  std::string label = varies(results, 0) ? escape_html(row.keys.front()) : "";
  for (std::size_t k = 1; k < row.keys.size(); ++k) {
    if (!varies(results, k)) continue;
    const std::string& key = results.plan->keys[k];
    label += fmt::format("{}{}{}", label.empty() ? "" : ", ", key == "arch" ? "" : key_sign(key) + " ", escape_html(row.keys[k]));
  }
  return label.empty() ? escape_html(row.keys.front()) : label;
}

std::string results_part(const GridResults& results) {
  if (results.rows.size() > most_rows)
    return fmt::format("<p>{} rows: all figures are in <code>results.csv</code>, what matters of them above.</p>\n",
                       results.rows.size());
  std::string out =
      "<div class=\"scroll\"><table class=\"data\">\n<thead>\n<tr><th></th><th class=\"group from\" colspan=\"4\">Test</th>"
      "<th class=\"group from\" colspan=\"4\">Validation</th><th class=\"from\"></th></tr>\n<tr><th class=\"text\">Percent</th>";
  for (int part = 0; part < 2; ++part)
    out += "<th class=\"from\">Task 1<br>acc.</th><th>Task 1<br>F1</th><th>Task 2<br>acc.</th><th>Task 2<br>F1</th>";
  out += "<th class=\"from\">Runs</th></tr>\n</thead>\n<tbody>\n";
  const auto best = best_means(results);
  const bool in_curves = results.rows.size() <= detailed_rows;
  for (std::size_t i = 0; i < results.rows.size(); ++i)
    out += result_lines(results, results.rows[i], in_curves ? colour_key(i) : "", best);
  out +=
      "</tbody>\n<caption>Mean ± standard deviation over seeds of the mean over folds; macro F1 over the classes that occur. "
      "Bold: highest of the rows whose runs are all finished.";
  if (std::ranges::any_of(results.rows, has_interval))
    out += " 95 % by subject: bootstrap over people, who are drawn with replacement 10 000 times.";
  if (std::ranges::any_of(results.rows, [](const GridRow& row) { return bool(row.published); }))
    out += " In the paper: table 5, 5 folds × 5 seeds × 300 epochs. Difference: ours minus the paper’s, percent points.";
  return out + "</caption></table></div>\n" + differences_note(results, false);
}

std::string tests_part(const GridResults& results) {
  if (results.comparisons.empty()) return "";
  std::string tables;
  std::int64_t pairs = 0;
  for (const Comparison& c : results.comparisons)
    if (c.by_seed) pairs = std::max(pairs, c.pairs);
  if (pairs < 2)
    return "<p>A paired test needs two seeds that both rows have finished, with the same folds; here there are fewer.</p>\n";
  for (const Figure& figure : grid_figures)
    if (figure.test) tables += test_table(results, figure);
  if (tables.empty()) return "<p>Too many rows for a table here: all comparisons are in <code>tests.csv</code>.</p>\n";
  return tables +
         fmt::format(
             "<p class=\"soft\">Pairs are the means over folds of {} seed{}, as the paper’s table 8 has them (Sleep, task 1). "
             "Holm: "
             "corrected for the comparisons of one table; bold: at most 0.05. With {} seeds Wilcoxon’s p cannot be below "
             "{:.4g}. Difference: first minus second, percent points.</p>\n",
             pairs, pairs == 1 ? "" : "s", pairs, std::pow(2.0, 1.0 - static_cast<double>(pairs))) +
         differences_note(results, false);
}

std::string costs_part(const GridResults& results) {
  const auto rows = cost_rows(results);
  if (rows.empty()) return "";
  std::string out =
      "<div class=\"scroll\"><table class=\"data\">\n<thead><tr><th "
      "class=\"text\"></th><th>Size<br>MiB</th><th>Parameters</th><th>FLOPs<br>"
      "of a window</th><th>FLOPs<br>of one row</th><th class=\"from\">Training<br>time</th><th>Energy</th><th "
      "class=\"from\">Runs</th></tr>"
      "</thead>\n<tbody>\n";
  bool measured = false, published = false;
  for (const CostRow& cost : rows) {
    out += cost_line(results, cost);
    measured = measured || cost.kilowatt_hours.count > 0;
    published = published || cost.published;
  }
  out +=
      "</tbody>\n<caption>Size: of the weights’ file, 2<sup>20</sup> bytes. FLOPs: a window’s forward pass, two for each "
      "multiply-add; "
      "of one row: on an input of 1 × 100, as the paper counts, where the rows of a window never mix. Time and energy: mean ± "
      "standard "
      "deviation over runs, validation after each epoch included.";
  out += measured ? " Energy: what the chips’ counters say for the time of the run, other programs and runs included."
                  : " Energy was not measured: no counter (RAPL, which Linux often shows to root only; NVML) could be read.";
  if (published) out += " The paper’s energy is 400 W times its training time.";
  return out + "</caption></table></div>\n" + differences_note(results, true) +
         (published_windows(data_of(results).dataset) > 0 ? released_counts() : "");
}

}  // namespace retort
