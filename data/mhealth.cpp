#include "retort/data/mhealth.h"

#include "retort/data/raw_text.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <set>

namespace retort {
namespace {

constexpr int columns = 24, classes = 13;
constexpr std::array<int, 3> first_column = {0, 5, 14};  ///< of chest, left ankle, right lower arm
constexpr std::string_view prefix = "mHealth_subject", suffix = ".log";

std::string_view subject_of(std::string_view name) {
  if (!name.starts_with(prefix) || !name.ends_with(suffix) || name.size() <= prefix.size() + suffix.size()) return {};
  const std::string_view number = name.substr(prefix.size(), name.size() - prefix.size() - suffix.size());
  return raw::all_digits(number) ? number : std::string_view();
}

struct Row {
  float value[3][3];
  std::int32_t label;
};

const char* skip_token(const char* p, const char* end, const char*& why) {
  const char* const begin = p = raw::skip_blanks(p, end);
  while (p != end && static_cast<unsigned char>(*p) > ' ') ++p;
  if (p != begin) return p;
  why = "the line is cut short";
  return nullptr;
}

const char* parse_label(const char* p, const char* end, std::int32_t& label, const char*& why) {
  p = raw::skip_blanks(p, end);
  const auto result = std::from_chars(p, end, label);
  if (result.ec == std::errc() && label >= 0 && label < classes) return result.ptr;
  why = p == end || *p == '\n' || *p == '\r' ? "the line is cut short" : "the label is not a number from 0 to 12";
  return nullptr;
}

const char* parse_row(const char* p, const char* end, Row& row, const char*& why) {
  int column = 0;
  for (int sensor = 0; sensor < 3; ++sensor) {
    for (; column < first_column[static_cast<std::size_t>(sensor)]; ++column)
      if (!(p = skip_token(p, end, why))) return nullptr;
    for (int axis = 0; axis < 3; ++axis, ++column) {
      if (!(p = raw::parse_number(p, end, row.value[sensor][axis], why))) return nullptr;
      if (p != end && static_cast<unsigned char>(*p) > ' ') {
        why = "a value is not a number";
        return nullptr;
      }
    }
  }
  for (; column < columns - 1; ++column)
    if (!(p = skip_token(p, end, why))) return nullptr;
  return parse_label(p, end, row.label, why);
}

/// Leaves the three recordings in the part; a stream of zeros stays as a recording without samples.
void parse_file(const raw::File& file, std::string_view text, bool lenient, raw::Part& part) {
  std::array<Recording, 3> streams;
  std::vector<std::int32_t> labels;
  // A guess from the first line saves the growing; what is reserved and not touched costs no memory.
  const std::size_t rows = text.size() / std::max<std::size_t>(40, std::min(text.find('\n'), text.size()) / 2) + 1;
  for (Recording& stream : streams) stream.xyz.reserve(3 * rows);
  labels.reserve(rows);
  raw::LineCount count;
  raw::each_line<Row>(text, 0, count, parse_row, [&](const Row& row) {
    for (std::size_t s = 0; s < 3; ++s) streams[s].xyz.insert(streams[s].xyz.end(), row.value[s], row.value[s] + 3);
    labels.push_back(row.label);
  });
  raw::finish_file(file, count, lenient, part.report);
  for (std::int32_t s = 0; s < 3; ++s) {
    Recording& stream = streams[static_cast<std::size_t>(s)];
    stream.subject = subject_of(file.path.filename().string());
    stream.task2 = s;
    if (std::ranges::all_of(stream.xyz, [](float v) { return v == 0.0f; })) {
      ++part.report.zero_streams;
      stream.xyz.clear();
    } else {
      stream.task1 = labels;
    }
    stream.repeat_begin = stream.samples();
    part.recordings.push_back(std::move(stream));
  }
}

}  // namespace

RawDataset read_mhealth(const std::filesystem::path& path, const ReadOptions& options) {
  RawDataset dataset;
  dataset.id = "mhealth";
  dataset.task1_names = {"Null",
                         "Standing still",
                         "Sitting and relaxing",
                         "Lying down",
                         "Walking",
                         "Climbing stairs",
                         "Waist bends forward",
                         "Frontal elevation of arms",
                         "Knees bending (crouching)",
                         "Cycling",
                         "Jogging",
                         "Running",
                         "Jump front & back"};
  dataset.task2_names = {"chest", "left ankle", "right arm"};
  dataset.nominal_hz = 50;
  const raw::Search search = raw::find_files(
      path, [](const std::filesystem::path& file) { return !subject_of(file.filename().string()).empty(); },
      "mHealth_subject1.log");
  std::set<std::string, std::less<>> seen;
  for (const raw::File& file : search.files)
    check<InputError>(seen.emplace(subject_of(file.path.filename().string())).second,
                      "{}: a second file of this subject below {}; give the directory of one of them", file.path.string(),
                      path.string());
  auto parts = raw::parse_files(search, options, dataset, [&](const raw::File& file, std::string_view text, raw::Part& part) {
    parse_file(file, text, options.lenient, part);
  });
  std::array<int, 3> zero{};
  for (std::size_t s = 0; s < 3; ++s)
    for (raw::Part& part : parts) {
      Recording& stream = part.recordings[s];
      if (stream.samples() == 0)
        ++zero[s];
      else
        dataset.recordings.push_back(std::move(stream));
    }
  for (std::size_t s = 0; s < 3; ++s)
    if (zero[s] > 0)
      dataset.report.notes.push_back(
          fmt::format("{}: all zero in {} of {} files, left out", dataset.task2_names[s], zero[s], parts.size()));
  check<InputError>(!dataset.recordings.empty(), "{}: all three accelerometers are zero in every file", path.string());
  return dataset;
}

}  // namespace retort
