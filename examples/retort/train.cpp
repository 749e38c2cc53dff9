// retort train
#include "retort/core/version.h"
#include "retort/data/prepared.h"
#include "retort/distill/ensemble.h"
#include "retort/distill/experiment.h"
#include "retort/distill/grid.h"
#include "retort/distill/presets.h"
#include "retort/distill/report/format.h"
#include "retort/distill/report/progress.h"
#include "retort/distill/report/report.h"
#include "retort/distill/report/table.h"
#include "retort/distill/trainer.h"
#include "retort/examples/retort/command.h"
#include "retort/kernels/registry.h"
#include "retort/nn/models/model.h"

#include <unistd.h>
#include <cstdio>
#include <iostream>
#include <mutex>
#include <optional>

namespace retort::command {

namespace fs = std::filesystem;

namespace {

/// The options as given: those that were not are filled from the preset, the method or the interrupted run.
struct TrainOptions {
  RunConfig given;
  std::string data, out;
  int ensemble = 1;
  bool resume = false, no_shuffle = false, no_graph = false;
  std::vector<std::pair<CLI::Option*, std::function<void(RunConfig&)>>> overrides;

  template <class T>
  CLI::Option* field(CLI::App& app, const std::string& flag, T RunConfig::*member, const std::string& help) {
    auto* option = app.add_option(flag, given.*member, help);
    overrides.emplace_back(option, [this, member](RunConfig& config) { config.*member = given.*member; });
    return option;
  }
  CLI::Option* choice(CLI::App& app, const std::string& flag, std::string RunConfig::*member,
                      const std::vector<std::string>& choices, const std::string& help) {
    return field(app, flag, member, help)->check(CLI::IsMember(choices))->type_name("NAME");
  }
  bool was_given(const std::string& flag) const {
    return std::ranges::any_of(overrides, [&](const auto& o) { return o.first->get_name() == flag && o.first->count() > 0; });
  }
  void apply(RunConfig& config) const {
    for (const auto& [option, set] : overrides)
      if (option->count() > 0) set(config);
    if (no_shuffle) config.shuffle = false;
  }
};

DataIdentity identify(const std::string& path, const WindowSet& windows) {
  return data_identity(windows, path, sha256_of_file(path));
}

/// What --resume changes must be nothing but how fast the rest runs.
void expect_same(const RunConfig& before, const RunConfig& after, const std::string& directory) {
  const Json a = to_json(before), b = to_json(after);
  const auto value = [](const Json& json, const std::string& key) {
    return json.contains(key) ? dump(json.at(key)) : "its default";
  };
  for (const Json* keys : {&a, &b})  // a field that has its default may not be written
    for (const auto& item : keys->items())
      check<InputError>(item.key() == "threads" || value(a, item.key()) == value(b, item.key()),
                        "{}: the run has {} = {}, not {}; a resumed run keeps its options", directory, item.key(),
                        value(a, item.key()), value(b, item.key()));
}

RunConfig new_config(const TrainOptions& options) {
  check<InputError>(!options.data.empty(), "--data is required (a file made by `retort data prepare`)");
  const WindowSet windows = load_prepared(options.data);
  const std::string preset = options.was_given("--preset") ? options.given.preset : windows.info.options.preset;
  RunConfig config = default_config(preset, options.given.method);
  config.log_every = options.given.log_every;
  options.apply(config);
  config.data = identify(options.data, windows);
  config.version = version();
  return config;
}

/// That of the interrupted run in `directory`.
RunConfig resumed_config(const TrainOptions& options, const fs::path& directory) {
  check<InputError>(fs::exists(directory / run_files::checkpoint),
                    "{}: no checkpoint to resume from; start the run without --resume", directory.string());
  const RunConfig before = read_config(directory);
  RunConfig config = before;
  options.apply(config);
  if (!options.data.empty()) config.data.path = options.data;
  const DataIdentity now = identify(config.data.path, load_prepared(config.data.path));
  check<InputError>(now.sha256 == before.data.sha256, "{}: not the data this run began with (sha256 {}..., was {}...)",
                    config.data.path, now.sha256.substr(0, 12), before.data.sha256.substr(0, 12));
  config.data = before.data;
  expect_same(before, config, directory.string());
  if (!options.data.empty()) config.data.path = options.data;  // the same bytes at another place
  return config;
}

void introduce(const RunConfig& config, const WindowSet& windows, const Trainer& trainer, std::int64_t parameters) {
  const Split& split = trainer.split();
  fmt::print("{}{}, {} windows: {} train, {} val, {} test ({} split)\n", config.data.synthetic ? "SYNTHETIC " : "",
             config.data.dataset, windows.count(), split.train.size(), split.val.size(), split.test.size(), config.split);
  fmt::print("{}, {}, {} parameters\n", config.method, config.arch, parameters);
  for (const auto& warning : split.warnings) fmt::print("note: {}\n", warning);
  if (config.preset != config.data.preset)
    fmt::print("note: the {} preset trains on windows of the {} preset\n", config.preset, config.data.preset);
  std::fflush(stdout);
}

/// The table of finished runs, and their page.
int show(const std::vector<RunRecord>& runs, const fs::path& out) {
  print_table(std::cout, runs, table_style(STDOUT_FILENO));
  write_report(out / run_files::report, runs);
  std::cout << "report: " << (out / run_files::report).string() << std::endl;
  return ok;
}

/// Two processes that write one run would make a mixture of both.
RunLock hold(const fs::path& directory) {
  auto lock = RunLock::try_acquire(directory);
  check<InputError>(lock.has_value(), "{}: another process is training this run; wait for it or choose another --out",
                    directory.string());
  return std::move(*lock);
}

int train_one(const TrainOptions& options) {
  const auto& stop = catch_interrupts();
  const fs::path out = options.out;
  check<InputError>(options.resume || !fs::exists(out / run_files::config),
                    "{}: holds a run already; go on with --resume or choose another --out", options.out);
  const RunConfig config = options.resume ? resumed_config(options, out) : new_config(options);
  const WindowSet windows = load_prepared(config.data.path, ValueCheck::all);
  const Device device = parse_device(config.device);
  use_implementations(config.impl, device);
  Context context(device, static_cast<int>(config.threads));
  context.stream().set_tf32(config.tf32);
  Trainer trainer(context, windows, config, out);
  fmt::print("{}{}\n", describe(context.device()), config.tf32 ? ", TF32" : "");
  introduce(config, windows, trainer, trainer.state().model().parameter_count());
  trainer.use_graph = !options.no_graph;
  const RunLock lock = hold(out);
  if (options.resume) trainer.resume();

  std::int64_t total_steps = trainer.total_epochs() * trainer.steps_per_epoch();
  if (config.max_steps > 0) total_steps = std::min(total_steps, config.max_steps);
  std::optional<Progress> progress;
  progress.emplace(std::cerr, progress_style(), "", trainer.steps_done(), total_steps);
  ProgressPosition at{trainer.epochs_done() + 1, trainer.total_epochs(), 0, trainer.steps_per_epoch(), 0};
  trainer.observer.step = [&](const StepRecord& record) { at.loss = record.loss; };
  trainer.observer.tick = [&](std::int64_t step, std::int64_t) {
    at.step = step;
    progress->step(at, trainer.steps_done());
  };
  trainer.observer.epoch = [&](const EpochRecord& record) {
    at.epoch = record.epoch + 1;
    at.loss = record.train_loss;
    progress->epoch(record, trainer.total_epochs());
  };
  const auto end = trainer.run(stop);
  progress.reset();  // off the line it drew on
  if (end == Trainer::End::interrupted) {
    fmt::print(stderr, "stopped after step {}; go on with: retort train --resume --out {}\n", trainer.steps_done(), options.out);
    return interrupted;
  }
  return show({load_run(out)}, out);
}

/// --ensemble: one replica a seed, from --seed on, each in OUT/seed-N.
std::vector<Replica> make_replicas(const TrainOptions& options) {
  const auto directory = [&](std::int64_t seed) { return fs::path(options.out) / fmt::format("seed-{}", seed); };
  RunConfig base = options.resume ? resumed_config(options, directory(options.given.seed)) : new_config(options);
  std::vector<Replica> replicas;
  for (int i = 0; i < options.ensemble; ++i, ++base.seed) {
    const fs::path own = directory(base.seed);
    const bool begun = fs::exists(own / run_files::config);
    check<InputError>(options.resume || !begun, "{}: holds a run already; go on with --resume or choose another --out",
                      own.string());
    if (begun) {
      RunConfig before = read_config(own);
      before.data.path = base.data.path;  // the same bytes, which resumed_config has made sure of
      expect_same(before, base, own.string());
    }
    replicas.push_back({base, own});
  }
  return replicas;
}

int train_together(const TrainOptions& options) {
  const auto& stop = catch_interrupts();
  const std::vector<Replica> replicas = make_replicas(options);
  const RunConfig& config = replicas.front().config;
  const WindowSet windows = load_prepared(config.data.path, ValueCheck::all);
  std::vector<RunLock> locks;
  for (const Replica& replica : replicas) locks.push_back(hold(replica.directory));
  EnsembleOptions ensemble;
  ensemble.device = parse_device(config.device);
  use_implementations(config.impl, ensemble.device);
  ensemble.threads = static_cast<int>(config.threads);
  ensemble.resume = options.resume;
  const EnsembleShare share = ensemble_share(ensemble.device, options.ensemble, ensemble.threads);
  fmt::print("{}\n{} replicas, {} at a time with {} host thread{} each\n", describe(ensemble.device), replicas.size(),
             share.together, share.threads, share.threads == 1 ? "" : "s");
  std::mutex lines;
  bool introduced = false;
  ensemble.on_start = [&](std::size_t i, Trainer& trainer) {
    trainer.use_graph = !options.no_graph;
    const std::lock_guard lock(lines);
    if (!introduced) introduce(config, windows, trainer, trainer.state().model().parameter_count());
    introduced = true;
    trainer.observer.epoch = [&lines, seed = replicas[i].config.seed, epochs = trainer.total_epochs()](const EpochRecord& r) {
      const std::lock_guard line(lines);
      fmt::print(stderr, "seed {}  epoch {}/{}  loss {:.4f}  val acc {} / {} %  {}\n", seed, r.epoch, epochs, r.train_loss,
                 percent(r.val_acc1), percent(r.val_acc2), duration(r.seconds));
    };
  };
  if (train_ensemble(windows, replicas, ensemble, stop) == Trainer::End::interrupted) {
    fmt::print(stderr, "stopped; go on with: retort train --resume --ensemble {} --seed {} --out {}\n", options.ensemble,
               config.seed, options.out);
    return interrupted;
  }
  std::vector<RunRecord> runs;
  for (const Replica& replica : replicas) runs.push_back(load_run(replica.directory));
  return show(runs, options.out);
}

int train(const TrainOptions& options) { return options.ensemble > 1 ? train_together(options) : train_one(options); }

}  // namespace

void add_train(CLI::App& root, Command& command) {
  auto* app = root.add_subcommand("train", "Train a model on a prepared file");
  auto o = std::make_shared<TrainOptions>();
  o->given.log_every = 50;
  app->add_option("--data", o->data, "Prepared file (retort data prepare)");
  app->add_option("--out", o->out, "Run directory to write")->required();
  o->choice(*app, "--method", &RunConfig::method, method_names(), "Training method");
  o->choice(*app, "--arch", &RunConfig::arch, nn::architectures(), "Model")->default_str("[preset]");
  o->choice(*app, "--preset", &RunConfig::preset, {"released", "paper", "strict"}, "Bundle of model, split and selection")
      ->default_str("[data]");
  o->field(*app, "--epochs", &RunConfig::epochs, "Passes over the training windows (Born-Again: in each of its two stages)")
      ->check(CLI::Range(1, 1000000));
  o->field(*app, "--batch", &RunConfig::batch, "Windows a step")->check(CLI::Range(2, 1000000));
  o->field(*app, "--lr", &RunConfig::lr, "Adam's learning rate")->check(CLI::PositiveNumber);
  o->field(*app, "--alpha", &RunConfig::alpha, "Weight of task 1 against task 2, in [0, 1]")->check(CLI::Range(0.0, 1.0));
  o->field(*app, "--lambda", &RunConfig::lambda, "Weight of the distillation term; the method's: 0.5, sd-dropout 1")
      ->check(CLI::NonNegativeNumber)
      ->default_str("[method]");
  o->field(*app, "--tau", &RunConfig::tau, "Temperature of the distillation; the method's: 3, sd-dropout 2")
      ->check(CLI::PositiveNumber)
      ->default_str("[method]");
  o->field(*app, "--beta", &RunConfig::beta, "The teacher's moving average, in [0, 1]")->check(CLI::Range(0.0, 1.0));
  o->choice(*app, "--ema-buffers", &RunConfig::ema_buffers, {"average", "copy", "frozen"},
            "How the teacher's running statistics follow");
  o->choice(*app, "--split", &RunConfig::split, {"subject", "stratified", "random", "all"}, "Train, val and test parts")
      ->default_str("[preset]");
  o->field(*app, "--fold", &RunConfig::fold, "The fold that validates, from 0");
  o->field(*app, "--folds", &RunConfig::folds, "Folds of the training part");
  o->field(*app, "--train-fraction", &RunConfig::train_fraction, "Share of the training part that is used, in (0, 1]");
  o->field(*app, "--seed", &RunConfig::seed, "Of weights, shuffling, dropout and split")->check(CLI::NonNegativeNumber);
  o->choice(*app, "--select", &RunConfig::select, {"best-mean", "best-task1", "last"}, "Which epoch's weights are tested")
      ->default_str("[preset]");
  o->choice(*app, "--device", &RunConfig::device, {"cpu", "cuda", "cuda_sim"}, "Where kernels run");
  o->field(*app, "--impl", &RunConfig::impl, impl_help)->type_name("OP=NAME,...");
  o->field(*app, "--threads", &RunConfig::threads, "Host threads; 0: all that this process may use")->check(CLI::Range(0, 1024));
  auto* tf32 = app->add_flag("--tf32", o->given.tf32, tf32_help);
  o->overrides.emplace_back(tf32, [given = &o->given](RunConfig& config) { config.tf32 = given->tf32; });
  o->field(*app, "--init", &RunConfig::init, "Start from these weights instead of random ones")->type_name("FILE");
  o->field(*app, "--max-steps", &RunConfig::max_steps, "Stop after this many steps; 0: no limit")->check(CLI::NonNegativeNumber);
  o->field(*app, "--log-every", &RunConfig::log_every, "Log the losses of every n-th step; 0: none")
      ->check(CLI::NonNegativeNumber);
  app->add_option("--ensemble", o->ensemble, "Train this many seeds side by side, from --seed on, in OUT/seed-N")
      ->check(CLI::Range(1, 1024));
  app->add_flag("--no-shuffle", o->no_shuffle, "Batches in file order");
  app->add_flag("--no-graph", o->no_graph,
                "On a GPU, launch every kernel of a step instead of replaying a captured one; same numbers");
  app->add_flag("--resume", o->resume, "Go on with the interrupted run in --out, bit for bit");
  app->callback([=, &command] { command.run = [=] { return train(*o); }; });
}

}  // namespace retort::command
