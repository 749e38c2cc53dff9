#include "retort/data/prepared.h"

#include "retort/core/error.h"
#include "retort/core/safetensors.h"

#include <nlohmann/json.hpp>

#include <array>
#include <charconv>
#include <cmath>

namespace retort {
namespace {

using Json = nlohmann::json;
constexpr std::string_view format_name = "retort-windows-1";

/// File names may not be UTF-8; JSON must be.
std::string dump(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

const char* flag(bool value) { return value ? "true" : "false"; }

Metadata to_metadata(const WindowSet& set) {
  const WindowInfo& info = set.info;
  const WindowOptions& o = info.options;
  Json sources = Json::array();
  for (const SourceFile& source : info.sources)
    sources.push_back({{"name", source.name}, {"bytes", source.bytes}, {"sha256", source.sha256}});
  return {{"format", std::string(format_name)},
          {"dataset", info.dataset},
          {"synthetic", flag(info.synthetic)},
          {"nominal_hz", fmt::format("{}", info.nominal_hz)},
          {"version", info.version},
          {"preset", o.preset},
          {"length", fmt::format("{}", o.length)},
          {"step", fmt::format("{}", o.step)},
          {"label", std::string(name(o.label))},
          {"axis_layout", std::string(name(o.axis_layout))},
          {"across_recordings", flag(o.across_recordings)},
          {"resample_hz", fmt::format("{}", o.resample_hz)},
          {"max_gap", fmt::format("{}", o.max_gap)},
          {"drop_repeats", flag(o.drop_repeats)},
          {"count", fmt::format("{}", set.count())},
          {"task1_names", dump(info.task1_names)},
          {"task2_names", dump(info.task2_names)},
          {"task1_counts", dump(count_labels(set.task1, info.task1_names.size()))},
          {"task2_counts", dump(count_labels(set.task2, info.task2_names.size()))},
          {"subjects", dump(info.subjects)},
          {"recordings", dump(info.recordings)},
          {"sources", dump(sources)},
          {"notes", dump(info.notes)}};
}

/// Metadata with the file's name at hand for messages.
class Reader {
 public:
  explicit Reader(const SafetensorsFile& file) : file_(file), where_(file.path().string()) {}

  const std::string& text(const std::string& key) const {
    const auto found = file_.metadata().find(key);
    check<InputError>(found != file_.metadata().end(), "{}: its metadata lack '{}'", where_, key);
    return found->second;
  }
  template <class T>
  T number(const std::string& key) const {
    const std::string& value = text(key);
    T out{};
    const auto result = std::from_chars(value.data(), value.data() + value.size(), out);
    check<InputError>(result.ec == std::errc() && result.ptr == value.data() + value.size(),
                      "{}: metadata '{}' = '{}' is not a number", where_, key, value);
    return out;
  }
  bool boolean(const std::string& key) const {
    const std::string& value = text(key);
    check<InputError>(value == "true" || value == "false", "{}: metadata '{}' = '{}' is not true or false", where_, key, value);
    return value == "true";
  }
  template <class T>
  T json(const std::string& key) const {
    try {
      return Json::parse(text(key)).get<T>();
    } catch (const Json::exception&) {
      fail<InputError>("{}: metadata '{}' is not the JSON it should be", where_, key);
    }
  }

 private:
  const SafetensorsFile& file_;
  std::string where_;
};

WindowInfo read_info(const Reader& reader) {
  WindowInfo info;
  info.dataset = reader.text("dataset");
  info.synthetic = reader.boolean("synthetic");
  info.nominal_hz = reader.number<double>("nominal_hz");
  info.version = reader.text("version");
  WindowOptions& o = info.options;
  o.preset = reader.text("preset");
  o.length = reader.number<std::int32_t>("length");
  o.step = reader.number<std::int32_t>("step");
  o.label = parse_label_rule(reader.text("label"));
  o.axis_layout = parse_axis_layout(reader.text("axis_layout"));
  o.across_recordings = reader.boolean("across_recordings");
  o.resample_hz = reader.number<double>("resample_hz");
  o.max_gap = reader.number<double>("max_gap");
  o.drop_repeats = reader.boolean("drop_repeats");
  info.task1_names = reader.json<std::vector<std::string>>("task1_names");
  info.task2_names = reader.json<std::vector<std::string>>("task2_names");
  info.subjects = reader.json<std::vector<std::string>>("subjects");
  info.recordings = reader.json<std::vector<std::string>>("recordings");
  info.notes = reader.json<std::vector<std::string>>("notes");
  const auto sources = reader.json<std::vector<std::map<std::string, Json>>>("sources");
  for (const auto& source : sources) {
    const auto field = [&](const char* key) { return source.contains(key) ? source.at(key) : Json(); };
    if (field("name").is_string() && field("bytes").is_number_unsigned() && field("sha256").is_string())
      info.sources.push_back(
          {field("name").get<std::string>(), field("bytes").get<std::uintmax_t>(), field("sha256").get<std::string>()});
  }
  check<InputError>(info.sources.size() == sources.size(), "metadata 'sources' needs name, bytes and sha256 of each");
  return info;
}

void check_range(const std::string& where, const char* what, std::span<const std::int32_t> labels, std::size_t limit) {
  for (std::size_t i = 0; i < labels.size(); ++i)
    check<InputError>(labels[i] >= 0 && static_cast<std::size_t>(labels[i]) < limit,
                      "{}: {}[{}] is {}, it should be from 0 to {}", where, what, i, labels[i],
                      static_cast<std::int64_t>(limit) - 1);
}

void check_finite(const std::string& where, const WindowSet& set) {
  for (std::int64_t i = 0; i < set.count(); ++i) {
    bool finite = true;
    for (const float value : set.window(i)) finite = finite && std::isfinite(value);
    check<InputError>(finite, "{}: window {} holds a value that is not finite", where, i);
  }
}

}  // namespace

void save_prepared(const std::filesystem::path& path, const WindowSet& set) {
  const Shape per_window{set.count()};
  const std::array arrays = {named_array("windows", {set.count(), 1, 3, set.info.options.length}, set.windows),
                             named_array("task1", per_window, set.task1), named_array("task2", per_window, set.task2),
                             named_array("subject", per_window, set.subject),
                             named_array("recording", per_window, set.recording)};
  write_safetensors(path, arrays, to_metadata(set));
}

WindowSet load_prepared(const std::filesystem::path& path, ValueCheck values) {
  const auto file = std::make_shared<const SafetensorsFile>(path);
  const std::string where = path.string();
  const auto format = file->metadata().find("format");
  check<InputError>(format != file->metadata().end() && format->second == format_name,
                    "{}: not a prepared data set (weights, or a file of another program?); make one with retort data prepare",
                    where);
  WindowSet set;
  const Reader reader(*file);
  try {
    set.info = read_info(reader);
  } catch (const InputError& error) {
    const std::string_view what = error.what();
    if (what.starts_with(where)) throw;
    fail<InputError>("{}: {}", where, what);
  }
  set.windows = file->floats("windows");
  set.task1 = file->ints("task1"), set.task2 = file->ints("task2");
  set.subject = file->ints("subject"), set.recording = file->ints("recording");
  set.owner = file;

  const std::int32_t length = set.info.options.length;
  const Shape& shape = file->shape("windows");
  check<InputError>(length > 0 && shape.rank() == 4 && shape[1] == 1 && shape[2] == 3 && shape[3] == length && shape[0] > 0,
                    "{}: windows have shape {}, (N, 1, 3, {}) is needed", where, shape.str(), length);
  const Shape per_window{shape[0]};
  for (const char* key : {"task1", "task2", "subject", "recording"})
    check<InputError>(file->shape(key) == per_window, "{}: {} has shape {}, {} is needed", where, key, file->shape(key).str(),
                      per_window.str());
  check_range(where, "task1", set.task1, set.info.task1_names.size());
  check_range(where, "task2", set.task2, set.info.task2_names.size());
  check_range(where, "subject", set.subject, set.info.subjects.size());
  check_range(where, "recording", set.recording, set.info.recordings.size());
  const auto matches = [&](const char* key, std::span<const std::int32_t> labels, std::size_t classes) {
    check<InputError>(reader.json<std::vector<std::int64_t>>(key) == count_labels(labels, classes),
                      "{}: the labels do not add up to its '{}'; the file is damaged", where, key);
  };
  matches("task1_counts", set.task1, set.info.task1_names.size());
  matches("task2_counts", set.task2, set.info.task2_names.size());
  if (values == ValueCheck::all) check_finite(where, set);
  return set;
}

}  // namespace retort
