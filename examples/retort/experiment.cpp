// retort experiment
#include "retort/core/device.h"
#include "retort/data/prepared.h"
#include "retort/distill/grid_results.h"
#include "retort/distill/plan_file.h"
#include "retort/distill/report/format.h"
#include "retort/examples/retort/bundled.h"
#include "retort/examples/retort/command.h"
#include "retort/examples/retort/ranks.h"

#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <csignal>
#include <cstring>
#include <fstream>
#include <iostream>
#include <thread>

namespace retort::command {

namespace fs = std::filesystem;

namespace {

struct ExperimentOptions {
  std::string target, data, out, effort = "full", shard = "1/1", device = "cpu";
  std::vector<std::string> settings;
  int jobs = 1, ensemble = 1, threads = 0;
  bool keep_all = false, dry_run = false, print = false;
  int worker = 0;    ///< the process that started this one to share its runs
  std::string only;  ///< the experiment of `all` whose runs these are
};

/// What is not the paper's but explains it (docs/reproducibility.md): "differences" stands for all of these.
bool is_difference(std::string_view name) { return name.starts_with("differences-"); }

std::vector<Experiment> find_experiments(const std::string& target) {
  if (target.ends_with(".toml")) return {load_experiment(target)};
  std::vector<Experiment> found;
  std::vector<std::string_view> names;
  for (const auto& [name, text] : bundled_experiments()) {
    names.push_back(name);
    if (target == name || target == (is_difference(name) ? "differences" : "all"))
      found.push_back(parse_experiment(text, fmt::format("{}.toml", name)));
  }
  check<InputError>(!found.empty(), "unknown experiment '{}'; known are {}, all, differences, or a file ending in .toml", target,
                    fmt::join(names, ", "));
  return found;
}

int print_experiment(const std::string& target) {
  for (const auto& [name, text] : bundled_experiments())
    if (target == name) {
      fmt::print("{}", text);
      return ok;
    }
  fail<InputError>("--print {}: not one of the experiments that come with the program", target);
}

struct Shard {
  std::int64_t index = 1, count = 1;
};

Shard parse_shard(const std::string& text) {
  Shard shard;
  char rest = 0;
  const int read = std::sscanf(text.c_str(), "%ld/%ld%c", &shard.index, &shard.count, &rest);
  check<InputError>(read == 2 && shard.count >= 1 && shard.index >= 1 && shard.index <= shard.count,
                    "--shard {}: expected i/n with i from 1 to n", text);
  return shard;
}

/// The grid's progress on stderr, drawn from its files by a thread of its own: it shows the work of all processes.
class GridProgress {
 public:
  GridProgress(const Plan& plan, const fs::path& runs, const Shard& shard)
      : plan_(plan),
        survey_(plan, runs, shard_of(plan, shard.index, shard.count)),
        runs_(runs),
        terminal_(isatty(STDERR_FILENO) == 1) {
    at_start_ = survey_.look();
    survey_.newly_finished();  // earlier ones are no news
    begun_ = std::chrono::steady_clock::now();
    thread_ = std::jthread([this](const std::stop_token& stop) {
      while (!stop.stop_requested()) {
        for (int i = 0; i < 10 && !stop.stop_requested(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(100));
        show();
      }
    });
  }
  ~GridProgress() {
    thread_.request_stop();
    thread_.join();
    if (terminal_) fmt::print(stderr, "\r\x1b[2K");
  }
  GridProgress(const GridProgress&) = delete;
  GridProgress& operator=(const GridProgress&) = delete;

 private:
  void show() try {
    const GridStatus status = survey_.look();
    for (const std::size_t i : survey_.newly_finished()) announce(i, status);
    if (terminal_) draw(status);
  } catch (const std::exception&) {
    // A file that is just being replaced; the next look sees the new one.
  }
  void announce(std::size_t i, const GridStatus& status) {
    if (terminal_) return;
    const PlannedRun& run = plan_.runs[i];
    const Summary summary = read_summary(runs_ / run.id);
    const auto& test = summary.best.test;
    fmt::print(stderr, "{} [{}/{}] {}: test {} / {}, {}\n", plan_.name, status.finished, status.runs,
               run_title(plan_, run.config), percent(test ? std::optional(test->task1.accuracy) : std::nullopt),
               percent(test ? std::optional(test->task2.accuracy) : std::nullopt), duration(summary.train_seconds));
  }
  void draw(const GridStatus& status) {
    winsize size{};
    const std::size_t width = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col - 1u : 79u;
    std::string bar;
    for (int i = 0; i < 16; ++i) bar += i < std::lround(16 * status.share) ? "█" : "░";
    std::string line =
        fmt::format("{} {}/{} runs {} {:.0f} %", plan_.name, status.finished, status.runs, bar, 100 * status.share);
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun_).count(),
                 did = status.share - at_start_.share;
    if (did > 0 && seconds > 2 && status.share < 1)
      line += fmt::format("  {} left", duration(seconds / did * (1 - status.share)));
    if (status.latest && status.epoch) {
      const RunConfig& config = plan_.runs[*status.latest].config;
      line += fmt::format("  {}: epoch {}/{} val {} / {}", run_title(plan_, config), status.epoch->epoch,
                          config.epochs * (config.method == "born-again" ? 2 : 1), percent(status.epoch->val_acc1),
                          percent(status.epoch->val_acc2));
    }
    fmt::print(stderr, "\r{}\x1b[K", terminal_text(line, width));
    std::fflush(stderr);
  }

  const Plan& plan_;
  GridSurvey survey_;
  const fs::path runs_;
  bool terminal_;
  GridStatus at_start_;
  std::chrono::steady_clock::time_point begun_;
  std::jthread thread_;
};

/// This command line once more, for a process that shares the runs.
pid_t start_worker(const std::string& experiment) {
  std::ifstream file("/proc/self/cmdline", std::ios::binary);
  std::vector<std::string> arguments;
  for (std::string argument; std::getline(file, argument, '\0');) arguments.push_back(argument);
  for (const std::string& argument : {std::string("--worker"), std::to_string(getpid()), std::string("--only"), experiment})
    arguments.push_back(argument);
  std::vector<char*> pointers;
  for (std::string& argument : arguments) pointers.push_back(argument.data());
  pointers.push_back(nullptr);
  const pid_t child = fork();
  check(child >= 0, "--jobs: no further process can be started: {}", std::strerror(errno));
  if (child == 0) {
    execv("/proc/self/exe", pointers.data());
    _exit(127);
  }
  return child;
}

/// Ends with the process that started it, and leaves Ctrl-C, which reaches the whole group, to that one: it passes on one
/// SIGTERM.
void become_worker(int parent) {
  catch_interrupts();
  std::signal(SIGINT, SIG_IGN);
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (getppid() != parent) std::raise(SIGTERM);
}

/// Waits for the workers; the worst exit code of those that did not go well (130 aside).
int wait_for(std::vector<pid_t> workers, const std::atomic<bool>& stop) {
  int worst = ok;
  bool told = false;
  while (!workers.empty()) {
    if (stop.load() && !told) {
      for (const pid_t worker : workers) kill(worker, SIGTERM);
      told = true;
    }
    std::erase_if(workers, [&](pid_t worker) {
      int status = 0;
      if (waitpid(worker, &status, WNOHANG) != worker) return false;
      const int code = WIFEXITED(status) ? WEXITSTATUS(status) : internal_error;
      if (WIFSIGNALED(status))
        fmt::print(stderr, "a worker process ended by signal {}; its run goes on from the last checkpoint\n", WTERMSIG(status));
      if (code != interrupted) worst = std::max(worst, code);
      return true;
    });
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  return worst;
}

std::vector<std::string> failures_of(const Plan& plan, const fs::path& runs) {
  std::vector<std::string> out;
  for (const PlannedRun& run : plan.runs) {
    const fs::path path = runs / run.id / run_files::failed;
    std::string reason;
    if (std::ifstream file(path); std::getline(file, reason))
      out.push_back(fmt::format("{} ({}): {}", run.id, run_title(plan, run.config), reason));
  }
  return out;
}

class Session {
 public:
  /// `ranks`: under mpirun, else null.
  Session(const ExperimentOptions& options, WindowSet windows, Ranks* ranks)
      : o_(options), windows_(std::move(windows)), ranks_(ranks), stop_(catch_interrupts()), shard_(parse_shard(options.shard)) {
    const DataIdentity data = data_identity(windows_, o_.data, sha256_of_file(o_.data));
    std::vector<GridEntry> settings;
    for (const std::string& setting : o_.settings) settings.push_back(parse_setting(setting));
    for (const Experiment& experiment : find_experiments(o_.target)) {
      std::string effort = o_.effort;
      if (experiment.efforts.empty() && effort == "full") effort.clear();
      plans_.push_back(make_plan(experiment, effort, settings, data));
    }
    grid_.runs = fs::path(o_.out) / "runs";
    grid_.device = parse_device(o_.device);
    const int sharing = ranks_ ? ranks_->on_this_machine() : o_.jobs;
    grid_.threads = o_.threads > 0 || sharing == 1 ? o_.threads : std::max(1, ThreadTeam::available() / sharing);
    grid_.shard = shard_.index, grid_.shards = shard_.count;
    grid_.ensemble = o_.ensemble;
    grid_.keep_all = o_.keep_all;
  }

  int work() {  ///< as a worker: nothing but training
    for (const Plan& plan : plans_)
      if ((plan.name == o_.only || ranks_) && !o_.dry_run && run_share(plan).interrupted) return interrupted;
    return ok;
  }

  int lead() {
    for (const std::string& note : windows_.info.notes) fmt::print("note: {}\n", note);
    for (const Plan& plan : plans_) introduce(plan);
    if (o_.dry_run) return ok;
    int code = ok;
    for (const Plan& plan : plans_) {
      code = std::max(code, train(plan));
      if (stop_.load()) return interrupted_at(plan);
      finish(plan);
      if (!failures_of(plan, grid_.runs).empty()) code = std::max<int>(code, users_mistake);
    }
    if (plans_.size() > 1) fmt::print("all of them: {}\n", write_collection(o_.out).string());
    return code;
  }

 private:
  void introduce(const Plan& plan) {
    std::int64_t finished = 0;
    for (const PlannedRun& run : plan.runs) finished += run_finished(grid_.runs, run.id) ? 1 : 0;
    fmt::print("{}: {}{}{} runs, {} finished; {}{}, {} windows\n", plan.name, plan.title, plan.title.empty() ? "" : "; ",
               plan.runs.size(), finished, plan.runs.front().config.data.synthetic ? "SYNTHETIC " : "",
               plan.runs.front().config.data.dataset, windows_.count());
    for (const std::string& note : check_splits(windows_, plan)) fmt::print("note: {} (in some of the splits)\n", note);
    if (o_.dry_run)
      for (const PlannedRun& run : plan.runs)
        fmt::print("  {}  {}{}\n", run.id, run_title(plan, run.config), run_finished(grid_.runs, run.id) ? "  finished" : "");
    std::fflush(stdout);
  }

  GridOutcome run_share(const Plan& plan) {
    if (!ranks_) return run_grid(windows_, plan, grid_, stop_);
    auto share = std::make_unique<ShareSource>(shard_of(plan, grid_.shard, grid_.shards), grid_.poll_seconds);
    const auto source = ranks_->source(static_cast<int>(&plan - plans_.data()), std::move(share), stop_);
    return run_grid(windows_, plan, grid_, *source, stop_);
  }

  int train(const Plan& plan) {
    write_plan(fs::path(o_.out) / plan.name, plan);  // `retort report` can look at the grid from now on
    clear_failures(plan, grid_.runs);
    const GridProgress progress(plan, grid_.runs, shard_);
    if (o_.jobs == 1) {
      run_share(plan);
      return ok;
    }
    if (std::ranges::all_of(plan.runs, [&](const PlannedRun& run) { return run_finished(grid_.runs, run.id); })) return ok;
    std::vector<pid_t> workers;
    for (int i = 0; i < o_.jobs; ++i) workers.push_back(start_worker(plan.name));
    return wait_for(std::move(workers), stop_);
  }

  int interrupted_at(const Plan& plan) {
    std::int64_t finished = 0;
    for (const PlannedRun& run : plan.runs) finished += run_finished(grid_.runs, run.id) ? 1 : 0;
    fmt::print(stderr, "stopped; {} of {} runs of {} are finished; the same command goes on\n", finished, plan.runs.size(),
               plan.name);
    return interrupted;
  }

  void finish(const Plan& plan) {
    for (const std::string& failure : failures_of(plan, grid_.runs)) fmt::print(stderr, "failed: {}\n", failure);
    const GridResults results = grid_results(plan, grid_.runs);
    if (results.finished == 0) return;
    const auto written = write_grid_results(results, fs::path(o_.out) / plan.name);
    std::cout << results_text(results);
    if (results.finished < results.planned)
      std::cout << fmt::format("{} runs are missing; whoever finishes them writes the tables again\n",
                               results.planned - results.finished);
    std::cout << "written:";
    for (const fs::path& path : written) std::cout << " " << path.string();
    std::cout << std::endl;
  }

  const ExperimentOptions& o_;
  const WindowSet windows_;
  Ranks* const ranks_;
  const std::atomic<bool>& stop_;
  Shard shard_;
  GridOptions grid_;
  std::vector<Plan> plans_;
};

int experiment(const ExperimentOptions& o) {
  if (o.print) return print_experiment(o.target);
  find_experiments(o.target);  // a mistake in the grid is told before the data are read
  if (o.worker > 0) become_worker(o.worker);
  check<InputError>(!o.data.empty(), "--data is required (a file made by `retort data prepare`)");
  check<InputError>(!o.out.empty(), "--out is required: the directory for runs and tables");
  const auto ranks = o.worker > 0 ? nullptr : Ranks::join();
  check<InputError>(!ranks || o.jobs == 1, "--jobs {}: under mpirun, -n is the number of processes", o.jobs);
  const bool leads = o.worker == 0 && (!ranks || ranks->rank() == 0);
  Session session(o, load_prepared(o.data, leads ? ValueCheck::all : ValueCheck::labels), ranks.get());
  const int code = leads ? session.lead() : session.work();
  if (ranks && code != interrupted) ranks->leave();
  return code;
}

}  // namespace

void add_experiment(CLI::App& root, Command& command) {
  auto* app = root.add_subcommand("experiment", "A grid of runs: train what is not finished, write its tables");
  auto o = std::make_shared<ExperimentOptions>();
  // differences-geometry and the like are parts of `differences`; a wrong name is answered with all of them.
  std::vector<std::string_view> names;
  for (const auto& bundled : bundled_experiments())
    if (!bundled.name.starts_with("differences-")) names.push_back(bundled.name);
  app->add_option(
         "experiment", o->target,
         fmt::format("{}, or `all` of these; `differences` or one of its parts (docs/experiments.md); a file ending in .toml",
                     fmt::join(names, ", ")))
      ->required();
  app->add_option("--data", o->data, "Prepared file (retort data prepare)");
  app->add_option("--out", o->out, "Directory for runs and tables; the same one goes on where an earlier call stopped");
  app->add_option("--effort", o->effort, "Which [effort.NAME] of the grid: smoke, hour, full");
  app->add_option("--jobs", o->jobs, "Processes that share the runs on this machine")->check(CLI::Range(1, 1024));
  app->add_option("--ensemble", o->ensemble,
                  "Runs that each process trains side by side: fills a GPU, or CPU cores without barriers")
      ->check(CLI::Range(1, 1024));
  app->add_option("--shard", o->shard, "Only every n-th run, from the i-th on: for several machines")->type_name("i/n");
  app->add_option("--set", o->settings, "Replace values of the grid: epochs=5, 'lambda=[0.1, 1]'")
      ->type_name("KEY=VALUE")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  app->add_option("--threads", o->threads,
                  "Host threads of each run, of an ensemble together; 0: what this process may use, shared among --jobs")
      ->check(CLI::Range(0, 1024));
  add_choice(*app, "--device", o->device, {"cpu", "cuda", "cuda_sim"}, "Where kernels run");
  app->add_flag("--keep-all", o->keep_all, "Keep checkpoints, last and teacher weights of finished runs");
  app->add_flag("--dry-run", o->dry_run, "Check the grid and list its runs");
  app->add_flag("--print", o->print, "Print the experiment's file, to copy and change");
  app->add_option("--worker", o->worker)->group("");  // hidden, as is --only
  app->add_option("--only", o->only)->group("");
  app->callback([=, &command] { command.run = [=] { return experiment(*o); }; });
}

}  // namespace retort::command
