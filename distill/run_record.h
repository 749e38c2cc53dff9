// A run directory, as `retort train` leaves it and `retort report` reads it (docs/file_formats.md):
//   config.json            RunConfig: every option of the run and the identity of its data
//   metrics.jsonl          a line per logged step (StepRecord), a line per epoch (EpochRecord)
//   summary.json           Summary: all metrics of val and test; written when the run ends
//   best, last, teacher, checkpoint .safetensors, report.html
// Everything but metrics.jsonl is written whole or not at all; metrics.jsonl grows by whole lines.
#pragma once

#include "retort/distill/energy.h"
#include "retort/distill/json_fields.h"
#include "retort/distill/metrics.h"

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace retort {

namespace run_files {
inline constexpr const char* config = "config.json";
inline constexpr const char* metrics = "metrics.jsonl";
inline constexpr const char* summary = "summary.json";
inline constexpr const char* report = "report.html";
inline constexpr const char* best = "best.safetensors";
inline constexpr const char* last = "last.safetensors";
inline constexpr const char* teacher = "teacher.safetensors";
inline constexpr const char* checkpoint = "checkpoint.safetensors";
}  // namespace run_files

/// Which data a run saw: enough to tell whether two runs may be compared.
struct DataIdentity {
  std::string path;                                       ///< as the user gave it
  std::string sha256;                                     ///< of the prepared file, 64 hex digits
  std::string dataset;                                    ///< sleep, mhealth, wisdm
  bool synthetic = false;                                 ///< made by `retort data synth`; every page about the run says so
  std::string preset;                                     ///< of `data prepare`
  std::string axis_layout;                                ///< transposed, interleaved
  std::string window_label;                               ///< majority, last
  std::int64_t windows = 0;                               ///< in the file
  std::vector<std::string> task1_classes, task2_classes;  ///< names in label order
};

/// Every option of `retort train`; the defaults are the command's.
struct RunConfig {
  std::string method = "smooth-distill";
  std::string arch = "mtl-net";
  std::string preset = "strict";
  std::int64_t epochs = 300;
  std::int64_t batch = 64;
  double lr = 1e-3;
  double alpha = 0.5;
  double lambda = 0.5;
  double tau = 3;
  double beta = 0.999;
  std::string ema_buffers = "average";
  std::string split = "subject";
  std::int64_t fold = 0;
  std::int64_t folds = 5;
  double train_fraction = 1;  ///< share of the training part that is used
  std::uint64_t seed = 0;
  std::string select = "best-mean";
  std::string device = "cpu";
  std::string impl;          ///< kernels instead of the defaults, e.g. "conv2d=eigen,linear=simd"
  std::int64_t threads = 0;  ///< 0: all
  bool tf32 = false;         ///< products on tensor cores, factors rounded to 10 bits
  bool shuffle = true;
  std::int64_t max_steps = 0;  ///< 0: no limit
  std::int64_t log_every = 0;  ///< 0: only epoch lines
  std::string init;            ///< weights to start from; empty: drawn from the seed
  DataIdentity data;
  std::string version;  ///< of the program
};

/// A logged step. Terms a method does not have are 0.
struct StepRecord {
  std::int64_t step = 0;   ///< counted from 1 over the whole run
  std::int64_t epoch = 0;  ///< counted from 1 over the whole run
  double loss = 0, ce1 = 0, ce2 = 0, kl1 = 0, kl2 = 0;
  std::int64_t stage = 1;  ///< 2 for Born-Again's student, else 1
};

/// An epoch. Losses are means over windows, accuracies are in 0…1; without a validation part (`--split all`) val_* are NaN.
struct EpochRecord {
  std::int64_t epoch = 0;  ///< counted from 1 over the whole run
  std::int64_t step = 0;   ///< the epoch's last step
  double train_loss = 0, val_loss = 0;
  double train_acc1 = 0, train_acc2 = 0, val_acc1 = 0, val_acc2 = 0;
  double seconds = 0;  ///< wall time of this epoch, the one field in which a resumed run differs
  bool best = false;   ///< the best epoch so far by `select`
  std::int64_t stage = 1;
};

struct SplitMetrics {
  TaskMetrics task1, task2;
};

/// One set of weights, measured on the parts that exist.
struct Evaluation {
  std::int64_t epoch = 0;  ///< that the weights are of
  std::optional<SplitMetrics> val, test;
};

struct Summary {
  Evaluation best;          ///< the weights that `select` chose: best.safetensors
  Evaluation last;          ///< the last epoch's: last.safetensors
  std::int64_t epochs = 0;  ///< trained
  std::int64_t steps = 0;   ///< trained
  std::int64_t parameters = 0;
  std::int64_t flops = 0;  ///< of one window's forward pass, counted as the paper's table 7 does
  double train_seconds = 0;
  std::optional<Energy> energy;  ///< used meanwhile by the chips, other programs included; nothing where it cannot be measured
  std::string device;            ///< what it ran on, in words: "cpu, 2 threads, AVX2"
  std::string version;           ///< of the program
  std::string compiler;          ///< that built it
};

/// Reads and writes; InputError names file, key and reason.
Json to_json(const RunConfig& config);
RunConfig run_config_from_json(const Json& json, const std::string& where);
void write_config(const std::filesystem::path& directory, const RunConfig& config);
RunConfig read_config(const std::filesystem::path& directory);
void write_summary(const std::filesystem::path& directory, const Summary& summary);
Summary read_summary(const std::filesystem::path& directory);

/// How far a checkpoint got: the last trained step and the last epoch whose line was logged, both counted over the whole run.
struct LogPosition {
  std::int64_t step = 0;
  std::int64_t epoch = 0;
};

/// metrics.jsonl, append-only. Lines reach the disk at flush(), which an epoch's line does too; call it before a
/// checkpoint is written, so that the log is never behind the checkpoint.
class MetricsLog {
 public:
  /// A new, empty log; replaces one that is there.
  static MetricsLog create(const std::filesystem::path& directory);
  /// Goes on where a checkpoint was taken: lines of later steps and epochs are dropped, as is a torn last line, so that the file
  /// ends up as an uninterrupted run's (but for `seconds`). A missing file is a new log when `position` is the start, else an
  /// InputError, as is a damaged line.
  static MetricsLog resume(const std::filesystem::path& directory, const LogPosition& position);

  void append(const StepRecord& record);
  void append(const EpochRecord& record);
  /// Through to the disk; throws InputError with the system's reason when it does not take the lines.
  void flush();

 private:
  MetricsLog(std::filesystem::path path, const char* mode);
  void append_line(const Json& json);
  std::filesystem::path path_;
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file_;
};

/// A run as found on disk.
struct RunRecord {
  std::filesystem::path directory;
  RunConfig config;
  std::vector<StepRecord> steps;
  std::vector<EpochRecord> epochs;
  std::optional<Summary> summary;  ///< none while the run goes on or after it was interrupted

  /// The directory's last name: what tables call the run.
  std::string name() const;
  bool finished() const { return summary.has_value(); }
};

/// Reads a run directory. An unfinished run is fine; a torn last line of metrics.jsonl (the run is being written or was killed)
/// is ignored. InputError with file:line for any other damaged line, and when the directory holds no run.
RunRecord load_run(const std::filesystem::path& directory);

template <FieldsOf<DataIdentity> S, class V>
void visit_fields(S& d, V& visit) {
  visit("path", d.path), visit("sha256", d.sha256), visit("dataset", d.dataset), visit("synthetic", d.synthetic);
  visit("preset", d.preset), visit("axis_layout", d.axis_layout), visit("window_label", d.window_label);
  visit("windows", d.windows), visit("task1_classes", d.task1_classes), visit("task2_classes", d.task2_classes);
}

template <FieldsOf<RunConfig> S, class V>
void visit_fields(S& c, V& visit) {
  visit("method", c.method), visit("arch", c.arch), visit("preset", c.preset), visit("epochs", c.epochs);
  visit("batch", c.batch), visit("lr", c.lr), visit("alpha", c.alpha), visit("lambda", c.lambda), visit("tau", c.tau);
  visit("beta", c.beta), visit("ema_buffers", c.ema_buffers), visit("split", c.split), visit("fold", c.fold);
  visit("folds", c.folds), visit("train_fraction", c.train_fraction), visit("seed", c.seed), visit("select", c.select),
      visit("device", c.device);
  visit.optional("impl", c.impl, Written::always), visit("threads", c.threads), visit.optional("tf32", c.tf32),
      visit("shuffle", c.shuffle);
  visit("max_steps", c.max_steps);
  visit("log_every", c.log_every), visit("init", c.init), visit("data", c.data), visit("version", c.version);
}

template <FieldsOf<StepRecord> S, class V>
void visit_fields(S& s, V& visit) {
  visit("step", s.step), visit("epoch", s.epoch), visit("loss", s.loss), visit("ce1", s.ce1), visit("ce2", s.ce2);
  visit("kl1", s.kl1), visit("kl2", s.kl2), visit("stage", s.stage);
}

template <FieldsOf<EpochRecord> S, class V>
void visit_fields(S& e, V& visit) {
  visit("epoch", e.epoch), visit("step", e.step), visit("train_loss", e.train_loss), visit("val_loss", e.val_loss);
  visit("train_acc1", e.train_acc1), visit("train_acc2", e.train_acc2), visit("val_acc1", e.val_acc1);
  visit("val_acc2", e.val_acc2), visit("seconds", e.seconds), visit("best", e.best), visit("stage", e.stage);
}

template <FieldsOf<SplitMetrics> S, class V>
void visit_fields(S& s, V& visit) {
  visit("task1", s.task1), visit("task2", s.task2);
}

template <FieldsOf<Evaluation> S, class V>
void visit_fields(S& e, V& visit) {
  visit("epoch", e.epoch), visit("val", e.val), visit("test", e.test);
}

template <FieldsOf<Summary> S, class V>
void visit_fields(S& s, V& visit) {
  visit("best", s.best), visit("last", s.last), visit("epochs", s.epochs), visit("steps", s.steps);
  visit("parameters", s.parameters), visit("flops", s.flops), visit("train_seconds", s.train_seconds), visit("energy", s.energy);
  visit("device", s.device), visit("version", s.version), visit("compiler", s.compiler);
}

}  // namespace retort
