#include "retort/distill/run_record.h"

#include "retort/core/file.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string_view>

namespace retort {
namespace fs = std::filesystem;
namespace {

using Lines = std::vector<std::pair<std::string_view, Json>>;

/// The whole lines of a metrics file with what they say. What follows the last newline is a line still being written, or torn by
/// a crash; it is left out.
Lines parse_lines(std::string_view text, const fs::path& path) {
  Lines lines;
  for (std::size_t number = 1;; ++number) {
    const std::size_t end = text.find('\n');
    if (end == std::string_view::npos) return lines;
    const std::string_view line = text.substr(0, end + 1);
    lines.emplace_back(line, parse_json(line.substr(0, end), fmt::format("{}:{}", path.string(), number)));
    text.remove_prefix(end + 1);
  }
}

bool is_epoch_line(const Json& json) { return json.is_object() && json.contains("train_loss"); }

void read_metrics(const fs::path& path, RunRecord& run) {
  const std::string text = read_file(path);
  std::size_t number = 0;
  for (const auto& [line, json] : parse_lines(text, path)) {
    const std::string where = fmt::format("{}:{}", path.string(), ++number);
    if (is_epoch_line(json)) {
      run.epochs.push_back(fields_from_json<EpochRecord>(json, where));
    } else {
      run.steps.push_back(fields_from_json<StepRecord>(json, where));
    }
  }
}

template <class T>
T read_json_file(const fs::path& path) {
  return fields_from_json<T>(parse_json(read_file(path), path.string()), path.string());
}

/// As the confusion matrices say; see task_metrics_from_json.
void derive_again(Evaluation& evaluation, const std::string& where) {
  for (auto* part : {&evaluation.val, &evaluation.test}) {
    if (!*part) continue;
    for (TaskMetrics* task : {&(*part)->task1, &(*part)->task2}) *task = task_metrics_from_json(to_json(*task), where);
  }
}

}  // namespace

Json to_json(const RunConfig& config) { return fields_to_json(config); }

RunConfig run_config_from_json(const Json& json, const std::string& where) { return fields_from_json<RunConfig>(json, where); }

void write_config(const fs::path& directory, const RunConfig& config) {
  write_file_atomically(directory / run_files::config,
                        fields_to_json(config).dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
}

RunConfig read_config(const fs::path& directory) {
  const fs::path path = directory / run_files::config;
  return run_config_from_json(parse_json(read_file(path), path.string()), path.string());
}

void write_summary(const fs::path& directory, const Summary& summary) {
  write_file_atomically(directory / run_files::summary, fields_to_json(summary).dump(1) + "\n");
}

Summary read_summary(const fs::path& directory) {
  const fs::path path = directory / run_files::summary;
  auto summary = read_json_file<Summary>(path);
  derive_again(summary.best, path.string() + ": best");
  derive_again(summary.last, path.string() + ": last");
  return summary;
}

MetricsLog::MetricsLog(fs::path path, const char* mode)
    : path_(std::move(path)), file_(std::fopen(path_.c_str(), mode), &std::fclose) {
  check<InputError>(file_ != nullptr, "{}: cannot be opened for writing: {}", path_.string(), std::strerror(errno));
}

MetricsLog MetricsLog::create(const fs::path& directory) { return MetricsLog(directory / run_files::metrics, "wb"); }

MetricsLog MetricsLog::resume(const fs::path& directory, const LogPosition& position) {
  const fs::path path = directory / run_files::metrics;
  if (!fs::exists(path) && position.step == 0) return create(directory);
  const std::string text = read_file(path);
  std::string kept;
  std::size_t number = 0;
  for (const auto& [line, json] : parse_lines(text, path)) {
    const std::string where = fmt::format("{}:{}", path.string(), ++number);
    const bool keep = is_epoch_line(json) ? fields_from_json<EpochRecord>(json, where).epoch <= position.epoch
                                          : fields_from_json<StepRecord>(json, where).step <= position.step;
    if (keep) kept += line;
  }
  write_file_atomically(path, kept);
  return MetricsLog(path, "ab");
}

void MetricsLog::append_line(const Json& json) {
  const std::string line = json.dump() + '\n';
  const bool ok = std::fwrite(line.data(), 1, line.size(), file_.get()) == line.size();
  check<InputError>(ok, "{}: cannot be written: {}", path_.string(), std::strerror(errno));
}

void MetricsLog::append(const StepRecord& record) { append_line(fields_to_json(record)); }

void MetricsLog::append(const EpochRecord& record) {
  append_line(fields_to_json(record));
  flush();
}

void MetricsLog::flush() {
  const bool ok = std::fflush(file_.get()) == 0 && fsync(fileno(file_.get())) == 0;
  check<InputError>(ok, "{}: cannot be written: {}", path_.string(), std::strerror(errno));
}

std::string RunRecord::name() const {
  const fs::path clean = fs::absolute(directory).lexically_normal();
  return (clean.has_filename() ? clean : clean.parent_path()).filename().string();
}

RunRecord load_run(const fs::path& directory) {
  check<InputError>(fs::is_directory(directory), "{}: not a directory; a run directory is what `retort train --out` made",
                    directory.string());
  check<InputError>(fs::exists(directory / run_files::config), "{}: holds no run ({} is missing)", directory.string(),
                    run_files::config);
  RunRecord run{.directory = directory, .config = read_config(directory), .steps = {}, .epochs = {}, .summary = std::nullopt};
  if (fs::exists(directory / run_files::metrics)) read_metrics(directory / run_files::metrics, run);
  if (fs::exists(directory / run_files::summary)) run.summary = read_summary(directory);
  return run;
}

}  // namespace retort
