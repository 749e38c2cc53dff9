// The training loop: epochs of steps, validation after each, the best weights kept, everything saved so that a run can be stopped
// at any step and taken up again bit for bit.
#pragma once

#include "retort/core/step_graph.h"
#include "retort/data/loader.h"
#include "retort/data/split.h"
#include "retort/distill/batches.h"
#include "retort/distill/energy.h"
#include "retort/distill/training_state.h"
#include "retort/distill/weights.h"

#include <atomic>
#include <functional>
#include <optional>

namespace retort {

/// The windows a run of `config` trains, validates and tests on; see make_split.
Split run_split(const WindowSet& windows, const RunConfig& config);

/// What a progress bar wants to know.
struct TrainingObserver {
  /// Of the steps that are logged (every config.log_every), when their losses have come to the host: at the epoch's end, and in
  /// long epochs every few seconds.
  std::function<void(const StepRecord&)> step;
  /// After every step was given to the device: how far the epoch is.
  std::function<void(std::int64_t step, std::int64_t steps)> tick;
  std::function<void(const EpochRecord&)> epoch;
};

class Trainer {
 public:
  enum class End { finished, interrupted };

  /// A new run in `directory`, which must not hold one already; config.json is written at once. `windows` must outlive this.
  /// Throws InputError for an impossible configuration, before anything is written.
  Trainer(Context& context, const WindowSet& windows, const RunConfig& config, const std::filesystem::path& directory);

  /// Goes on from the directory's checkpoint; config must be that of the interrupted run (but for `threads`).
  void resume();

  /// Trains until the end, or until `stop` is set: then after the current step. Either way all files are saved; at the end also
  /// summary.json. Throws Error when the loss is no longer finite.
  End run(const std::atomic<bool>& stop);

  TrainingObserver observer;
  /// Steps are captured and replayed where the device can. The numbers are the same without, bit for bit.
  bool use_graph = true;

  const Split& split() const { return split_; }
  TrainingState& state() { return *state_; }
  /// Epochs and steps of the whole run, both stages of Born-Again together.
  std::int64_t total_epochs() const { return config_.epochs * static_cast<std::int64_t>(stages_.size()); }
  std::int64_t epochs_done() const { return position_.epoch; }
  std::int64_t steps_done() const { return position_.step; }
  std::int64_t steps_per_epoch() const { return loader_->batches_per_epoch(); }
  /// Whether the last full batch was a replay.
  bool replaying() const { return graph_ && graph_->captured(); }

 private:
  /// Where the run stands; saved in the checkpoint's metadata.
  struct Position {
    std::int64_t stage = 0, step = 0, epoch = 0;  ///< epoch: completed over the whole run; step: likewise
    double best_score = -1;
    std::int64_t best_epoch = 0;
    double seconds = 0;
    std::optional<Energy> energy = Energy{};
  };

  void begin_stage();
  void clear_epoch();
  End train_epoch(const std::atomic<bool>& stop);
  void train_step(std::int64_t rows);
  std::vector<float> publish_losses();
  void finish_epoch(double seconds);
  bool improves(const EpochRecord& record);
  void save_checkpoint();   ///< and the weights beside it
  void write_checkpoint();  ///< alone
  void write_results();
  Evaluation measure(std::int64_t epoch);
  std::int64_t stage_epoch() const { return position_.epoch - position_.stage * config_.epochs; }
  bool out_of_steps() const { return config_.max_steps > 0 && position_.step >= config_.max_steps; }

  Context& context_;
  const WindowSet& windows_;
  RunConfig config_;
  std::filesystem::path directory_;
  WeightsInfo info_;
  std::vector<std::string> stages_;
  Split split_;
  DeviceData data_;
  std::unique_ptr<Loader> loader_;
  BatchFeed feed_;  ///< its history: losses of the current epoch's steps
  std::unique_ptr<TrainingState> state_;
  std::optional<StepGraph> graph_;  ///< of this stage's step
  std::optional<MetricsLog> log_;
  Position position_;
  EnergyMeter energy_;
  Tensor confusion1_, confusion2_;  ///< of the current epoch's training predictions
  std::int64_t published_ = 0;      ///< steps of the current epoch whose losses have come to the host
  double published_at_ = 0;
};

}  // namespace retort
