// A grid's page and tables: that their figures are those of the records, and that the page says what is missing and what differs.
#include "retort/distill/report/grid_report.h"

#include "catch.h"
#include "fake_runs.h"
#include "retort/core/file.h"
#include "retort/distill/grid_analysis.h"
#include "retort/distill/plan_file.h"
#include "retort/distill/report/figures.h"
#include "retort/distill/report/format.h"
#include "retort/distill/table_text.h"
#include "temp_directory.h"

#include <algorithm>
#include <random>
#include <sstream>

using namespace retort;
using Catch::Matchers::Contains;
using retort_test::contains;
using retort_test::TempDirectory;
namespace fs = std::filesystem;

namespace {

const char* const five_methods = R"(title = "Five <methods>"
[grid]
method = ["single-task", "multi-task", "smooth-distill"]
fold = [0, 1]
seed = [3, 4, 5]
epochs = 6
)";

/// A grid's directory with made-up runs.
struct FakeGrid {
  explicit FakeGrid(const std::string& text, bool synthetic = true, const std::string& name = "table5",
                    const std::string& dataset = "sleep")
      : directory(out / name) {
    const Experiment experiment = parse_experiment(text, name + ".toml");
    plan = make_plan(experiment, "", {}, fake::config("multi-task", dataset, synthetic).data);
    write_plan(directory, plan);
  }
  /// Makes plan.runs[i] a finished run.
  RunRecord finish(std::size_t i, unsigned seed) {
    RunRecord run =
        fake::run(out / ("runs/" + plan.runs[i].id), plan.runs[i].config, 0.7 + 0.02 * static_cast<double>(seed % 10), seed);
    fake::write(run);
    out.write("runs/" + plan.runs[i].id + "/subjects.json",
              R"({"subject":["a","b","c"],"windows":[100,100,200],"correct1":[90,70,180],"correct2":[95,80,190]})");
    return run;
  }
  std::vector<RunRecord> finish_all() {
    std::vector<RunRecord> runs;
    for (std::size_t i = 0; i < plan.runs.size(); ++i) runs.push_back(finish(i, static_cast<unsigned>(i + 1)));
    return runs;
  }
  GridResults results() const { return grid_results(plan, runs_of(directory)); }

  TempDirectory out;
  fs::path directory;
  Plan plan;
};

std::size_t count(std::string_view text, std::string_view part) {
  std::size_t n = 0;
  for (std::size_t at = text.find(part); at != text.npos; at = text.find(part, at + 1)) ++n;
  return n;
}

/// Plainly, without the program's statistics.
struct Plain {
  double mean = 0, deviation = 0;
};
Plain by_hand(const std::vector<RunRecord>& runs, const std::string& method, double (*value)(const RunRecord&)) {
  std::map<std::uint64_t, std::pair<double, int>> seeds;
  for (const RunRecord& run : runs)
    if (run.config.method == method) seeds[run.config.seed].first += value(run), ++seeds[run.config.seed].second;
  double sum = 0, squares = 0;
  for (const auto& [seed, total] : seeds) sum += total.first / total.second;
  const double mean = sum / static_cast<double>(seeds.size());
  for (const auto& [seed, total] : seeds) squares += std::pow(total.first / total.second - mean, 2);
  return {100 * mean, 100 * std::sqrt(squares / static_cast<double>(seeds.size() - 1))};
}

}  // namespace

TEST_CASE("the page's figures are the records', the paper's beside them") {
  FakeGrid grid(five_methods, false);
  const auto runs = grid.finish_all();
  const std::string page = grid_report_html(grid.results(), {.figures = false});
  for (const std::string method : {"single-task", "multi-task", "smooth-distill"}) {
    const Plain accuracy = by_hand(runs, method, [](const RunRecord& r) { return r.summary->best.test->task1.accuracy; });
    const Plain f1 = by_hand(runs, method, [](const RunRecord& r) { return r.summary->best.val->task2.macro_f1; });
    for (const Plain& value : {accuracy, f1}) {
      CAPTURE(method, value.mean);
      CHECK((contains(page, fmt::format("{:.2f} <small>±\u202f{:.2f}</small>", value.mean, value.deviation)) ||
             contains(page, fmt::format("<b>{:.2f}</b> <small>±\u202f{:.2f}</small>", value.mean, value.deviation))));
    }
    const PublishedResult* paper = find_published(method, "sleep");
    CHECK(contains(page, fmt::format("{:.2f} <small>±\u202f{:.2f}</small>", paper->test.f1_1.mean, paper->test.f1_1.deviation)));
    const double difference = accuracy.mean - paper->test.accuracy1.mean;
    CHECK(contains(page, fmt::format("{}{:.2f}</td>", difference < 0 ? "−" : "+", std::abs(difference))));
  }
  CHECK(contains(page, "18 of 18"));
  CHECK(contains(page, "real recordings"));
  CHECK_FALSE(contains(page, "SYNTHETIC"));
  CHECK_FALSE(contains(page, "INCOMPLETE"));
  // The bootstrap's interval is between the worst and the best subject: 70 % and 90 %.
  const Interval interval = grid.results().rows[0].interval(grid_figures[0]);
  CHECK(interval.low >= 70);
  CHECK(interval.high <= 90);
  CHECK(contains(page, fmt::format("{:.2f} – {:.2f}", interval.low, interval.high)));
  // Table 6: our mean over the class, the paper's below.
  const auto classes = class_rows(grid.results(), grid.results().rows[2], 1);
  const Plain sensitivity =
      by_hand(runs, "smooth-distill", [](const RunRecord& r) { return r.summary->best.test->task1.per_class[7].sensitivity; });
  CHECK(classes[7].ours[1].mean == Approx(sensitivity.mean));
  CHECK(classes[7].published->sensitivity == 88.69);
  CHECK(contains(page, fmt::format("<td>{:.2f}<br><small>88.69</small></td>", sensitivity.mean)));
  // The matrix is the sum over folds and seeds.
  std::int64_t hits = 0, windows = 0;
  for (const RunRecord& run : runs)
    if (run.config.method == "multi-task")
      hits += run.summary->best.test->task1.confusion[13], windows += run.summary->best.test->task1.per_class[1].support;
  CHECK(contains(page, fmt::format("upright → upright: {} of {}", hits, windows)));
}

TEST_CASE("the page is one file, escaped and whole") {
  FakeGrid grid(five_methods);
  grid.finish_all();
  const std::string page = grid_report_html(grid.results());
  CHECK(page.starts_with("<!DOCTYPE html>"));
  CHECK(contains(page, "Five &lt;methods&gt;"));
  CHECK(contains(page, "SYNTHETIC data"));
  for (const char* outside : {"src=", "@import", "url(", "<script"}) CHECK_FALSE(contains(page, outside));
  CHECK(count(page, "href=") == count(page, "href=\"#"));
  for (const char* tag : {"table", "div", "section", "figure", "svg", "dl", "main", "ul", "p", "h2", "h3", "tr", "td", "th",
                          "span", "nav", "header", "small", "b"}) {
    CAPTURE(tag);
    CHECK(count(page, fmt::format("<{}>", tag)) + count(page, fmt::format("<{} ", tag)) +
              count(page, fmt::format("<{}\n", tag)) ==
          count(page, fmt::format("</{}>", tag)));
  }
  CHECK(page == grid_report_html(grid.results()));
}

TEST_CASE("an unfinished grid has a page that says so") {
  FakeGrid grid(five_methods);
  CHECK(contains(grid_report_html(grid.results()), "INCOMPLETE: 0 of 18 runs are finished"));
  grid.finish(0, 1);
  grid.finish(1, 2);
  grid.out.write("runs/" + grid.plan.runs[2].id + "/failed.txt", "training diverged: the <loss> is nan\n");
  RunRecord begun = fake::run(grid.out / ("runs/" + grid.plan.runs[3].id), grid.plan.runs[3].config, 0.8, 4);
  begun.summary.reset();
  fake::write(begun);
  const std::string page = grid_report_html(grid.results(), {.figures = false});
  CHECK(contains(page, "INCOMPLETE: 2 of 18 runs are finished</strong>, 1 more are begun"));
  CHECK(contains(page, "smooth-distill, seed 3, fold 0: training diverged: the &lt;loss&gt; is nan"));
  CHECK(contains(page, "1 of 6"));
  CHECK(contains(page, "A paired test needs two seeds"));
  CHECK_FALSE(contains(page, "nan<"));
  CHECK_FALSE(contains(page, "<b>"));  // nothing is best while nothing is whole
}

TEST_CASE("what differs from the paper comes from the records") {
  const auto whats = [](const FakeGrid& grid) {
    std::string text;
    for (const Difference& d : differences(grid.results())) text += fmt::format("{}: {} ({}); ", d.what, d.here, d.paper);
    return text;
  };
  FakeGrid small(five_methods);
  small.finish(0, 1);
  const std::string text = whats(small);
  for (const char* part : {"recordings: synthetic", "split: by subject", "folds × seeds: 2 × 3 (5 × 5)", "epochs: 6 (300)",
                           "runs finished: 1 of 18 (all)", "device: cpu, 2 threads, AVX2 (NVIDIA A100)"})
    CHECK_THAT(text, Contains(part));
  CHECK_FALSE(contains(text, "windows"));  // 53 546, as in the paper
  CHECK_FALSE(contains(text, "λ"));
  FakeGrid full(
      "[grid]\nmethod = [\"multi-task\", \"smooth-distill\"]\npreset = \"released\"\naxis_layout = \"interleaved\"\nsplit = "
      "\"stratified\"\nfold = [0, 1, 2, 3, 4]\nseed = [0, 1, 2, 3, 4]\n",
      false);
  CHECK(whats(full) == "runs finished: 0 of 50 (all); ");
  CHECK(whats(FakeGrid("[grid]\nepochs = 2\n", true, "table5", "other")).empty());
}

TEST_CASE(
    "table 7: the published parameters and FLOPs are those of the released form, and energy is measured or said not to be") {
  for (const PublishedCost& cost : published_costs()) {
    CAPTURE(cost.method);
    const Count counted = count_model(std::string(cost.method), "mtl-net-released", 12, 3, 1);
    CHECK(counted.flops == cost.flops);
    CHECK(number(static_cast<double>(counted.parameters) / 1e6, 3) == number(cost.parameters, 3));
    CHECK(400 * cost.seconds / 3.6e6 == Approx(cost.kilowatt_hours).margin(0.001));  // as the page says
  }
  FakeGrid grid(std::string(five_methods) + "preset = \"released\"\n", false, "table7");
  grid.finish_all();
  const GridResults results = grid.results();
  const auto costs = cost_rows(results);
  REQUIRE(costs.size() == 3);
  CHECK(costs[0].flops_one_row == 10010112);
  CHECK(costs[1].flops_one_row == 5008128);
  CHECK(costs[2].seconds.mean == Approx(124.6));
  CHECK(contains(grid_report_html(results, {.figures = false}), "Energy was not measured"));
  CHECK(contains(times_csv(results), "not measured"));
  CHECK(contains(costs_tex(results), "not measured"));
  // One of the runs measured it.
  RunRecord run = grid.finish(1, 9);
  run.summary->energy = Energy{7200, "RAPL (1 package)"};
  write_summary(run.directory, *run.summary);
  const GridResults again = grid.results();
  CHECK(cost_rows(again)[1].kilowatt_hours.mean == Approx(0.002));
  CHECK(cost_rows(again)[1].kilowatt_hours.count == 1);
  const std::string page = grid_report_html(again, {.figures = false});
  CHECK(contains(page, "title=\"RAPL (1 package)\">2.0 Wh</td>"));
  CHECK(contains(page, "2.0 Wh (1 of the finished runs)"));
  CHECK(contains(page, "0.431 kWh"));
  CHECK(contains(costs_csv(again), ",0.002000,1,6.862,1.798,5008128,3878,0.431"));
}

TEST_CASE("bands over seeds: the median, the lowest and the highest of the seeds' means over folds") {
  const auto run = [](std::initializer_list<double> losses) {
    std::vector<EpochRecord> epochs;
    for (const double loss : losses) epochs.push_back({.val_loss = loss});
    return epochs;
  };
  const SeedBand band =
      seed_band({{0, {run({1, 2}), run({3, 4, 5})}}, {1, {run({7, 8})}}, {2, {run({0, 1})}}}, &EpochRecord::val_loss);
  CHECK(band.median == std::vector<double>{2, 3});
  CHECK(band.low == std::vector<double>{0, 1});
  CHECK(band.high == std::vector<double>{7, 8});
  CHECK(band.seeds == 3);
}

TEST_CASE("a varied number is drawn with its intervals") {
  FakeGrid grid("[grid]\nlambda = [0.001, 0.1, 1.0]\nfold = [0, 1]\nseed = [0, 1]\nepochs = 3\n", true, "lambda");
  grid.finish_all();
  CHECK(varied_number(grid.plan) == "lambda");
  const std::string page = grid_report_html(grid.results());
  CHECK(contains(page, "Bars: 95 % intervals"));
  const GridResults results = grid.results();
  for (const GridRow& row : results.rows)
    CHECK(contains(page, "<td>" + number(over_seeds(row.values(grid_figures[1])).mean, 2) + "<br>"));
  CHECK(count(page, "<figure>") == (draw({.curves = {{{1, 2}, {1, 2}, 0, false}}}) ? 2 + 6 : 0));
  const std::string script = plot_script(
      {.whiskers = {{{0, 1}, {0.5, 0.75}, {0.25, std::nan("")}, {0.625, 1}, 2}}, .percent = true, .marks = {0.001, 1}});
  CHECK(contains(script, "set xtics ('0.001' 0, '1' 1)"));
  CHECK(contains(script, "END\n0 50\n1 75\nEND\n"));
  CHECK(contains(script, "END\n0 25 62.5\n\nEND\n"));
}

TEST_CASE("a page explains what it shows and nothing else") {
  FakeGrid grid("[grid]\nlambda = [0.1, 1.0]\nseed = [0, 1]\nepochs = 3\n", true, "lambda");
  grid.finish_all();
  for (const PlannedRun& run : grid.plan.runs)  // one person: no interval
    grid.out.write("runs/" + run.id + "/subjects.json", R"({"subject":["a"],"windows":[400],"correct1":[340],"correct2":[365]})");
  const std::string page = grid_report_html(grid.results());
  for (const char* absent : {"Bars:", "95 % by subject", "In the paper: table 5", "in the paper, real data"}) {
    CAPTURE(absent);
    CHECK_FALSE(contains(page, absent));
  }
}

TEST_CASE("tables: every line has its heading's columns, LaTeX is balanced, the paper's figures are there") {
  FakeGrid grid(five_methods, false);
  grid.finish_all();
  const GridResults results = grid.results();
  for (const std::string& csv :
       {results_csv(results), tests_csv(results), classes_csv(results), runs_csv(results), costs_csv(results)}) {
    std::istringstream lines(csv);
    std::string line;
    std::getline(lines, line);
    const auto commas = std::ranges::count(line, ',');
    while (std::getline(lines, line)) CHECK(std::ranges::count(line, ',') == commas);
  }
  CHECK_THAT(classes_csv(results), Contains("smooth-distill,1,7,downleft,sensitivity,"));
  CHECK_THAT(classes_csv(results), Contains(",88.69,"));
  for (const std::string& tex : {results_tex(results), tests_tex(results), classes_tex(results), costs_tex(results)}) {
    CHECK(count(tex, "\\begin{tabular}") == count(tex, "\\end{tabular}"));
    CHECK(count(tex, "{") == count(tex, "}"));
    CHECK(count(tex, "$") % 2 == 0);
    CHECK_FALSE(contains(tex, "nan"));
    std::istringstream lines(tex);
    std::ptrdiff_t columns = 0;
    for (std::string line; std::getline(lines, line);) {
      if (const auto at = line.find("\\begin{tabular}{"); at != line.npos)
        columns = std::ranges::count_if(line.substr(at + 15), [](char c) { return c == 'l' || c == 'r'; });
      if (line.ends_with("\\\\") && !contains(line, "multicolumn")) {
        CAPTURE(line);
        CHECK(std::ranges::count(line, '&') - static_cast<std::ptrdiff_t>(count(line, "\\&")) == columns - 1);
      }
    }
  }
  CHECK(tex_text("a_b & 5 % \\ {x}") == "a\\_b \\& 5 \\% \\char92{} \\{x\\}");
}

TEST_CASE("a grid's description is read back as the same plan, and a damaged one is refused") {
  FakeGrid grid(five_methods);
  const Plan plan = load_plan(grid.directory);
  CHECK(plan.title == grid.plan.title);
  CHECK(plan.keys == grid.plan.keys);
  REQUIRE(plan.runs.size() == grid.plan.runs.size());
  for (std::size_t i = 0; i < plan.runs.size(); ++i) CHECK(plan.runs[i].id == grid.plan.runs[i].id);
  const fs::path path = grid.directory / plan_file;
  const Json whole = Json::parse(read_file(path));
  const auto refused = [&](const std::function<void(Json&)>& damage) {
    Json json = whole;
    damage(json);
    write_file_atomically(path, json.dump());
    const std::string message = retort_test::message_of<InputError>([&] { load_plan(grid.directory); });
    CHECK_THAT(message, Contains(plan_file) || Contains("grid"));
    return message;
  };
  CHECK_THAT(refused([](Json& j) { j.erase("title"); }), Contains("'title' is missing"));
  CHECK_THAT(refused([](Json& j) { j["grid"] = 3; }), Contains("not a grid"));
  CHECK_THAT(refused([](Json& j) { j["grid"]["epochs"] = 3; }), Contains("'epochs' must be a list"));
  CHECK_THAT(refused([](Json& j) { j["runs"].erase(0); }), Contains("plans other runs"));
  refused([](Json& j) { j["grid"]["method"][0] = 7; });
  refused([](Json& j) { j["grid"]["fish"] = Json::array({7}); });
}

TEST_CASE("one page for all grids of a directory") {
  FakeGrid grid(five_methods);
  grid.finish_all();
  write_plan(grid.out / "table8", [&] {
    Plan plan = grid.plan;
    plan.name = "table8";
    return plan;
  }());
  const char* two_of_them = "[grid]\nmethod = [\"single-task\", \"multi-task\"]\nfold = 0\nseed = 3\nepochs = 6\n";
  write_plan(grid.out / "curves", make_plan(parse_experiment(two_of_them, "curves.toml"), "", {}, grid.plan.runs[0].config.data));
  REQUIRE(grids_in(grid.out.path()).size() == 3);
  const std::string page = read_file(write_collection(grid.out.path()));
  const std::size_t place[] = {page.find("id=\"grid-table5\""), page.find("id=\"grid-table8\""), page.find("id=\"grid-curves\"")};
  CHECK(std::ranges::is_sorted(place));  // the paper's order
  CHECK(place[2] != page.npos);
  for (const char* finished : {"<td>18 of 18</td>", "<td>2 of 2</td>"}) CHECK(contains(page, finished));
  CHECK(count(page, ">What differs from the paper<") == 2);  // the link and the heading
  CHECK(contains(page, "p, Holm"));
  CHECK_THROWS_AS(write_collection(grid.out / "runs"), InputError);
}
