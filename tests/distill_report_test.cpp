#include "retort/distill/report/report.h"

#include "catch.h"
#include "fake_runs.h"
#include "retort/core/file.h"
#include "retort/distill/report/figures.h"
#include "retort/distill/report/format.h"
#include "retort/distill/report/progress.h"
#include "retort/distill/report/results.h"
#include "retort/distill/report/table.h"

#include <algorithm>
#include <sstream>

namespace {

using namespace retort;

bool contains(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

std::vector<RunRecord> two_runs(const std::string& dataset = "sleep", bool synthetic = true) {
  return {fake::run("runs/multi-task", fake::config("multi-task", dataset, synthetic), 0.85, 1),
          fake::run("runs/smooth-distill", fake::config("smooth-distill", dataset, synthetic), 0.93, 2)};
}

TEST_CASE("numbers are spelled for readers") {
  CHECK(percent(0.92216) == "92.22");
  CHECK(percent(std::nullopt) == "–");
  CHECK(percent(std::nan("")) == "–");
  CHECK(grouped(1797519, " ") == "1 797 519");
  CHECK(grouped(-1000, ",") == "-1,000");
  CHECK(grouped(7, " ") == "7");
  CHECK(duration(7.25) == "7.2 s");
  CHECK(duration(59.97) == "1 min 00 s");
  CHECK(duration(4368) == "1 h 12 min");
  CHECK(text_width("β 3 – x") == 7);
  CHECK(terminal_text("a\x1b[31mb", 20) == "a?[31mb");
  CHECK(terminal_text("ββββββ", 4) == "βββ…");
}

TEST_CASE("the page needs nothing but itself and escapes what it is given") {
  std::vector<RunRecord> runs = two_runs();
  const std::string attack = "<script>alert(\"1\")</script>&'";
  runs[0].config.data.task1_classes[2] = attack;
  runs[0].config.data.path = attack;
  runs[0].config.init = attack;
  runs[0].directory = "runs/<b>x";
  runs[1].summary->device = attack;
  const std::string page = report_html(runs);
  CHECK(page.starts_with("<!DOCTYPE html>"));
  CHECK_FALSE(contains(page, "<script"));
  CHECK_FALSE(contains(page, "<b>x"));
  CHECK(contains(page, "&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;&amp;&#39;"));
  for (const char* outside : {"src=", "href=", "@import", "url("}) CHECK_FALSE(contains(page, outside));
  for (const char* tag : {"table", "div", "section", "figure", "svg", "dl", "main", "ul", "p", "h2", "h3", "tr", "td", "span"}) {
    CAPTURE(tag);
    const auto count = [&](const std::string& part) {
      std::size_t n = 0;
      for (std::size_t at = page.find(part); at != std::string::npos; at = page.find(part, at + 1)) ++n;
      return n;
    };
    CHECK(count("<" + std::string(tag) + ">") + count("<" + std::string(tag) + " ") + count("<" + std::string(tag) + "\n") ==
          count("</" + std::string(tag) + ">"));
  }
}

TEST_CASE("the same runs give the same bytes") { CHECK(report_html(two_runs()) == report_html(two_runs())); }

TEST_CASE("synthetic data is named, real data is not called so") {
  CHECK(contains(report_html(two_runs(), {.figures = false}), "SYNTHETIC data"));
  CHECK_FALSE(contains(report_html(two_runs("sleep", false), {.figures = false}), "SYNTHETIC"));
  std::ostringstream table;
  print_table(table, two_runs(), {});
  CHECK(contains(table.str(), "SYNTHETIC"));
}

TEST_CASE("the paper's figures stand beside ours where there are any") {
  const PublishedResult* smooth = find_published("smooth-distill", "sleep");
  REQUIRE(smooth != nullptr);
  CHECK(smooth->test.accuracy1.mean == 92.22);
  CHECK(smooth->test.f1_2.deviation == 0.63);
  CHECK(find_published("born-again", "wisdm")->val.accuracy2.mean == 88.35);
  CHECK(published_results().size() == 15);
  CHECK(find_published("cross-task", "sleep") == nullptr);
  CHECK(contains(report_html(two_runs("sleep", false), {.figures = false}), "in the paper"));
  CHECK_FALSE(contains(report_html(two_runs("other", false), {.figures = false}), "in the paper"));
}

TEST_CASE("the best of a group is marked, ties all of them, and groups are not mixed") {
  std::vector<RunRecord> runs = two_runs();
  runs.push_back(runs[1]);
  runs.push_back(fake::run("runs/other", fake::config("smooth-distill"), 0.99, 5));
  runs[3].config.data.sha256 = std::string(64, 'f');
  runs.push_back(runs[3]);
  runs[4].summary.reset();
  const std::vector<RunGroup> groups = group_runs(runs);
  REQUIRE(groups.size() == 2);
  REQUIRE(groups[0].rows.size() == 3);
  CHECK_FALSE(groups[0].rows[0].test_best[0]);
  CHECK(groups[0].rows[1].test_best[0]);
  CHECK(groups[0].rows[2].test_best[0]);
  // One finished and one unfinished run: nothing to compare.
  for (const ResultRow& row : groups[1].rows)
    CHECK(std::none_of(row.val_best.begin(), row.val_best.end(), [](bool b) { return b; }));
}

TEST_CASE("an unfinished run is shown as such") {
  std::vector<RunRecord> runs = two_runs();
  runs[0].summary.reset();
  runs[0].epochs.resize(12);
  CHECK(run_state(runs[0]) == "interrupted or still running: epoch 12 of 40");
  CHECK(contains(report_html(runs, {.figures = false}), "epoch 12 of 40"));
  std::ostringstream table;
  print_table(table, runs, {});
  CHECK(contains(table.str(), "epoch 12 of 40"));
  runs[0].epochs.clear();
  runs[0].steps.clear();
  CHECK(contains(report_html(runs), "epoch 0 of 40"));
  CHECK_THROWS_AS(report_html({}), InputError);
}

TEST_CASE("table 6's measures and the confusion matrix are on the page") {
  std::vector<RunRecord> runs = {two_runs()[0]};
  SplitMetrics& test = *runs[0].summary->best.test;
  std::vector<std::int64_t> confusion(144, 0);
  for (std::size_t i = 0; i < 12; ++i) confusion[i * 13] = 90, confusion[i * 12 + (i + 1) % 12] = 10;
  test.task1 = task_metrics(confusion, 12);
  const std::string page = report_html(runs, {.figures = false});
  CHECK(contains(page, "<td>98.33</td><td>90.00</td><td>90.00</td><td>99.09</td><td>90.00</td>"));
  CHECK(contains(page, "title=\"up → upright: 10 of 100\">10</td>"));
}

TEST_CASE("gnuplot gets numbers only, and gaps where there is no value") {
  Curve curve{.x = {1, 2, 3}, .y = {0.5, std::nan(""), 0.75}, .colour = 11, .dashed = true};
  const std::string script = plot_script({.curves = {curve}, .percent = true});
  CHECK(contains(script, "$data0 << END\n1 50\n\n3 75\nEND\n"));
  CHECK(contains(script, "#000103"));  // colours repeat after eight runs
  curve.y = {std::nan(""), std::nan(""), 1};
  CHECK(plot_script({.curves = {curve}}).empty());
}

TEST_CASE("figures follow the page's colours") {
  const Curve curve{.x = {1, 2, 3}, .y = {0.5, 0.6, 0.75}, .colour = 2, .dashed = false};
  const auto svg = draw({.curves = {curve}});
  if (!svg) {
    WARN("skipped: gnuplot is not installed");
    return;
  }
  CHECK(svg->starts_with("<svg"));
  CHECK(contains(*svg, "var(--c2)"));
  CHECK(contains(*svg, "var(--rule)"));
  CHECK_FALSE(contains(*svg, " id="));
  CHECK_FALSE(contains(*svg, "rgb("));
}

TEST_CASE("without gnuplot the page is written and says what to install") {
  const fake::TemporaryDirectory directory;
  const auto path = directory.path() / "report.html";
  write_report(path, two_runs(), {.figures = false});
  CHECK(contains(read_file(path), "apt-get install gnuplot-nox"));
}

TEST_CASE("the table's columns line up") {
  for (const bool box : {false, true}) {
    std::ostringstream out;
    print_table(out, two_runs(), {.box = box, .colour = false});
    std::istringstream lines(out.str());
    std::vector<std::string> rows;
    for (std::string line; std::getline(lines, line);)
      if (contains(line, "min")) rows.push_back(line);
    REQUIRE(rows.size() == 2);
    CHECK(text_width(rows[0]) == text_width(rows[1]));
    CHECK(contains(out.str(), "│") == box);
    CHECK_FALSE(contains(out.str(), "\x1b"));
  }
  std::ostringstream out;
  print_table(out, two_runs(), {.box = true, .colour = true});
  CHECK(contains(out.str(), "\x1b[1;32m"));
}

TEST_CASE("the progress line fits any width") {
  const ProgressPosition position{.epoch = 7, .epochs = 300, .step = 31, .steps = 335, .loss = 1.23456};
  const EpochRecord epoch{.epoch = 6, .val_acc1 = 0.9123, .val_acc2 = 0.95};
  for (std::size_t width = 0; width < 140; ++width) {
    CAPTURE(width);
    CHECK(text_width(progress_line(position, &epoch, 75, width)) <= width);
  }
  const std::string line = progress_line(position, &epoch, 75, 120);
  CHECK(contains(line, "epoch   7/300"));
  CHECK(contains(line, "loss 1.2346"));
  CHECK(contains(line, "val acc 91.23 / 95.00 %"));
  CHECK(contains(line, "1:15 left"));
}

TEST_CASE("without a terminal progress is a line an epoch") {
  std::ostringstream out;
  {
    Progress progress(out, {.bar = false, .fixed_width = 80}, "smooth-distill", 0, 100);
    for (int step = 1; step <= 50; ++step) progress.step({.epoch = 1, .epochs = 2, .step = step, .steps = 50, .loss = 1}, step);
    progress.epoch({.epoch = 1, .step = 50, .train_loss = 0.5, .val_loss = 0.25, .val_acc1 = 0.5, .val_acc2 = 0.75, .best = true},
                   2);
  }
  CHECK(out.str() == "smooth-distill\nepoch 1/2  loss 0.5000  val loss 0.2500  val acc 50.00 / 75.00 %  0.0 s  best\n");
}

TEST_CASE("what is printed after an epoch starts on a clean line") {
  std::ostringstream out;
  Progress progress(out, {.bar = true, .fixed_width = 60}, "", 0, 50);
  progress.step({.epoch = 1, .epochs = 1, .step = 50, .steps = 50, .loss = 0}, 50);
  CHECK_FALSE(contains(out.str(), "loss"));  // none was read yet
  progress.epoch({.epoch = 1, .step = 50}, 1);
  CHECK(out.str().ends_with("\r\x1b[2K"));
}

TEST_CASE("the bar redraws one line and leaves it clean") {
  std::ostringstream out;
  {
    Progress progress(out, {.bar = true, .fixed_width = 60}, "", 0, 100);
    for (int step = 1; step <= 50; ++step) progress.step({.epoch = 1, .epochs = 2, .step = step, .steps = 50, .loss = 1}, step);
  }
  CHECK(contains(out.str(), "\repoch 1/2"));
  CHECK_FALSE(contains(out.str(), "\n"));
  CHECK(out.str().ends_with("\r\x1b[2K"));
}

}  // namespace
