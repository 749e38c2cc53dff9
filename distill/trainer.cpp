#include "retort/distill/trainer.h"

#include "retort/core/version.h"

#include <chrono>
#include <cmath>

namespace retort {

namespace {

constexpr std::int64_t evaluation_batch = 256;
constexpr double checkpoint_seconds = 20;  ///< what a power cut may cost, at most, in epochs shorter than that
constexpr double publish_seconds = 5;      ///< a longer epoch shows its losses this often

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

void validate(const RunConfig& c) {
  check<InputError>(c.epochs >= 1 && c.epochs <= 1'000'000, "--epochs {}: must lie between 1 and a million", c.epochs);
  check<InputError>(c.batch >= 2 && c.batch <= 1'000'000, "--batch {}: must lie between 2 and a million windows", c.batch);
  check<InputError>(c.lr > 0 && std::isfinite(c.lr), "--lr {}: must be positive", c.lr);
  check<InputError>(c.alpha >= 0 && c.alpha <= 1, "--alpha {}: must lie in [0, 1]", c.alpha);
  check<InputError>(c.lambda >= 0 && std::isfinite(c.lambda), "--lambda {}: must not be negative", c.lambda);
  check<InputError>(c.tau > 0 && std::isfinite(c.tau), "--tau {}: must be positive", c.tau);
  check<InputError>(c.beta >= 0 && c.beta <= 1, "--beta {}: must lie in [0, 1]", c.beta);
  check<InputError>(c.max_steps >= 0 && c.log_every >= 0, "--max-steps and --log-every must not be negative");
  check<InputError>(c.select == "best-mean" || c.select == "best-task1" || c.select == "last",
                    "--select is best-mean, best-task1 or last, not '{}'", c.select);
}

std::vector<std::string> stages_of(Context& context, const std::string& method) {
  const std::string first(make_method(context, method, {}, 1)->first_stage());
  return first.empty() ? std::vector{method} : std::vector{first, method};
}

RunConfig validated(const RunConfig& config) {
  validate(config);
  return config;
}

}  // namespace

Split run_split(const WindowSet& windows, const RunConfig& c) {
  SplitOptions options;
  options.kind = parse_split_kind(c.split);
  options.folds = c.folds;
  options.fold = c.fold;
  options.train_fraction = c.train_fraction;
  options.seed = c.seed;
  return make_split(windows, options);
}

Trainer::Trainer(Context& context, const WindowSet& windows, const RunConfig& config, const std::filesystem::path& directory)
    : context_(context),
      windows_(windows),
      config_(validated(config)),
      directory_(directory),
      info_(weights_info(config, windows)),
      stages_(stages_of(context, config.method)),
      split_(run_split(windows, config)),
      data_(context, windows, std::max(config.batch, evaluation_batch)),
      loader_(std::make_unique<Loader>(split_.train, static_cast<std::int32_t>(config.batch), config.shuffle, config.seed)),
      feed_(data_, loader_->size(), config.batch),
      energy_(context.device()) {
  begin_stage();
  clear_epoch();
}

void Trainer::begin_stage() {
  // The student of every stage starts from the same first weights (paper algorithm 1, line 13).
  auto next = std::make_unique<TrainingState>(context_, config_, model_spec(info_, config_.seed),
                                              stages_[static_cast<std::size_t>(position_.stage)]);
  if (position_.stage > 0) next->teach_from(*state_);
  graph_.reset();
  state_ = std::move(next);
  position_.best_score = -1;
  loader_->start_epoch(position_.epoch);
}

void Trainer::clear_epoch() {
  if (!confusion1_.defined()) {
    const auto [outputs1, outputs2] = state_->model().outputs();
    confusion1_ = Tensor::zeros(context_, {outputs1, outputs1}, DType::i32);
    confusion2_ = Tensor::zeros(context_, {outputs2, outputs2}, DType::i32);
  }
  feed_.history().zero();
  confusion1_.zero();
  confusion2_.zero();
}

Trainer::End Trainer::run(const std::atomic<bool>& stop) {
  if (!log_) {
    check<InputError>(!std::filesystem::exists(directory_ / run_files::config), "{}: holds a run already", directory_.string());
    std::error_code error;
    std::filesystem::create_directories(directory_, error);
    check<InputError>(std::filesystem::is_directory(directory_), "{}: cannot make this directory{}{}", directory_.string(),
                      error ? ": " : "", error ? error.message() : "");
    log_ = MetricsLog::create(directory_);
    write_checkpoint();
    write_config(directory_, config_);  // last: a directory with a config can be resumed, whatever happens from here on
  }
  energy_.lap();  // nothing that came before counts
  double saved = now(), begun = now();
  // A run that was stopped at the last step it may take still owes its epoch's end.
  const auto unfinished_epoch = [&] { return loader_->cursor().position > 0; };
  while (position_.epoch < total_epochs() && (!out_of_steps() || unfinished_epoch())) {
    if (train_epoch(stop) == End::interrupted) {
      position_.seconds += now() - begun;
      position_.energy = joined(position_.energy, energy_.lap());
      save_checkpoint();
      return End::interrupted;
    }
    finish_epoch(now() - begun);
    begun = now();
    if (position_.epoch % config_.epochs == 0 && position_.epoch < total_epochs() && !out_of_steps()) {
      ++position_.stage;
      begin_stage();
    }
    if (now() - saved > checkpoint_seconds) {
      save_checkpoint();
      saved = now();
    }
  }
  save_checkpoint();
  write_results();
  return End::finished;
}

/// From the loader's cursor to the epoch's end, the limit of steps, or `stop`.
Trainer::End Trainer::train_epoch(const std::atomic<bool>& stop) {
  feed_.start(loader_->order(), loader_->batches_given());
  published_ = loader_->batches_given();
  published_at_ = now();
  if (!graph_) graph_.emplace(context_, use_graph);
  ReadAhead ahead = data_.read_ahead(loader_->order());
  while (!out_of_steps()) {
    ahead.advance(loader_->cursor().position);
    const auto rows = static_cast<std::int64_t>(loader_->next().size());
    if (rows == 0) break;
    train_step(rows);
    ++position_.step;
    energy_.tick();
    if (observer.tick) observer.tick(loader_->batches_given(), steps_per_epoch());
    const bool stopped = stop.load(std::memory_order_relaxed);
    if (stopped || now() - published_at_ > publish_seconds) publish_losses();
    if (stopped) return End::interrupted;
  }
  context_.synchronize();
  return End::finished;
}

/// Everything that a step does, and nothing that must be done on the host: a replay does it all again for the next batch.
void Trainer::train_step(std::int64_t rows) {
  const auto step = [&] {
    const Batch batch = feed_.next(rows);
    state_->step(batch, [this, &batch](const StepLosses& losses) {
      ops::count_confusion(losses.logits.task1, batch.labels1, confusion1_);
      ops::count_confusion(losses.logits.task2, batch.labels2, confusion2_);
      feed_.record(losses.values);
    });
  };
  if (rows == loader_->batch())
    graph_->run(step);
  else
    step();  // the last batch of an epoch may be short, and is another step
}

/// Brings the epoch's losses to the host, all of them in one copy, and logs those that are new.
std::vector<float> Trainer::publish_losses() {
  auto losses = feed_.history().to_vector();
  const std::int64_t given = loader_->batches_given();
  for (; published_ < given; ++published_) {
    const float* v = losses.data() + published_ * BatchFeed::values;
    const std::int64_t step = position_.step - given + published_ + 1;
    check(std::isfinite(v[0]), "training diverged: the loss of step {}, in epoch {}, is {}; try a smaller --lr (it is {})", step,
          position_.epoch + 1, v[0], config_.lr);
    if (config_.log_every == 0 || step % config_.log_every != 0) continue;
    const StepRecord record{step, position_.epoch + 1, v[0], v[1], v[2], v[3], v[4], position_.stage + 1};
    log_->append(record);
    if (observer.step) observer.step(record);
  }
  published_at_ = now();
  return losses;
}

void Trainer::finish_epoch(double seconds) {
  const auto losses = publish_losses();
  const std::int64_t trained = loader_->cursor().position;
  double train_loss = 0;
  for (std::int64_t done = 0, step = 0; done < trained; ++step) {
    const std::int64_t size = std::min<std::int64_t>(loader_->batch(), trained - done);
    train_loss += static_cast<double>(losses[static_cast<std::size_t>(step * BatchFeed::values)]) * static_cast<double>(size);
    done += size;
  }
  EpochRecord record;
  record.epoch = ++position_.epoch;
  record.step = position_.step;
  record.stage = position_.stage + 1;
  record.train_loss = train_loss / static_cast<double>(trained);
  record.train_acc1 = task_metrics(std::span<const std::int32_t>(confusion1_.to_ints()), confusion1_.shape()[0]).accuracy;
  record.train_acc2 = task_metrics(std::span<const std::int32_t>(confusion2_.to_ints()), confusion2_.shape()[0]).accuracy;
  record.val_loss = record.val_acc1 = record.val_acc2 = std::nan("");
  const double begun = now();
  if (!split_.val.empty()) {
    const Measured val = evaluate(state_->model(), data_, split_.val, static_cast<float>(config_.alpha));
    record.val_loss = val.loss, record.val_acc1 = val.task1.accuracy, record.val_acc2 = val.task2.accuracy;
  }
  record.best = improves(record);
  if (record.best) {
    state_->keep_best();
    position_.best_epoch = record.epoch;
  }
  record.seconds = seconds + now() - begun;
  position_.seconds += record.seconds;
  position_.energy = joined(position_.energy, energy_.lap());
  log_->append(record);
  if (observer.epoch) observer.epoch(record);
  loader_->start_epoch(position_.epoch);
  clear_epoch();
}

bool Trainer::improves(const EpochRecord& record) {
  // Without validation, and by wish, the last epoch is the one that counts.
  if (config_.select == "last" || split_.val.empty()) return true;
  const double score = config_.select == "best-task1" ? record.val_acc1 : (record.val_acc1 + record.val_acc2) / 2;
  if (score <= position_.best_score) return false;
  position_.best_score = score;
  return true;
}

Evaluation Trainer::measure(std::int64_t epoch) {
  Evaluation result;
  result.epoch = epoch;
  auto part = [&](const std::vector<std::int32_t>& indices) -> std::optional<SplitMetrics> {
    if (indices.empty()) return std::nullopt;
    Measured measured = evaluate(state_->model(), data_, indices, static_cast<float>(config_.alpha));
    return SplitMetrics{std::move(measured.task1), std::move(measured.task2)};
  };
  result.val = part(split_.val);
  result.test = part(split_.test);
  return result;
}

void Trainer::write_results() {
  Summary summary;
  summary.last = measure(position_.epoch);
  state_->swap_best();
  summary.best = measure(position_.best_epoch);
  state_->swap_best();
  summary.epochs = position_.epoch;
  summary.steps = position_.step;
  summary.parameters = state_->model().parameter_count();
  summary.flops = state_->model().flops();
  summary.train_seconds = position_.seconds;
  summary.energy = position_.energy;
  summary.device = describe(context_.device());
  summary.version = std::string(version());
  summary.compiler = compiler();
  write_summary(directory_, summary);
}

}  // namespace retort
