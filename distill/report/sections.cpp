#include "retort/distill/report/sections.h"

#include "retort/distill/report/figures.h"
#include "retort/distill/report/format.h"
#include "retort/distill/report/page.h"

#include <algorithm>
#include <cmath>

namespace retort {
namespace {

/// The value all runs of a group share, or "differs".
template <class Get>
std::string shared_value(const RunGroup& group, Get get) {
  const std::string first = get(group.rows.front().run->config);
  for (const ResultRow& row : group.rows)
    if (get(row.run->config) != first) return "differs between runs";
  return escape_html(first);
}

std::string split_text(const RunConfig& c) {
  if (c.split == "all") return "all windows train, none validate";
  const std::string share = c.train_fraction < 1 ? fmt::format(", {:.4g} % of the training part", 100 * c.train_fraction) : "";
  return fmt::format("{}, fold {} of {}{}", c.split, c.fold, c.folds, share);
}

std::string figure_cells(const Figures& figures, const std::array<bool, 4>& best) {
  std::string out;
  for (std::size_t i = 0; i < figures.size(); ++i) {
    const std::string text = percent(figures[i]);
    out += fmt::format("<td{}>{}</td>", i == 0 ? " class=\"from\"" : "", best[i] ? "<b>" + text + "</b>" : text);
  }
  return out;
}

std::string published_cells(const PublishedSplit& split) {
  std::string out;
  bool first = true;
  for (const PublishedValue& v : {split.accuracy1, split.f1_1, split.accuracy2, split.f1_2}) {
    out += fmt::format("<td{}>{:.2f}<br><small>±{}{:.2f}</small></td>", first ? " class=\"from\"" : "", v.mean, kThinSpace,
                       v.deviation);
    first = false;
  }
  return out;
}

std::string result_row(const ResultRow& row, std::size_t index) {
  const RunRecord& run = *row.run;
  std::string method = escape_html(run.config.method);
  if (run.name() != run.config.method) method = fmt::format("{} <span class=\"soft\">{}</span>", method, escape_html(run.name()));
  std::string out = fmt::format("<tr class=\"run\"><th scope=\"row\">{}{}{}</th>", colour_key(index), method,
                                run.finished() ? "" : " <span class=\"badge\">unfinished</span>");
  out += figure_cells(row.test, row.test_best) + figure_cells(row.val, row.val_best);
  out += fmt::format("<td class=\"from\">{}</td>", row.best_epoch ? std::to_string(*row.best_epoch) : kNoValue);
  out += fmt::format("<td>{}</td><td>{}</td>", run.summary ? millions(run.summary->parameters) : kNoValue,
                     run.summary ? millions(run.summary->flops) : kNoValue);
  out += fmt::format("<td>{}</td></tr>\n", duration(row.seconds));
  if (!row.published) return out;
  return out +
         fmt::format("<tr class=\"paper\"><th scope=\"row\">in the paper{}</th>",
                     run.config.data.synthetic ? ", real data" : "") +
         published_cells(row.published->test) + published_cells(row.published->val) +
         "<td class=\"from\"></td><td></td><td></td><td></td></tr>\n";
}

std::string results_caption(const RunGroup& group) {
  std::string text = "Percent; macro F1 over the classes that occur. Figures are of the weights that the selection rule chose.";
  if (group.rows.size() > 1) text += " Bold: highest of the finished runs.";
  if (std::any_of(group.rows.begin(), group.rows.end(), [](const ResultRow& r) { return r.published != nullptr; }))
    text +=
        " <em>In the paper</em>: table 5 of Smooth-Distill, mean ± standard deviation over 5 folds × 5 seeds, on the real "
        "recordings.";
  return text;
}

/// The last stage's epochs: for Born-Again the student's, counted from 1.
Curve curve_of(const RunRecord& run, double EpochRecord::*value, std::size_t colour, bool dashed) {
  Curve curve{.x = {}, .y = {}, .colour = static_cast<int>(colour % 8), .dashed = dashed};
  for (const EpochRecord& epoch : run.epochs) {
    if (epoch.stage != run.epochs.back().stage) continue;
    curve.x.push_back(static_cast<double>(curve.x.size() + 1));
    curve.y.push_back(epoch.*value);
  }
  return curve;
}

struct Panel {
  const char* title;
  double EpochRecord::*train;
  double EpochRecord::*val;
  bool percent;
};
constexpr Panel kPanels[] = {{"Loss", &EpochRecord::train_loss, &EpochRecord::val_loss, false},
                             {"Task 1, accuracy", &EpochRecord::train_acc1, &EpochRecord::val_acc1, true},
                             {"Task 2, accuracy", &EpochRecord::train_acc2, &EpochRecord::val_acc2, true}};

std::optional<std::string> panel_figure(const RunGroup& group, const Panel& panel) {
  Plot plot{.percent = panel.percent};
  for (std::size_t i = 0; i < group.rows.size(); ++i) {
    plot.curves.push_back(curve_of(*group.rows[i].run, panel.train, i, true));
    plot.curves.push_back(curve_of(*group.rows[i].run, panel.val, i, false));
  }
  auto svg = draw(plot);
  if (!svg) return std::nullopt;
  if (svg->empty()) return "";
  return fmt::format("<figure><div class=\"title\">{}</div>{}</figure>\n", panel.title, *svg);
}

std::string legend(const RunGroup& group) {
  std::string out = "<ul class=\"legend\">";
  for (std::size_t i = 0; i < group.rows.size(); ++i)
    out += fmt::format("<li>{}{}</li>", colour_key(i), escape_html(group.rows[i].run->name()));
  return out + "<li><span class=\"key solid\"></span>validation</li><li><span class=\"key dashed\"></span>training</li></ul>\n";
}

/// The weights of the loss that this method uses.
std::string loss_text(const RunConfig& c) {
  return c.method == "multi-task" ? fmt::format("α {}", c.alpha) : fmt::format("α {}, λ {}, τ {}", c.alpha, c.lambda, c.tau);
}

std::string run_facts(const RunRecord& run) {
  const RunConfig& c = run.config;
  std::string out = "<dl class=\"facts\">\n";
  out += fact("Method", escape_html(c.method)) + fact("Model", escape_html(c.arch));
  if (c.method != "single-task" && c.method != "cross-task") out += fact("Loss", loss_text(c));
  if (c.method == "smooth-distill")
    out += fact("Teacher", fmt::format("moving average, β {}, buffers: {}", c.beta, escape_html(c.ema_buffers)));
  out += fact("Training",
              fmt::format("Adam, rate {}, batch {}, {} epochs{}", c.lr, c.batch, c.epochs, c.shuffle ? "" : ", file order"));
  out += fact("Selection", escape_html(c.select)) + fact("Seed", std::to_string(c.seed));
  out += fact("Initial weights", c.init.empty() ? "drawn from the seed" : "<code>" + escape_html(c.init) + "</code>");
  if (run.summary) {
    const Summary& done = *run.summary;
    out += fact("Ran on", escape_html(done.device));
    out += fact("Training time",
                fmt::format("{}; {} epochs, {} steps", duration(done.train_seconds), done.epochs, number_html(done.steps)));
    out += fact("Parameters", number_html(done.parameters)) + fact("FLOPs of a window", number_html(done.flops));
    out += fact("Program", fmt::format("Retort {}, built by {}", escape_html(done.version), escape_html(done.compiler)));
  } else {
    out += fact("State", escape_html(run_state(run)));
    out += fact("Program", "Retort " + escape_html(c.version));
  }
  return out + "</dl>\n";
}

/// How much the choice of the epoch matters: the same measures with the last epoch's weights.
std::string last_weights_line(const Summary& summary, std::string_view where) {
  const auto& part = summary.last.test ? summary.last.test : summary.last.val;
  if (!part || summary.last.epoch == summary.best.epoch) return "";
  return fmt::format(
      "<p class=\"soft\">The figures above are of epoch {}, which the selection rule chose. With the last epoch’s weights ({}), "
      "{}: "
      "task 1 accuracy {}, F1 {}; task 2 accuracy {}, F1 {}.</p>\n",
      summary.best.epoch, summary.last.epoch, where, percent(part->task1.accuracy), percent(part->task1.macro_f1),
      percent(part->task2.accuracy), percent(part->task2.macro_f1));
}

}  // namespace

std::string data_section(const RunGroup& group, bool numbered) {
  const RunConfig& c = group.config();
  const DataIdentity& d = c.data;
  std::string out = fmt::format("<h2>Data{}</h2>\n<dl class=\"facts\">\n",
                                numbered ? ": " + escape_html(d.dataset) + ", " + escape_html(split_text(c)) : "");
  out +=
      fact("Data set", escape_html(d.dataset) + (d.synthetic ? " <span class=\"badge\">synthetic</span>" : ", real recordings"));
  out += fact("Windows", number_html(d.windows));
  out += fact("Classes", fmt::format("{} (task 1), {} (task 2)", d.task1_classes.size(), d.task2_classes.size()));
  out += fact("Preset of the data", escape_html(d.preset));
  out += fact("Axis layout", escape_html(d.axis_layout)) + fact("Window label", escape_html(d.window_label));
  out += fact("Split", escape_html(split_text(c)));
  out += fact("Preset of the run", shared_value(group, [](const RunConfig& r) { return r.preset; }));
  out += fact("Model", shared_value(group, [](const RunConfig& r) { return r.arch; }));
  out += fact("Selection", shared_value(group, [](const RunConfig& r) { return r.select; }));
  out += fact("Seed", shared_value(group, [](const RunConfig& r) { return std::to_string(r.seed); }));
  out += fact("Device", shared_value(group, [](const RunConfig& r) { return r.device; }));
  out += fact("File", "<code>" + escape_html(d.path) + "</code>", true);
  out += fact("SHA-256 of the file", "<code>" + escape_html(d.sha256) + "</code>", true);
  return out + "</dl>\n";
}

std::string results_section(const RunGroup& group) {
  std::string out =
      "<h2>Results</h2>\n<div class=\"scroll\"><table class=\"data\">\n<thead>\n"
      "<tr><th></th><th class=\"group from\" colspan=\"4\">Test</th><th class=\"group from\" colspan=\"4\">Validation</th>"
      "<th class=\"from\" colspan=\"4\"></th></tr>\n<tr><th class=\"text\">Run</th>";
  for (int part = 0; part < 2; ++part)
    out += "<th class=\"from\">Task 1<br>acc.</th><th>Task 1<br>F1</th><th>Task 2<br>acc.</th><th>Task 2<br>F1</th>";
  out += "<th class=\"from\">Best<br>epoch</th><th>Para-<br>meters</th><th>FLOPs</th><th>Training</th></tr>\n</thead>\n<tbody>\n";
  for (std::size_t i = 0; i < group.rows.size(); ++i) out += result_row(group.rows[i], i);
  out += fmt::format("</tbody>\n</table></div>\n<p class=\"soft\">{}</p>\n", results_caption(group));
  for (const ResultRow& row : group.rows)
    if (!row.run->finished())
      out += fmt::format(
          "<p class=\"soft\"><strong>{}</strong>: {}. Its validation figures are those of its best epoch so far.</p>\n",
          escape_html(row.run->name()), escape_html(run_state(*row.run)));
  return out;
}

std::string curves_section(const RunGroup& group, bool draw) {
  const std::string heading = "<h2>Training</h2>\n";
  if (std::all_of(group.rows.begin(), group.rows.end(), [](const ResultRow& r) { return r.run->epochs.empty(); })) return "";
  std::string figures;
  for (const Panel& panel : kPanels) {
    const auto figure = draw ? panel_figure(group, panel) : std::nullopt;
    if (!figure)
      return heading + "<p class=\"soft\">Install gnuplot (<code>apt-get install gnuplot-nox</code>) for the figures.</p>\n";
    figures += *figure;
  }
  return heading + legend(group) + "<div class=\"figures\">\n" + figures +
         "</div>\n<p class=\"soft\">Training loss is what the method minimises, distillation terms included; validation loss is "
         "α CE₁ + (1−α) CE₂.</p>\n";
}

std::string run_section(const RunRecord& run) {
  const std::string name = run.name();
  std::string heading = escape_html(name);
  if (!run.finished()) {
    heading = with_badge(name, "unfinished");
  } else if (name != run.config.method) {
    heading = with_badge(name, run.config.method);
  }
  std::string out = fmt::format("<h2>{}</h2>\n{}", heading, run_facts(run));
  if (!run.summary) return out;
  const Evaluation& best = run.summary->best;
  const auto& part = best.test ? best.test : best.val;
  if (!part) return out + "<p class=\"soft\">This run had no validation or test part.</p>\n";
  const char* where = best.test ? "test" : "validation";
  out += task_section(part->task1, run.config.data.task1_classes, fmt::format("Task 1, {}", where));
  out += task_section(part->task2, run.config.data.task2_classes, fmt::format("Task 2, {}", where));
  return out + last_weights_line(*run.summary, where);
}

}  // namespace retort
