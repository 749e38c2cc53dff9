#include "retort/data/sleep.h"

#include "retort/data/raw_text.h"

#include <algorithm>
#include <array>

namespace retort {
namespace {

constexpr std::array<std::string_view, 12> postures = {"up",   "upright",  "rightup",  "right", "rightdown", "downright",
                                                       "down", "downleft", "leftdown", "left",  "leftup",    "upleft"};
constexpr std::array<std::string_view, 3> positions = {"co", "nguc", "bung"};

struct FileName {
  std::string subject, posture, position;  ///< the latter two in lower case
};

/// Splits `<subject>_<posture>_<position>.txt`; false when it has no such form.
bool split_name(const std::string& name, FileName& out) {
  if (name.size() < 5 || raw::lower(name.substr(name.size() - 4)) != ".txt") return false;
  const std::string stem = name.substr(0, name.size() - 4);
  const std::size_t last = stem.rfind('_');
  if (last == std::string::npos || last == 0) return false;
  const std::size_t middle = stem.rfind('_', last - 1);
  if (middle == std::string::npos || middle == 0) return false;
  out = {stem.substr(0, middle), raw::lower(stem.substr(middle + 1, last - middle - 1)), raw::lower(stem.substr(last + 1))};
  return true;
}

/// True for a recording. One known half and one unknown is a mistyped recording, which must not vanish among the ignored files.
bool is_recording(const std::filesystem::path& path) {
  FileName parts;
  if (!split_name(path.filename().string(), parts)) return false;
  const bool posture = std::ranges::count(postures, parts.posture) > 0,
             position = std::ranges::count(positions, parts.position) > 0;
  check<InputError>(posture || !position, "{}: unknown posture '{}'; known are {}", path.string(), parts.posture,
                    fmt::join(postures, ", "));
  check<InputError>(position || !posture, "{}: unknown position '{}'; known are {}", path.string(), parts.position,
                    fmt::join(positions, ", "));
  return posture && position;
}

struct Row {
  float x, y, z;
};

const char* parse_xyz(const char* p, const char* end, Row& row, const char*& why) {
  if (!(p = raw::parse_number(p, end, row.x, why)) || !(p = raw::parse_mark(p, end, ',', why))) return nullptr;
  if (!(p = raw::parse_number(p, end, row.y, why)) || !(p = raw::parse_mark(p, end, ',', why))) return nullptr;
  return raw::parse_number(p, end, row.z, why);
}

const char* parse_timed(const char* p, const char* end, Row& row, const char*& why) {
  const char* const begin = p;
  while (p != end && *p != ',' && *p != '\n') ++p;
  if (p == begin || p == end || *p == '\n') {
    why = p == begin ? "the first column is missing" : "the line is cut short";
    return nullptr;
  }
  p = parse_xyz(p + 1, end, row, why);
  return p ? raw::parse_mark(p, end, ';', why) : nullptr;
}

/// The length of the header line, 0 when the file begins with a number.
std::size_t header_length(const raw::File& file, std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos || std::string_view("0123456789+-.").find(text[first]) != std::string_view::npos) return 0;
  const std::size_t newline = text.find('\n', first);
  const std::string_view line = text.substr(first, newline == std::string_view::npos ? newline : newline - first);
  check<InputError>(std::ranges::count(line, ',') == 2, "{}:{}: neither a row of numbers nor a header with three names",
                    file.path.string(), 1 + std::ranges::count(text.substr(0, first), '\n'));
  return newline == std::string_view::npos ? text.size() : newline + 1;
}

void parse_file(const raw::File& file, std::string_view text, bool lenient, raw::Part& part) {
  FileName name;
  split_name(file.path.filename().string(), name);
  Recording recording;
  recording.subject = name.subject;
  recording.task2 = static_cast<std::int32_t>(std::ranges::find(positions, name.position) - positions.begin());
  const auto posture = static_cast<std::int32_t>(std::ranges::find(postures, name.posture) - postures.begin());

  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);  // a byte order mark, as Windows editors leave it
  const std::size_t header = header_length(file, text);
  recording.xyz.reserve(3 * (text.size() / 16 + 1));
  raw::LineCount count;
  count.line = std::ranges::count(text.substr(0, header), '\n');
  const auto take = [&](const Row& row) { recording.xyz.insert(recording.xyz.end(), {row.x, row.y, row.z}); };
  if (header > 0)
    raw::each_line<Row>(text, header, count, parse_xyz, take);
  else
    raw::each_line<Row>(text, 0, count, parse_timed, take);
  raw::finish_file(file, count, lenient, part.report);
  recording.task1.assign(recording.xyz.size() / 3, posture);
  recording.repeat_begin = recording.samples();
  recording.xyz.shrink_to_fit();
  part.recordings.push_back(std::move(recording));
}

}  // namespace

RawDataset read_sleep(const std::filesystem::path& path, const ReadOptions& options) {
  RawDataset dataset;
  dataset.id = "sleep";
  dataset.task1_names.assign(postures.begin(), postures.end());
  dataset.task2_names = {"neck", "chest", "abdomen"};
  dataset.nominal_hz = 50;
  const raw::Search search = raw::find_files(path, is_recording, "07_UpRight_nguc.txt (<subject>_<posture>_<position>.txt)");
  auto parts = raw::parse_files(search, options, dataset, [&](const raw::File& file, std::string_view text, raw::Part& part) {
    parse_file(file, text, options.lenient, part);
  });
  for (raw::Part& part : parts) dataset.recordings.push_back(std::move(part.recordings.front()));
  return dataset;
}

}  // namespace retort
