#include "retort/distill/grid.h"

#include "retort/core/file.h"
#include "retort/distill/ensemble.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <map>
#include <utility>

namespace retort {
namespace fs = std::filesystem;

template <FieldsOf<SubjectCounts> S, class V>
void visit_fields(S& s, V& visit) {
  visit("subject", s.subject), visit("windows", s.windows), visit("correct1", s.correct1), visit("correct2", s.correct2);
}

namespace {

constexpr std::int64_t measure_batch = 256;

std::int64_t correct(const TaskMetrics& task) {
  std::int64_t sum = 0;
  for (std::int64_t c = 0; c < task.classes; ++c) sum += task.confusion[static_cast<std::size_t>(c * (task.classes + 1))];
  return sum;
}

/// The selected weights on the test windows of each subject.
void write_subjects(Context& context, const WindowSet& windows, const RunConfig& config, const fs::path& directory) {
  const LoadedModel loaded = load_weights(context, directory / run_files::best);
  const DeviceData data(context, windows, measure_batch);
  std::map<std::int32_t, std::vector<std::int32_t>> by_subject;
  for (const std::int32_t i : run_split(windows, config).test)
    by_subject[windows.subject[static_cast<std::size_t>(i)]].push_back(i);
  SubjectCounts counts;
  for (const auto& [subject, indices] : by_subject) {
    const Measured measured = evaluate(*loaded.model, data, indices, static_cast<float>(config.alpha));
    counts.subject.push_back(windows.info.subjects[static_cast<std::size_t>(subject)]);
    counts.windows.push_back(std::ssize(indices));
    counts.correct1.push_back(correct(measured.task1));
    counts.correct2.push_back(correct(measured.task2));
  }
  write_file_atomically(directory / run_files::subjects, fields_to_json(counts).dump() + "\n");
}

enum class Result { finished, interrupted };

/// Trains, or goes on training, under the run's lock.
Result train(const WindowSet& as_read, const PlannedRun& run, const GridOptions& options, const std::atomic<bool>& stop) {
  const WindowSet windows = with_axis_layout(as_read, parse_axis_layout(run.config.data.axis_layout));
  const fs::path directory = options.runs / run.id;
  RunConfig config = run.config;
  config.threads = options.threads;
  config.device = name(options.device);
  Context context(options.device, options.threads);
  context.stream().set_tf32(config.tf32);
  if (!fs::exists(directory / run_files::summary)) {
    const bool begun = fs::exists(directory / run_files::config);
    if (begun)
      check<InputError>(run_id(read_config(directory)) == run.id, "{}: its {} is not of run {}; remove the directory",
                        directory.string(), run_files::config, run.id);
    Trainer trainer(context, windows, config, directory);
    if (begun) trainer.resume();
    if (options.on_start) options.on_start(run, trainer);
    if (trainer.run(stop) == Trainer::End::interrupted) return Result::interrupted;
  }
  write_subjects(context, windows, config, directory);
  if (!options.keep_all)
    for (const char* file : {run_files::checkpoint, run_files::last, run_files::teacher}) fs::remove(directory / file);
  return Result::finished;
}

std::string first_line(const fs::path& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

/// The last whole epoch line of a log that may still grow.
std::optional<EpochRecord> last_epoch(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return std::nullopt;
  constexpr std::streamoff tail = 8192;  // about 30 lines: more than lie between two epochs unless every step is logged
  file.seekg(0, std::ios::end);
  file.seekg(std::max<std::streamoff>(0, file.tellg() - tail));
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  for (std::size_t end = text.rfind('\n'); end != std::string::npos && end > 0;) {
    const std::size_t before = text.rfind('\n', end - 1);
    const std::string line =
        text.substr(before == std::string::npos ? 0 : before + 1, end - (before == std::string::npos ? 0 : before + 1));
    const Json json = Json::parse(line, nullptr, false);
    if (json.is_object() && json.contains("train_loss")) return fields_from_json<EpochRecord>(json, path.string());
    end = before;
  }
  return std::nullopt;
}

/// A run's work in epochs over the whole training part.
double work(const RunConfig& config) {
  return static_cast<double>(config.epochs) * config.train_fraction * (config.method == "born-again" ? 2 : 1);
}

}  // namespace

SubjectCounts read_subjects(const fs::path& directory) {
  const fs::path path = directory / run_files::subjects;
  auto counts = fields_from_json<SubjectCounts>(parse_json(read_file(path), path.string()), path.string());
  const std::size_t n = counts.subject.size();
  check<InputError>(counts.windows.size() == n && counts.correct1.size() == n && counts.correct2.size() == n,
                    "{}: lists of different lengths", path.string());
  return counts;
}

std::optional<RunLock> RunLock::try_acquire(const fs::path& directory) {
  std::error_code error;
  fs::create_directories(directory, error);
  check<InputError>(fs::is_directory(directory), "{}: cannot make this directory{}{}", directory.string(), error ? ": " : "",
                    error ? error.message() : "");
  const fs::path path = directory / run_files::lock;
  const int descriptor = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  check<InputError>(descriptor >= 0, "{}: cannot be opened: {}", path.string(), std::strerror(errno));
  int result = 0;
  do result = ::flock(descriptor, LOCK_EX | LOCK_NB);
  while (result != 0 && errno == EINTR);
  if (result == 0) return RunLock(descriptor);
  const int reason = errno;
  ::close(descriptor);
  check<InputError>(reason == EWOULDBLOCK, "{}: cannot be locked: {}; choose a directory on a file system with locks",
                    path.string(), std::strerror(reason));
  return std::nullopt;
}

RunLock::RunLock(RunLock&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}

RunLock::~RunLock() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

bool run_finished(const fs::path& runs, const std::string& id) {
  return fs::exists(runs / id / run_files::subjects) && fs::exists(runs / id / run_files::summary);
}

std::vector<std::size_t> shard_of(const Plan& plan, std::int64_t shard, std::int64_t shards) {
  check<InputError>(shards >= 1 && shard >= 1 && shard <= shards, "--shard {}/{}: shards count from 1 to their number", shard,
                    shards);
  std::vector<std::size_t> share;
  for (auto i = static_cast<std::size_t>(shard - 1); i < plan.runs.size(); i += static_cast<std::size_t>(shards))
    share.push_back(i);
  return share;
}

void clear_failures(const Plan& plan, const fs::path& runs) {
  for (const PlannedRun& run : plan.runs)
    if (fs::exists(runs / run.id / run_files::failed))
      if (const auto lock = RunLock::try_acquire(runs / run.id)) fs::remove(runs / run.id / run_files::failed);
}

GridOutcome run_grid(const WindowSet& windows, const Plan& plan, const GridOptions& options, const std::atomic<bool>& stop) {
  ShareSource share(shard_of(plan, options.shard, options.shards), options.poll_seconds);
  return run_grid(windows, plan, options, share, stop);
}

namespace {

/// Run after run, until there are no more.
GridOutcome work_off(const WindowSet& windows, const Plan& plan, const GridOptions& options, RunSource& source,
                     const std::atomic<bool>& stop) {
  GridOutcome outcome;
  while (const auto next = source.next(stop)) {
    const PlannedRun& run = plan.runs[*next];
    const fs::path directory = options.runs / run.id;
    if (run_finished(options.runs, run.id)) continue;
    const auto lock = RunLock::try_acquire(directory);
    if (!lock) {
      source.put_back(*next);
      continue;
    }
    if (run_finished(options.runs, run.id)) continue;  // between the look and the lock
    const std::string title = fmt::format("{} ({})", run.id, run_title(plan, run.config));
    if (fs::exists(directory / run_files::failed)) {
      outcome.failures.push_back(fmt::format("{}: {}", title, first_line(directory / run_files::failed)));
      continue;
    }
    try {
      if (train(windows, run, options, stop) == Result::interrupted) break;
      ++outcome.trained;
    } catch (const DeviceError&) {
      throw;  // the next run would fare no better
    } catch (const Error& error) {
      write_file_atomically(directory / run_files::failed, fmt::format("{}\n", error.what()));
      outcome.failures.push_back(fmt::format("{}: {}", title, error.what()));
    }
  }
  outcome.interrupted = stop.load();
  return outcome;
}

}  // namespace

GridOutcome run_grid(const WindowSet& windows, const Plan& plan, const GridOptions& options, RunSource& source,
                     const std::atomic<bool>& stop) {
  if (options.ensemble == 1) return work_off(windows, plan, options, source, stop);
  const EnsembleShare share = ensemble_share(options.device, options.ensemble, options.threads);
  GridOptions one = options;
  one.threads = share.threads;
  std::vector<GridOutcome> parts(static_cast<std::size_t>(share.together));
  side_by_side(share.together, [&](int i) { parts[static_cast<std::size_t>(i)] = work_off(windows, plan, one, source, stop); });
  GridOutcome all;
  for (const GridOutcome& part : parts) {
    all.trained += part.trained;
    all.failures.insert(all.failures.end(), part.failures.begin(), part.failures.end());
  }
  all.interrupted = stop.load();
  return all;
}

GridSurvey::GridSurvey(const Plan& plan, fs::path runs, std::vector<std::size_t> share)
    : plan_(plan), runs_(std::move(runs)), share_(std::move(share)), finished_(plan.runs.size()), told_(plan.runs.size()) {}

GridStatus GridSurvey::look() {
  GridStatus status;
  status.runs = std::ssize(share_);
  double done = 0, all = 0;
  fs::file_time_type newest = fs::file_time_type::min();
  for (const std::size_t i : share_) {
    const PlannedRun& run = plan_.runs[i];
    const double whole = work(run.config);
    all += whole;
    if (!finished_[i]) finished_[i] = run_finished(runs_, run.id);
    if (finished_[i]) {
      ++status.finished;
      done += whole;
      continue;
    }
    std::error_code missing;
    if (fs::exists(runs_ / run.id / run_files::failed, missing)) ++status.failed;
    const fs::path log = runs_ / run.id / run_files::metrics;
    const auto written = fs::last_write_time(log, missing);
    if (missing) continue;
    const auto epoch = last_epoch(log);
    if (!epoch) continue;
    done += run.config.train_fraction * static_cast<double>(epoch->epoch);
    if (written > newest) newest = written, status.latest = i, status.epoch = epoch;
  }
  status.share = all > 0 ? done / all : 1;
  return status;
}

std::vector<std::size_t> GridSurvey::newly_finished() {
  std::vector<std::size_t> fresh;
  for (const std::size_t i : share_)
    if (finished_[i] && !told_[i]) {
      told_[i] = true;
      fresh.push_back(i);
    }
  return fresh;
}

}  // namespace retort
