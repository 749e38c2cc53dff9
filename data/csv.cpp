#include "retort/data/csv.h"

#include "retort/data/raw_text.h"

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <span>

namespace retort {
namespace {

enum Column { x, y, z, time, activity, position, subject, column_count, other };
constexpr std::array<std::string_view, column_count> column_names = {"x", "y", "z", "time", "activity", "position", "subject"};
constexpr std::string_view unlabelled = "unlabelled";

struct Header {
  char separator = ',';
  std::vector<Column> columns;
  std::size_t length = 0;  ///< bytes up to the first row

  bool has(Column column) const { return std::ranges::find(columns, column) != columns.end(); }
};

/// One cell without blanks and quotes around it, and where it ends: at a separator or the end of the line.
struct Cell {
  std::string_view text;
  const char* end;
};

std::optional<Cell> read_cell(const char* p, const char* end, char separator, const char*& why) {
  const auto blank = [&](char c) { return c == ' ' || (c == '\t' && separator != '\t'); };
  const auto ends = [&](char c) { return c == separator || c == '\n' || c == '\r'; };
  while (p != end && blank(*p)) ++p;
  const char* begin = p;
  const char* close;
  if (p != end && *p == '"') {
    begin = close = p + 1;
    while (close != end && *close != '"' && *close != '\n') ++close;
    if (close == end || *close == '\n') return why = "a quote is not closed", std::nullopt;
    for (p = close + 1; p != end && blank(*p);) ++p;
    if (p != end && !ends(*p)) return why = "text after a closing quote", std::nullopt;
  } else {
    while (p != end && !ends(*p)) ++p;
    for (close = p; close != begin && blank(close[-1]);) --close;
  }
  return Cell{{begin, static_cast<std::size_t>(close - begin)}, p};
}

Header read_header(const raw::File& file, std::string_view text) {
  const std::string path = file.path.string();
  const std::size_t newline = text.find('\n');
  const std::string_view line = text.substr(0, newline);
  Header header;
  header.length = newline == std::string_view::npos ? text.size() : newline + 1;
  for (const char separator : {'\t', ';', ','})
    if (line.find(separator) != std::string_view::npos) header.separator = separator;
  const char* p = line.data();
  const char* const end = p + line.size();
  for (bool more = true; more;) {
    const char* why = nullptr;
    const auto cell = read_cell(p, end, header.separator, why);
    check<InputError>(cell.has_value(), "{}:1: {}", path, why);
    const auto name = std::ranges::find(column_names, raw::lower(cell->text));
    const auto column = name == column_names.end() ? other : static_cast<Column>(name - column_names.begin());
    check<InputError>(column == other || !header.has(column), "{}:1: two columns are named {}", path, raw::lower(cell->text));
    header.columns.push_back(column);
    more = cell->end != end && *cell->end == header.separator;
    p = cell->end + 1;
  }
  for (const Column column : {x, y, z})
    check<InputError>(header.has(column), "{}:1: the header has no column {}; it names x, y and z, and may name {}", path,
                      column_names[column], fmt::join(std::span(column_names).subspan(3), ", "));
  return header;
}

struct Row {
  std::array<float, 3> xyz;
  double seconds;
  std::array<std::string_view, column_count> names;  ///< those of activity, position and subject
};

const char* parse_row(const Header& header, const char* p, const char* end, Row& row, const char*& why) {
  for (std::size_t i = 0; i < header.columns.size(); ++i) {
    if (i > 0) {
      if (p == end || *p != header.separator) return why = "the line is cut short", nullptr;
      ++p;
    }
    const auto cell = read_cell(p, end, header.separator, why);
    if (!cell) return nullptr;
    const char* const stop = cell->text.data() + cell->text.size();
    switch (const Column column = header.columns[i]) {
      case x:
      case y:
      case z:
        if (cell->text.empty()) return why = "a value is missing", nullptr;
        if (const char* last = raw::parse_number(cell->text.data(), stop, row.xyz[column], why); last != stop)
          return why = last ? "a value is not a number" : why, nullptr;
        break;
      case time:
        if (const auto [last, error] = fast_float::from_chars(cell->text.data(), stop, row.seconds);
            error != std::errc() || last != stop || !(std::fabs(row.seconds) < 1e15))
          return why = "the time is not a number of seconds", nullptr;
        break;
      case activity:
      case position:
      case subject:
        if (cell->text.empty()) return why = "a name is missing", nullptr;
        row.names[column] = cell->text;
        break;
      default:
        break;
    }
    p = cell->end;
  }
  return p;
}

/// Numbers the names of one file in the order in which they come.
class Names {
 public:
  std::int32_t operator()(std::string_view name) {
    if (name == last_) return number_;
    const auto [at, added] = numbers_.emplace(name, static_cast<std::int32_t>(names_.size()));
    if (added) names_.push_back(at->first);
    last_ = at->first;
    return number_ = at->second;
  }
  const std::vector<std::string>& names() const { return names_; }

 private:
  std::map<std::string, std::int32_t> numbers_;
  std::vector<std::string> names_;
  std::string_view last_;  ///< runs of one name are long
  std::int32_t number_ = -1;
};

/// What a file says beside its numbers.
struct Labels {
  bool has_activity = false, has_position = false, has_time = false;
  Names activities, positions;
};

void check_times(const raw::File& file, const Recording& recording) {
  std::vector<double> steps;
  for (std::size_t i = 1; i < recording.time.size(); ++i) steps.push_back(recording.time[i] - recording.time[i - 1]);
  if (steps.empty()) return;
  const auto middle = steps.begin() + static_cast<std::ptrdiff_t>(steps.size() / 2);
  std::ranges::nth_element(steps, middle);
  check<InputError>(*middle > 0 && *middle <= 1, "{}: rows are {:.6g} s apart by the column time; it should hold rising seconds",
                    file.path.string(), *middle);
}

void parse_file(const raw::File& file, std::string_view text, bool lenient, raw::Part& part, Labels& labels) {
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);  // a byte order mark, as Windows editors leave it
  const Header header = read_header(file, text);
  labels.has_activity = header.has(activity);
  labels.has_position = header.has(position);
  labels.has_time = header.has(time);
  const std::string person = file.path.stem().string();
  Names subjects;
  std::map<std::pair<std::int32_t, std::int32_t>, std::size_t> recording_of;  // subject, position
  std::vector<double> start;
  raw::LineCount count;
  count.line = 1;
  raw::each_line<Row>(
      text, header.length, count,
      [&](const char* p, const char* end, Row& row, const char*& why) { return parse_row(header, p, end, row, why); },
      [&](const Row& row) {
        const std::int32_t who = subjects(header.has(subject) ? row.names[subject] : person);
        const std::int32_t where = labels.positions(labels.has_position ? row.names[position] : unlabelled);
        const auto [at, added] = recording_of.emplace(std::pair(who, where), part.recordings.size());
        if (added) {
          Recording& recording = part.recordings.emplace_back();
          recording.task2 = where;
          recording.subject = subjects.names()[static_cast<std::size_t>(who)];
          start.push_back(row.seconds);
        }
        Recording& recording = part.recordings[at->second];
        recording.xyz.insert(recording.xyz.end(), row.xyz.begin(), row.xyz.end());
        if (labels.has_time) recording.time.push_back(row.seconds - start[at->second]);
        recording.task1.push_back(labels.activities(labels.has_activity ? row.names[activity] : unlabelled));
      });
  raw::finish_file(file, count, lenient, part.report);
  for (Recording& recording : part.recordings) {
    recording.repeat_begin = recording.samples();
    if (labels.has_time) check_times(file, recording), raw::count_rates(recording, part.report);
  }
}

std::vector<std::string> sorted_names(std::span<const Labels> labels, Names Labels::*which) {
  std::vector<std::string> all;
  for (const Labels& file : labels) all.insert(all.end(), (file.*which).names().begin(), (file.*which).names().end());
  std::ranges::sort(all);
  const auto repeated = std::ranges::unique(all);
  all.erase(repeated.begin(), repeated.end());
  return all;
}

/// A file's numbers as places in `to`.
std::vector<std::int32_t> renumber(const Names& from, const std::vector<std::string>& to) {
  std::vector<std::int32_t> out;
  for (const std::string& name : from.names())
    out.push_back(static_cast<std::int32_t>(std::ranges::lower_bound(to, name) - to.begin()));
  return out;
}

}  // namespace

RawDataset read_csv(const std::filesystem::path& path, const ReadOptions& options) {
  RawDataset dataset;
  dataset.id = "csv";
  const raw::Search search = raw::find_files(
      path, [](const std::filesystem::path& file) { return raw::lower(file.extension().string()) == ".csv"; }, "walk.csv");
  std::vector<Labels> labels(search.files.size());
  auto parts = raw::parse_files(search, options, dataset, [&](const raw::File& file, std::string_view text, raw::Part& part) {
    parse_file(file, text, options.lenient, part, labels[static_cast<std::size_t>(&file - search.files.data())]);
  });
  dataset.task1_names = sorted_names(labels, &Labels::activities);
  dataset.task2_names = sorted_names(labels, &Labels::positions);
  for (std::size_t i = 0; i < parts.size(); ++i) {
    for (const auto& [has, column] : {std::pair(&Labels::has_activity, activity), std::pair(&Labels::has_position, position)})
      check<InputError>(labels[i].*has == labels[0].*has, "{}: has {} column {}, unlike {}", search.files[i].path.string(),
                        labels[i].*has ? "a" : "no", column_names[column], search.files[0].path.string());
    const auto task1 = renumber(labels[i].activities, dataset.task1_names),
               task2 = renumber(labels[i].positions, dataset.task2_names);
    for (Recording& recording : parts[i].recordings) {
      for (std::int32_t& label : recording.task1) label = task1[static_cast<std::size_t>(label)];
      recording.task2 = task2[static_cast<std::size_t>(recording.task2)];
      dataset.recordings.push_back(std::move(recording));
    }
  }
  const auto& rates = dataset.report.runs_by_rate;
  if (!rates.empty()) dataset.nominal_hz = std::ranges::max_element(rates, {}, [](const auto& r) { return r.second; })->first;
  return dataset;
}

}  // namespace retort
