// What the three parsers share: finding the files, walking their lines once, counting the bad ones. Not part of the public face.
#pragma once

#include "retort/core/error.h"
#include "retort/core/file.h"
#include "retort/data/recording.h"

#include <fast_float/fast_float.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace retort::raw {

struct File {
  std::filesystem::path path;
  std::string name;  ///< relative to the directory searched
};

struct Search {
  std::vector<File> files;  ///< in natural order of their names: subject2 before subject10
  std::int64_t ignored = 0;
  std::string first_ignored;
  bool synthetic = false;
};

/// All files below `root` (or `root` itself, when it is a file) whose file name `matches`. Throws InputError when there is none,
/// saying that `expected` was looked for and where, and when a directory has such a name.
Search find_files(const std::filesystem::path& root, const std::function<bool(const std::filesystem::path&)>& matches,
                  std::string_view expected);

/// What one file gives; merged in file order, so threads do not change the result.
struct Part {
  std::vector<Recording> recordings;
  ParseReport report;
  SourceFile source;
};

/// Parses every file with `parse`, several at a time, and adds the reports and sources to `dataset` in order. The recordings stay
/// in the parts: the order in which they are laid end to end is the format's business. The error of the first bad file is thrown.
std::vector<Part> parse_files(const Search& search, const ReadOptions& options, RawDataset& dataset,
                              const std::function<void(const File&, std::string_view text, Part&)>& parse);

/// Lines of one file, counted.
struct LineCount {
  std::int64_t line = 0, good = 0, bad = 0, first_bad_line = 0;
  const char* first_why = nullptr;
};

/// Throws when the file is empty, holds nothing usable or too many bad lines; otherwise adds the counts to the report.
void finish_file(const File& file, const LineCount& count, bool lenient, ParseReport& report);

/// Adds "runs of one activity at that rate" to the report.
void count_rates(const Recording& recording, ParseReport& report);

/// Where the recording starts to repeat its own beginning to the end, see Recording::repeat_begin.
std::size_t find_repeat(const Recording& recording);

/// Numbers that a sensor can send, in any unit in use (g, m/s2, mg, raw counts): a larger one is a broken line.
inline constexpr float largest_value = 1e6f;

inline const char* skip_blanks(const char* p, const char* end) {
  while (p != end && (*p == ' ' || *p == '\t')) ++p;
  return p;
}

/// Parses a number at p (blanks before it are fine); null and a reason when there is none.
inline const char* parse_number(const char* p, const char* end, float& value, const char*& why) {
  p = skip_blanks(p, end);
  if (p != end && *p == '+') ++p;
  const auto result = fast_float::from_chars(p, end, value);
  if (result.ec != std::errc()) {
    why = p == end || *p == '\n' || *p == '\r' ? "the line is cut short" : "a value is not a number";
    return nullptr;
  }
  if (!(std::fabs(value) <= largest_value)) {  // also true for NaN
    why = "a value is not finite or far outside any sensor's range";
    return nullptr;
  }
  return result.ptr;
}

/// The character `wanted` at p, after blanks.
inline const char* parse_mark(const char* p, const char* end, char wanted, const char*& why) {
  p = skip_blanks(p, end);
  if (p != end && *p == wanted) return p + 1;
  why = p == end || *p == '\n' || *p == '\r' ? "the line is cut short" : "a column too many, or a wrong separator";
  return nullptr;
}

/// Walks the lines of `text` from `begin` once. `parse(p, end, row, why)` reads one row and returns where it stopped, or null
/// with a reason; `take(row)` stores it once the line is known to end there. Lines of blanks are passed over, LF and CRLF both
/// end a line.
template <class Row, class Parse, class Take>
void each_line(std::string_view text, std::size_t begin, LineCount& count, Parse parse, Take take) {
  const char* p = text.data() + begin;
  const char* const end = text.data() + text.size();
  while (p != end) {
    ++count.line;
    Row row{};
    const char* why = nullptr;
    const char* q = parse(p, end, row, why);
    if (q) [[likely]] {
      q = skip_blanks(q, end);
      if (q != end && *q == '\r') ++q;
      if (q == end || *q == '\n') {
        take(row);
        ++count.good;
        p = q == end ? end : q + 1;
        continue;
      }
      why = "more columns than the format has";
    }
    const char* const newline = static_cast<const char*>(std::memchr(p, '\n', static_cast<std::size_t>(end - p)));
    const char* const line_end = newline ? newline : end;
    p = skip_blanks(p, line_end);
    const bool blank = p == line_end || (*p == '\r' && p + 1 == line_end);
    if (!blank && ++count.bad == 1) count.first_bad_line = count.line, count.first_why = why;
    p = newline ? newline + 1 : end;
  }
}

std::string lower(std::string_view text);

/// True when all of a non-empty text are digits.
bool all_digits(std::string_view text);

}  // namespace retort::raw
