#include "retort/data/raw_text.h"

#include <algorithm>
#include <atomic>
#include <cctype>
#include <exception>
#include <thread>

namespace retort::raw {
namespace {

namespace fs = std::filesystem;

/// Digits compare as numbers: subject2 before subject10.
bool natural_less(std::string_view a, std::string_view b) {
  std::size_t i = 0, j = 0;
  const auto digit = [](char c) { return c >= '0' && c <= '9'; };
  while (i < a.size() && j < b.size()) {
    if (digit(a[i]) && digit(b[j])) {
      const auto number = [&](std::string_view text, std::size_t& at) {
        while (at < text.size() && text[at] == '0') ++at;
        const std::size_t begin = at;
        while (at < text.size() && digit(text[at])) ++at;
        return text.substr(begin, at - begin);
      };
      const std::string_view x = number(a, i), y = number(b, j);
      if (x.size() != y.size()) return x.size() < y.size();
      if (x != y) return x < y;
    } else {
      if (a[i] != b[j]) return a[i] < b[j];
      ++i, ++j;
    }
  }
  if (a.size() - i != b.size() - j) return a.size() - i < b.size() - j;
  return a < b;  // "07" and "7": still an order
}

void consider(const fs::directory_entry& entry, const fs::path& root, const std::function<bool(const fs::path&)>& matches,
              Search& search) {
  const bool wanted = matches(entry.path());
  if (wanted) {
    check<InputError>(!entry.is_directory(), "{}: is a directory, a file is needed", entry.path().string());
    search.files.push_back({entry.path(), entry.path().lexically_relative(root).generic_string()});
  } else if (entry.path().filename() == synthetic_marker) {
    search.synthetic = true;
  } else if (!entry.is_directory()) {
    if (search.ignored++ == 0 || entry.path().string() < search.first_ignored) search.first_ignored = entry.path().string();
  }
}

}  // namespace

Search find_files(const fs::path& root, const std::function<bool(const fs::path&)>& matches, std::string_view expected) {
  Search search;
  try {
    check<InputError>(fs::exists(root), "{}: no such file or directory", root.string());
    if (fs::is_directory(root)) {
      for (const auto& entry : fs::recursive_directory_iterator(root)) consider(entry, root, matches, search);
      check<InputError>(!search.files.empty(), "{}: none of {} files here or below is named like {}", root.string(),
                        search.ignored, expected);
    } else {
      check<InputError>(matches(root), "{}: the file should be named like {}", root.string(), expected);
      search.files.push_back({root, root.filename().string()});
    }
    // The generator puts a marker into every directory it writes recordings to, so a single file or a part is known as well.
    for (const File& file : search.files)
      search.synthetic = search.synthetic || fs::exists(file.path.parent_path() / synthetic_marker);
  } catch (const fs::filesystem_error& error) {
    fail<InputError>("{}: cannot be searched: {}", root.string(), error.code().message());
  }
  std::ranges::sort(search.files, [](const File& a, const File& b) { return natural_less(a.name, b.name); });
  return search;
}

std::vector<Part> parse_files(const Search& search, const ReadOptions& options, RawDataset& dataset,
                              const std::function<void(const File&, std::string_view, Part&)>& parse) {
  const std::size_t count = search.files.size();
  std::vector<Part> parts(count);
  std::vector<std::exception_ptr> errors(count);
  std::atomic<std::size_t> next{0};
  std::atomic<bool> stop{false};
  const auto work = [&] {
    for (std::size_t i; !stop && (i = next++) < count;) try {
        const File& file = search.files[i];
        const MappedFile map(file.path);
        check<InputError>(!map.bytes().empty(), "{}: the file is empty", file.path.string());
        read_ahead(map.bytes());
        parse(file, map.text(), parts[i]);
        parts[i].source = {file.name, map.bytes().size(), options.hashes ? sha256_of_text(map.text()) : std::string()};
      } catch (...) {
        errors[i] = std::current_exception();
        stop = true;
      }
  };
  std::vector<std::jthread> threads;
  const std::size_t helpers = std::min<std::size_t>(count, std::max(1u, std::thread::hardware_concurrency())) - 1;
  for (std::size_t t = 0; t < helpers; ++t) threads.emplace_back(work);
  work();
  threads.clear();
  for (const auto& error : errors)
    if (error) std::rethrow_exception(error);

  dataset.synthetic = search.synthetic;
  ParseReport& report = dataset.report;
  report.ignored_files = search.ignored;
  report.first_ignored = search.first_ignored;
  for (std::size_t i = 0; i < count; ++i) {
    Part& part = parts[i];
    dataset.sources.push_back(std::move(part.source));
    for (Recording& recording : part.recordings) recording.source = static_cast<std::int32_t>(i);
    report.rows += part.report.rows;
    report.skipped_lines += part.report.skipped_lines;
    if (report.first_skipped.empty()) report.first_skipped = part.report.first_skipped;
    report.zero_streams += part.report.zero_streams;
    report.repeated_rows += part.report.repeated_rows;
    for (const auto& [rate, runs] : part.report.runs_by_rate) report.runs_by_rate[rate] += runs;
    report.missing.insert(report.missing.end(), part.report.missing.begin(), part.report.missing.end());
    report.notes.insert(report.notes.end(), part.report.notes.begin(), part.report.notes.end());
  }
  return parts;
}

void finish_file(const File& file, const LineCount& count, bool lenient, ParseReport& report) {
  const std::string path = file.path.string();
  const std::int64_t total = count.good + count.bad;
  check<InputError>(total > 0, "{}: the file holds no data line", path);
  check<InputError>(count.good > 0, "{}:{}: {}; not one of {} lines can be used", path, count.first_bad_line,
                    count.first_why ? count.first_why : "", total);
  if (count.bad > 0) {
    check<InputError>(lenient || count.bad * 100 <= total,
                      "{}:{}: {}; {} of {} lines are bad, at most 1 % may be (--lenient skips them all the same)", path,
                      count.first_bad_line, count.first_why, count.bad, total);
    report.first_skipped = fmt::format("{}:{}: {}", path, count.first_bad_line, count.first_why);
  }
  report.rows += count.good;
  report.skipped_lines += count.bad;
}

void count_rates(const Recording& recording, ParseReport& report) {
  std::vector<double> steps;
  for (std::size_t begin = 0, end; begin < recording.samples(); begin = end) {
    for (end = begin + 1; end < recording.samples() && recording.task1[end] == recording.task1[begin];) ++end;
    // Some hundred steps tell the median as well as all of them.
    steps.clear();
    const std::size_t stride = std::max<std::size_t>(1, (end - begin) / 512);
    for (std::size_t i = begin + 1; i < end; i += stride) steps.push_back(recording.time[i] - recording.time[i - 1]);
    if (steps.empty()) continue;
    const auto middle = steps.begin() + static_cast<std::ptrdiff_t>(steps.size() / 2);
    std::nth_element(steps.begin(), middle, steps.end());
    if (*middle > 0 && *middle < 1e6) ++report.runs_by_rate[static_cast<int>(std::min(1e9, std::round(1.0 / *middle)))];
  }
}

std::size_t find_repeat(const Recording& recording) {
  const std::size_t n = recording.samples();
  const auto same = [&](std::size_t a, std::size_t b) {
    return recording.time[a] == recording.time[b] && recording.task1[a] == recording.task1[b] &&
           std::memcmp(&recording.xyz[3 * a], &recording.xyz[3 * b], 3 * sizeof(float)) == 0;
  };
  for (std::size_t k = 1; k < n; ++k) {
    if (recording.time[k] != recording.time[0] || !same(0, k)) continue;
    std::size_t i = 1;
    while (k + i < n && same(i, k + i)) ++i;
    // One sample that happens to equal the first is no repetition.
    if (k + i == n && i >= 20) return k;
  }
  return n;
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

bool all_digits(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

}  // namespace retort::raw
