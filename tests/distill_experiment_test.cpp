// Grids: what is refused and where, that a run's name depends on what matters and on nothing else, and that a grid that is
// killed, restarted and shared among processes ends in the same tables, byte for byte, as one that was left alone.
#include "retort/distill/experiment.h"

#include "catch.h"
#include "retort/core/file.h"
#include "retort/core/random.h"
#include "retort/distill/grid_results.h"
#include "temp_directory.h"
#include "toy_windows.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <map>
#include <random>
#include <set>
#include <thread>

using namespace retort;
using Catch::Matchers::Contains;
using retort_test::TempDirectory;
namespace fs = std::filesystem;

namespace {

const std::atomic<bool> never{false};

DataIdentity toy_identity(const WindowSet& windows) { return data_identity(windows, "toy", std::string(64, 'a')); }

Plan plan_of(const std::string& text, const WindowSet& windows, const std::string& effort = "",
             std::vector<GridEntry> settings = {}) {
  return make_plan(parse_experiment(text, "toy.toml"), effort, settings, toy_identity(windows));
}

/// Small enough for a test, with a method of two stages and one with a teacher.
const char* const toy_grid = R"(title = "Toy"
[grid]
method = ["multi-task", "smooth-distill", "born-again"]
fold = [0, 1]
seed = [3, 4]
folds = 3
split = "stratified"
epochs = 2
batch = 16
)";

std::string message_of(const std::string& text, const WindowSet& windows) {
  return retort_test::message_of<InputError>([&] { plan_of(text, windows); });
}

std::map<std::string, std::string> tables(const Plan& plan, const fs::path& runs, const fs::path& out) {
  std::map<std::string, std::string> files;
  const GridResults results = grid_results(plan, runs);
  REQUIRE(results.finished == std::ssize(plan.runs));
  write_grid_results(results, out);
  for (const char* file : {"results.csv", "results.tex", "tests.csv", "tests.tex", "classes.csv", "classes.tex", "runs.csv"})
    files[file] = read_file(out / file);
  files["text"] = results_text(results);
  return files;
}

GridOptions grid_options(const fs::path& runs) {
  GridOptions options;
  options.runs = runs;
  options.threads = 1;
  options.poll_seconds = 0.05;
  return options;
}

}  // namespace

TEST_CASE("a mistake in a grid is refused with its file, line and key") {
  const WindowSet windows = toy_windows(120, 1);
  const struct {
    const char *text, *says;
  } cases[] = {
      {"[grid]\nmethod = \"multi-task\"\nepoch = 3\n", "toy.toml:3: unknown key 'epoch'; a grid may have"},
      {"[grid]\nmethod = [\"multi-task\",\n  \"smoth-distill\"]\n", "toy.toml:3: unknown method 'smoth-distill'; known are"},
      {"[grid]\nmethod = 3\n", "toy.toml:2: method must be a name"},
      {"[grid]\nepochs = 2.5\n", "toy.toml:2: epochs must be a whole number"},
      {"[grid]\nepochs = 0\n", "toy.toml:2: epochs = 0: must be at least 1"},
      {"[grid]\nlambda = [0.1, \"x\"]\n", "toy.toml:2: lambda must be a number"},
      {"[grid]\nbeta = 1.5\n", "toy.toml:2: beta = 1.5: must be at least 0 and at most 1"},
      {"[grid]\ntrain_fraction = 0\n", "toy.toml:2: train_fraction = 0.0: must be above 0"},
      {"[grid]\nlr = nan\n", "toy.toml:2: lr"},
      {"[grid]\nseed = [1, 2, 1]\n", "toy.toml:2: seed has 1 twice"},
      {"[grid]\n\nfold = []\n", "toy.toml:3: fold is an empty list"},
      {"[grid]\nshuffle = 1\n", "toy.toml:2: shuffle must be true or false"},
      {"[grid]\nsplit = \"all\"\n", "toy.toml:2: unknown split 'all'"},
      {"[grid]\nthreads = 2\n", "--threads belongs on the command line"},
      {"[grid]\nepochs = 2\nepochs = 3\n", "toy.toml:3"},
      {"[grid\nepochs = 2\n", "toy.toml:1"},
      {"titel = \"x\"\n[grid]\nepochs = 2\n", "toy.toml:1: unknown key 'titel'"},
      {"title = 3\n[grid]\nepochs = 2\n", "toy.toml:1: title must be text"},
      {"[gird]\nepochs = 2\n", "toy.toml:1: unknown key 'gird'"},
      {"[effort.smoke]\nepochs = 2\n", "toy.toml: no [grid]"},
      {"[grid]\nepochs = 2\n[effort.smoke]\nepoks = 3\n", "toy.toml:4: unknown key 'epoks'"},
      {"grid = 3\n", "toy.toml:1: grid must be a section"},
      // Impossible or meaningless combinations.
      {"[grid]\nfolds = 3\nfold = [0, 3]\n", "toy.toml:3: fold 3 of 3 folds"},
      {"[grid]\nepochs = 1\n\nfold = 5\n", "toy.toml:4: fold 5 of 5 folds"},
      {"[grid]\nfold = -1\n", "toy.toml:2: fold = -1: must be at least 0"},
      {"[grid]\nfold = [0,\n  1.5]\n", "toy.toml:3: fold must be a whole number"},
      {"[grid]\naxis_layout = \"x\"\n", "toy.toml:2: unknown axis_layout 'x'; known are transposed, interleaved"},
      {"[grid]\nmethod = \"born-again\"\nbeta = [0.9, 0.99]\n",
       "toy.toml:3: beta has 2 values but no effect on method 'born-again'"},
      {"[grid]\nmethod = [\"smooth-distill\", \"single-task\"]\nlambda = [0.1, 1]\n", "toy.toml:3: lambda has 2 values"},
      {"[grid]\nmethod = \"multi-task\"\ntau = 2\n", "toy.toml:3: tau has no effect on any method"},
      {"[grid]\npreset = \"strict\"\narch = [\"preset\", \"mtl-net\"]\n", "two combinations are the same run"},
  };
  for (const auto& c : cases) {
    INFO(c.text);
    CHECK_THAT(message_of(c.text, windows), Contains(c.says));
  }
  CHECK_THROWS_WITH(plan_of("[grid]\nepochs = 2\n[effort.smoke]\nepochs = 1\n", windows, "smoky"),
                    Contains("no effort 'smoky'; the file has smoke"));
  CHECK_THROWS_WITH(parse_setting("epochs"), Contains("expected key=value"));
  CHECK_THROWS_WITH(parse_setting("epoch=3"), Contains("--set epoch=3: unknown key 'epoch'"));
  CHECK_THROWS_WITH(parse_setting("epochs=[1, two]"), Contains("--set epochs"));
  CHECK_THROWS_WITH(parse_setting("epochs="), Contains("--set epochs="));
}

TEST_CASE("a split that cannot be made is refused before the first run") {
  const WindowSet windows = toy_windows(120, 1);  // 6 subjects
  const Plan plan = plan_of("[grid]\nmethod = \"multi-task\"\nsplit = \"subject\"\nfold = [0, 6]\nfolds = 7\n", windows);
  CHECK_THROWS_WITH(check_splits(windows, plan), Contains("experiment toy: multi-task, seed 0, fold 0") && Contains("subjects"));
}

TEST_CASE("a plan holds every combination once, seeds and folds outermost; efforts and settings replace values") {
  const WindowSet windows = toy_windows(120, 1);
  const Plan plan = plan_of(toy_grid, windows);
  REQUIRE(plan.runs.size() == 12);
  CHECK(plan.keys == std::vector<std::string>{"method"});
  CHECK(run_title(plan, plan.runs[0].config) == "multi-task, seed 3, fold 0");
  CHECK(run_title(plan, plan.runs[1].config) == "smooth-distill, seed 3, fold 0");
  CHECK(run_title(plan, plan.runs[11].config) == "born-again, seed 4, fold 1");
  std::set<std::string> ids;
  for (const PlannedRun& run : plan.runs) ids.insert(run.id);
  CHECK(ids.size() == 12);

  const std::string with_effort = std::string(toy_grid) + "[effort.more]\nlr = [0.001, 0.002]\nseed = 9\n";
  const Plan more = plan_of(with_effort, windows, "more",
                            {parse_setting("method=[\"multi-task\", \"sd-dropout\"]"), parse_setting("split=random")});
  REQUIRE(more.runs.size() == 8);
  CHECK(more.keys == std::vector<std::string>{"method", "lr"});
  CHECK(more.runs.front().config.split == "random");
  CHECK(more.runs.front().config.seed == 9);
  // The method's own defaults, and a single value only where the method has a use for it.
  const Plan idle = plan_of("[grid]\nmethod = [\"multi-task\", \"sd-dropout\"]\ntau = 4\n", windows);
  CHECK(idle.runs[0].config.tau == 3);
  CHECK(idle.runs[1].config.tau == 4);
  CHECK(idle.runs[1].config.lambda == 1);
  CHECK(plan_of("[grid]\npreset = \"released\"\narch = \"preset\"\n", windows).runs[0].config.arch == "mtl-net-released");
  CHECK(plan_of("[grid]\nepochs = 2\n", windows).runs[0].config.preset == windows.info.options.preset);
  const Plan layouts = plan_of("[grid]\naxis_layout = [\"interleaved\", \"transposed\"]\n", windows);
  CHECK(layouts.runs[0].config.data.axis_layout == "interleaved");
  CHECK(run_title(layouts, layouts.runs[1].config) == "smooth-distill, axis_layout transposed, seed 0, fold 0");
}

TEST_CASE("a run's name depends on everything that changes its results and on nothing else") {
  const WindowSet windows = toy_windows(60, 1);
  RunConfig config;
  config.data = toy_identity(windows);
  // Written down once: directories of finished runs must be found again. A new option of RunConfig changes it, knowingly.
  const std::string id = run_id(config);
  CHECK(id == "694c8c0ba132b500");
  RunConfig same = config;
  same.threads = 7, same.device = "cuda", same.impl = "conv2d=cudnn", same.log_every = 50, same.version = "9.9",
  same.data.path = "/elsewhere/toy.safetensors";
  CHECK(run_id(same) == id);
  std::set<std::string> ids{id};
  const std::vector<std::function<void(RunConfig&)>> changes{
      [](RunConfig& c) { c.method = "born-again"; },
      [](RunConfig& c) { c.arch = "mtl-net-paper"; },
      [](RunConfig& c) { c.preset = "paper"; },
      [](RunConfig& c) { c.epochs = 7; },
      [](RunConfig& c) { c.batch = 32; },
      [](RunConfig& c) { c.lr = 2e-3; },
      [](RunConfig& c) { c.alpha = 0.4; },
      [](RunConfig& c) { c.lambda = 0.1; },
      [](RunConfig& c) { c.tau = 2; },
      [](RunConfig& c) { c.beta = 0.99; },
      [](RunConfig& c) { c.ema_buffers = "copy"; },
      [](RunConfig& c) { c.split = "random"; },
      [](RunConfig& c) { c.fold = 1; },
      [](RunConfig& c) { c.folds = 4; },
      [](RunConfig& c) { c.seed = 1; },
      [](RunConfig& c) { c.select = "last"; },
      [](RunConfig& c) { c.shuffle = false; },
      [](RunConfig& c) { c.max_steps = 5; },
      [](RunConfig& c) { c.train_fraction = 0.5; },
      [](RunConfig& c) { c.init = "w"; },
      [](RunConfig& c) { c.data.sha256[0] = 'b'; },
      [](RunConfig& c) { c.data.axis_layout = "interleaved"; },
  };
  for (const auto& change : changes) {
    RunConfig other = config;
    change(other);
    ids.insert(run_id(other));
  }
  CHECK(ids.size() == changes.size() + 1);
}

TEST_CASE("the experiments that come with the program can be planned at every effort") {
  const WindowSet windows = toy_windows(120, 1);
  int experiments = 0;
  for (const auto& entry : fs::directory_iterator(fs::path(RETORT_SOURCE_DIR) / "examples" / "experiments")) {
    if (entry.path().extension() != ".toml") continue;
    INFO(entry.path());
    ++experiments;
    const Experiment experiment = load_experiment(entry.path());
    CHECK_FALSE(experiment.title.empty());
    for (const char* effort : {"smoke", "hour", "full"}) {
      const Plan plan = make_plan(experiment, effort, {}, toy_identity(windows));
      if (experiment.name == "table5")
        CHECK(plan.runs.size() == (effort == std::string("full") ? 125u : effort == std::string("hour") ? 30u : 20u));
      if (experiment.name == "table5" && effort == std::string("full")) CHECK(plan.runs[0].config.epochs == 300);
      if (experiment.name == "lambda") CHECK(plan.keys == std::vector<std::string>{"method", "lambda"});
    }
  }
  CHECK(experiments == 13);
}

TEST_CASE("a grid killed at random steps and restarted ends in the tables of an undisturbed one, byte for byte") {
  const auto seed = std::random_device{}();
  CAPTURE(seed);
  Random random(seed);
  const WindowSet windows = toy_windows(150, seed);
  const Plan plan = plan_of(toy_grid, windows);
  TempDirectory temporary;
  REQUIRE_FALSE(run_grid(windows, plan, grid_options(temporary / "whole"), never).interrupted);
  const auto whole = tables(plan, temporary / "whole", temporary / "whole-tables");
  CHECK(whole.at("results.csv").find("nan") == std::string::npos);
  CHECK_FALSE(fs::exists(temporary / "whole" / plan.runs[0].id / run_files::checkpoint));  // a finished run needs none

  int stops = 0, starts = 0;
  for (bool interrupted = true; interrupted && starts < 200; ++starts) {
    GridOptions options = grid_options(temporary / "broken");
    options.threads = 1 + starts % 2;
    std::atomic<bool> stop{false};
    auto left = static_cast<std::int64_t>(1 + random.below(60));  // steps until this process is killed
    if (stops >= 10) left = 1000000;
    options.on_start = [&](const PlannedRun&, Trainer& trainer) {
      trainer.observer.tick = [&](std::int64_t, std::int64_t) { stop = --left <= 0; };
    };
    interrupted = run_grid(windows, plan, options, stop).interrupted;
    stops += interrupted ? 1 : 0;
  }
  CHECK(stops >= 2);
  CHECK(tables(plan, temporary / "broken", temporary / "broken-tables") == whole);
  // So does one whose runs train side by side in one process.
  GridOptions together = grid_options(temporary / "together");
  together.ensemble = 3, together.threads = 2;
  CHECK(run_grid(windows, plan, together, never).trained == std::ssize(plan.runs));
  CHECK(tables(plan, temporary / "together", temporary / "together-tables") == whole);
  // Nothing is left to do, and saying so trains nothing.
  CHECK(run_grid(windows, plan, grid_options(temporary / "broken"), never).trained == 0);
}

TEST_CASE("processes that share a directory never do a run twice, and take over from one that is killed") {
  const WindowSet windows = toy_windows(150, 5);
  const Plan plan = plan_of(toy_grid, windows);
  TempDirectory temporary;
  const fs::path runs = temporary / "runs", diary = temporary.write("diary", "");
  // Every start and end of a run is a line written by one write(2).
  const auto worker = [&](bool dies) {
    GridOptions options = grid_options(runs);
    int begun = 0;
    options.on_start = [&](const PlannedRun& run, Trainer& trainer) {
      const int fd = ::open(diary.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC);
      const std::string line = fmt::format("{} {}\n", run.id, trainer.steps_done() == 0 ? "begin" : "resume");
      if (::write(fd, line.data(), line.size()) < 0) ::_exit(3);
      ::close(fd);
      if (dies && ++begun == 2) trainer.observer.tick = [](std::int64_t, std::int64_t) { ::kill(::getpid(), SIGKILL); };
    };
    const GridOutcome outcome = run_grid(windows, plan, options, never);
    return outcome.interrupted || !outcome.failures.empty() ? 1 : 0;
  };
  std::vector<pid_t> children;
  for (int i = 0; i < 3; ++i) {
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      int code = 2;
      try {
        code = worker(i == 0);
      } catch (...) {
      }
      ::_exit(code);
    }
    children.push_back(child);
  }
  for (std::size_t i = 0; i < children.size(); ++i) {
    int status = 0;
    REQUIRE(::waitpid(children[i], &status, 0) == children[i]);
    INFO("worker " << i << " status " << status);
    if (i == 0 && WIFSIGNALED(status)) continue;  // unless the others had done everything before its second run
    CHECK((WIFEXITED(status) && WEXITSTATUS(status) == 0));
  }
  std::map<std::string, int> starts;
  std::istringstream lines(read_file(diary));
  int total = 0;
  for (std::string id, what; lines >> id >> what; ++total) ++starts[id];
  CHECK(starts.size() == plan.runs.size());
  CHECK(total <= static_cast<int>(plan.runs.size()) + 1);  // the killed one's run was begun twice
  TempDirectory alone;
  run_grid(windows, plan, grid_options(alone / "runs"), never);
  CHECK(tables(plan, runs, temporary / "tables") == tables(plan, alone / "runs", alone / "tables"));
}

TEST_CASE("a lock is held by one at a time and ends with its holder") {
  TempDirectory temporary;
  auto first = RunLock::try_acquire(temporary / "run");
  REQUIRE(first.has_value());
  CHECK_FALSE(RunLock::try_acquire(temporary / "run").has_value());
  CHECK(RunLock::try_acquire(temporary / "other").has_value());
  first.reset();
  CHECK(RunLock::try_acquire(temporary / "run").has_value());
}

TEST_CASE("shards divide the runs; the last one finds all of them") {
  const WindowSet windows = toy_windows(120, 6);
  Plan plan =
      plan_of("[grid]\nmethod = [\"multi-task\", \"single-task\"]\nseed = [0, 1, 2]\nsplit = \"random\"\nepochs = 1\n", windows);
  std::set<std::size_t> all;
  for (int i = 1; i <= 4; ++i)
    for (const std::size_t run : shard_of(plan, i, 4)) CHECK(all.insert(run).second);
  CHECK(all.size() == plan.runs.size());
  CHECK_THROWS_WITH(shard_of(plan, 5, 4), Contains("--shard 5/4"));
  TempDirectory temporary;
  for (int i = 1; i <= 2; ++i) {
    GridOptions options = grid_options(temporary / "runs");
    options.shard = i, options.shards = 2;
    CHECK(run_grid(windows, plan, options, never).trained == 3);
    CHECK(grid_results(plan, temporary / "runs").finished == 3 * i);
  }
  GridSurvey survey(plan, temporary / "runs", shard_of(plan, 1, 1));
  const GridStatus status = survey.look();
  CHECK(status.finished == 6);
  CHECK(status.share == 1);
  CHECK(survey.newly_finished().size() == 6);
  CHECK(survey.newly_finished().empty());
}

TEST_CASE("a run that fails says why, does not stop the others, and is tried again when asked") {
  const WindowSet windows = toy_windows(120, 7);
  const Plan plan = plan_of(
      "[grid]\nmethod = \"multi-task\"\nlr = [1e30, 0.001]\narch = \"mtl-net-released\"\nsplit = \"random\"\nepochs = 1\n",
      windows);
  TempDirectory temporary;
  const auto outcome = run_grid(windows, plan, grid_options(temporary / "runs"), never);
  CHECK(outcome.trained == 1);
  REQUIRE(outcome.failures.size() == 1);
  CHECK_THAT(outcome.failures[0], Contains("lr 1e+30") && Contains("diverged"));
  CHECK(run_grid(windows, plan, grid_options(temporary / "runs"), never).failures == outcome.failures);  // not tried again
  const GridResults results = grid_results(plan, temporary / "runs");
  CHECK(results.finished == 1);
  CHECK_THAT(results_text(results), Contains("INCOMPLETE: 1 of 2 runs"));
  clear_failures(plan, temporary / "runs");
  CHECK_FALSE(fs::exists(temporary / "runs" / plan.runs[0].id / run_files::failed));
}

TEST_CASE("tables: means over seeds of means over folds, tests with their family, the paper's figures where they belong") {
  const WindowSet windows = toy_windows(200, 8);
  Plan plan = plan_of(toy_grid, windows);
  TempDirectory temporary;
  run_grid(windows, plan, grid_options(temporary / "runs"), never);
  const GridResults results = grid_results(plan, temporary / "runs");
  REQUIRE(results.rows.size() == 3);
  CHECK(results.rows[0].keys[0] == "multi-task");
  double sum = 0;
  for (const FinishedRun& run : results.rows[1].runs) sum += *run.value(grid_figures[0]);
  CHECK(over_seeds(results.rows[1].values(grid_figures[0])).mean == Approx(sum / 4));
  CHECK(results.rows[1].published == nullptr);  // toy data are in no paper
  const Interval interval = results.rows[1].interval(grid_figures[0]);
  CHECK(interval.low <= sum / 4);
  CHECK(interval.high >= sum / 4);
  CHECK(results.comparisons.size() == 2 * 8 * 3);
  for (const Comparison& c : results.comparisons) {
    CHECK(c.pairs == (c.by_seed ? 2 : 4));
    CHECK(c.t_holm >= c.t.p);
  }
  // The counts by subject are those of the summary.
  for (const FinishedRun& run : results.rows[0].runs) {
    std::int64_t count = 0, correct = 0;
    for (const auto n : run.subjects.windows) count += n;
    for (const auto n : run.subjects.correct1) correct += n;
    CHECK(count == run.summary.best.test->task1.windows());
    CHECK(100.0 * static_cast<double>(correct) / static_cast<double>(count) == Approx(*run.value(grid_figures[0])));
  }
  CHECK(published_p("f1", "smooth-distill", "born-again") == 0.7431);
  CHECK(published_p("accuracy", "single-task", "multi-task") == 0.0421);
  CHECK_FALSE(published_p("f1", "cross-task", "born-again").has_value());
  // Every CSV line has the heading's number of fields (no field here holds a comma).
  for (const std::string& csv : {results_csv(results), tests_csv(results), classes_csv(results), runs_csv(results)}) {
    std::istringstream lines(csv);
    std::string line;
    std::getline(lines, line);
    const auto commas = std::ranges::count(line, ',');
    while (std::getline(lines, line)) CHECK(std::ranges::count(line, ',') == commas);
  }
}
