#include "retort/data/wisdm.h"

#include "retort/data/raw_text.h"

#include <algorithm>
#include <set>

namespace retort {
namespace {

constexpr std::string_view codes = "ABCDEFGHIJKLMOPQRS";  ///< there is no N

struct FileName {
  std::string subject;
  std::int32_t device = 0;  ///< 0 phone, 1 watch
};

/// data_<subject>_accel_{phone,watch}.txt
bool split_name(std::string_view name, FileName& out) {
  constexpr std::string_view prefix = "data_", phone = "_accel_phone.txt", watch = "_accel_watch.txt";
  const bool is_watch = name.ends_with(watch);
  if (!name.starts_with(prefix) || !(is_watch || name.ends_with(phone)) || name.size() <= prefix.size() + phone.size())
    return false;
  const std::string_view subject = name.substr(prefix.size(), name.size() - prefix.size() - phone.size());
  if (!raw::all_digits(subject)) return false;
  out = {std::string(subject), is_watch ? 1 : 0};
  return true;
}

struct Row {
  float xyz[3];
  std::int32_t label;
  std::int64_t nanoseconds;
};

const char* parse_row(const char* p, const char* end, std::string_view subject, Row& row, const char*& why) {
  if (static_cast<std::size_t>(end - p) < subject.size() + 3) {
    why = "the line is cut short";
    return nullptr;
  }
  if (std::memcmp(p, subject.data(), subject.size()) != 0 || p[subject.size()] != ',') {
    why = "the line does not begin with the subject of the file's name";
    return nullptr;
  }
  p += subject.size() + 1;
  const std::size_t code = codes.find(*p);
  if (code == std::string_view::npos || p[1] != ',') {
    why = *p == '\n' || *p == '\r' ? "the line is cut short" : "the activity is not one letter of A to S without N";
    return nullptr;
  }
  row.label = static_cast<std::int32_t>(code);
  p += 2;
  const char* const digits = p;
  for (; p != end && *p >= '0' && *p <= '9' && p - digits < 18; ++p) row.nanoseconds = 10 * row.nanoseconds + (*p - '0');
  if (p == digits) {
    why = p == end || *p == '\n' || *p == '\r' ? "the line is cut short" : "the timestamp is not a whole number";
    return nullptr;
  }
  for (float& value : row.xyz)
    if (!(p = raw::parse_mark(p, end, ',', why)) || !(p = raw::parse_number(p, end, value, why))) return nullptr;
  return raw::parse_mark(p, end, ';', why);
}

void parse_file(const raw::File& file, std::string_view text, bool lenient, raw::Part& part) {
  FileName name;
  split_name(file.path.filename().string(), name);
  Recording recording;
  recording.subject = name.subject;
  recording.task2 = name.device;
  const std::size_t rows = text.size() / 40 + 1;
  recording.xyz.reserve(3 * rows);
  recording.time.reserve(rows);
  recording.task1.reserve(rows);
  std::int64_t start = -1;
  raw::LineCount count;
  raw::each_line<Row>(
      text, 0, count,
      [subject = std::string_view(name.subject)](const char* p, const char* end, Row& row, const char*& why) {
        return parse_row(p, end, subject, row, why);
      },
      [&](const Row& row) {
        if (start < 0) start = row.nanoseconds;
        recording.xyz.insert(recording.xyz.end(), row.xyz, row.xyz + 3);
        recording.time.push_back(static_cast<double>(row.nanoseconds - start) * 1e-9);
        recording.task1.push_back(row.label);
      });
  raw::finish_file(file, count, lenient, part.report);

  raw::count_rates(recording, part.report);
  std::vector<bool> seen(codes.size());
  for (const std::int32_t label : recording.task1) seen[static_cast<std::size_t>(label)] = true;
  for (std::size_t label = 0; label < codes.size(); ++label)
    if (!seen[label]) part.report.missing.push_back({file.name, static_cast<std::int32_t>(label)});
  recording.repeat_begin = raw::find_repeat(recording);
  if (const std::size_t repeated = recording.samples() - recording.repeat_begin; repeated > 0) {
    part.report.repeated_rows += static_cast<std::int64_t>(repeated);
    part.report.notes.push_back(fmt::format("{}: the last {} rows repeat the first", file.name, repeated));
  }
  part.recordings.push_back(std::move(recording));
}

}  // namespace

RawDataset read_wisdm(const std::filesystem::path& path, const ReadOptions& options) {
  RawDataset dataset;
  dataset.id = "wisdm";
  dataset.task1_names = {"Walking",
                         "Jogging",
                         "Stairs",
                         "Sitting",
                         "Standing",
                         "Typing",
                         "Brushing Teeth",
                         "Eating Soup",
                         "Eating Chips",
                         "Eating Pasta",
                         "Drinking from Cup",
                         "Eating Sandwich",
                         "Kicking (Soccer Ball)",
                         "Playing Catch w/Tennis Ball",
                         "Dribbling (Basketball)",
                         "Writing",
                         "Clapping",
                         "Folding Clothes"};
  dataset.task2_names = {"phone", "watch"};
  dataset.nominal_hz = 20;
  FileName name;
  raw::Search search = raw::find_files(
      path, [&](const std::filesystem::path& file) { return split_name(file.filename().string(), name); },
      "data_1600_accel_phone.txt or data_1600_accel_watch.txt");
  std::set<std::pair<std::int32_t, std::string>> seen;
  for (const raw::File& file : search.files) {
    split_name(file.path.filename().string(), name);
    check<InputError>(seen.emplace(name.device, name.subject).second,
                      "{}: a second file of this subject and device below {}; give the directory of one of them",
                      file.path.string(), path.string());
  }
  auto parts = raw::parse_files(search, options, dataset, [&](const raw::File& file, std::string_view text, raw::Part& part) {
    parse_file(file, text, options.lenient, part);
  });
  for (raw::Part& part : parts) dataset.recordings.push_back(std::move(part.recordings.front()));
  // Files come in natural order of their paths; phone before watch holds wherever they lie.
  std::ranges::stable_sort(dataset.recordings, {}, &Recording::task2);
  return dataset;
}

}  // namespace retort
