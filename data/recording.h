// What the parsers give and everything after them takes: one sensor's stream as a plain array, with labels beside it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace retort {

/// One sensor's stream in one file.
struct Recording {
  std::vector<float> xyz;           ///< (samples, 3) interleaved x y z, in the file's own unit
  std::vector<double> time;         ///< seconds since the first sample; empty when the format has none worth trusting
  std::vector<std::int32_t> task1;  ///< (samples) class of task 1, from 0
  std::int32_t task2 = 0;           ///< class of task 2, from 0: where the sensor sits
  std::string subject;              ///< as the file names it: "07", "1600"
  std::int32_t source = 0;          ///< index in RawDataset::sources
  /// From this sample on the recording repeats its own beginning (WISDM 1629 has its whole file twice); samples() when it does
  /// not.
  std::size_t repeat_begin = 0;

  std::size_t samples() const { return task1.size(); }
};

struct SourceFile {
  std::string name;  ///< relative to the directory that was read
  std::uintmax_t bytes = 0;
  std::string sha256;  ///< hexadecimal; empty when ReadOptions::hashes is off
};

/// What the parsers saw and did not use. Nothing is dropped silently.
struct ParseReport {
  std::int64_t rows = 0;                     ///< lines taken
  std::int64_t skipped_lines = 0;            ///< lines that could not be used
  std::string first_skipped;                 ///< "file:line: why", empty when none
  std::int64_t ignored_files = 0;            ///< files whose names are not those of the format
  std::string first_ignored;                 ///< one of them
  std::int64_t zero_streams = 0;             ///< streams left out because every value is 0 (a sensor that was not there)
  std::int64_t repeated_rows = 0;            ///< rows that repeat their file's beginning
  std::map<int, std::int64_t> runs_by_rate;  ///< Hz (median, rounded) -> runs of one activity at that rate
  struct Missing {
    std::string source;  ///< file name
    std::int32_t label;  ///< class of task 1 that the file lacks
  };
  std::vector<Missing> missing;    ///< filled for formats whose every file should hold every class (WISDM)
  std::vector<std::string> notes;  ///< one line each, for people
};

struct RawDataset {
  std::string id;  ///< "sleep", "mhealth", "wisdm", "csv"
  std::vector<std::string> task1_names, task2_names;
  std::vector<Recording> recordings;  ///< in the order in which they are laid end to end
  std::vector<SourceFile> sources;
  double nominal_hz = 0;   ///< 0: unknown
  bool synthetic = false;  ///< a SYNTHETIC.txt lies beside the files
  ParseReport report;

  std::int64_t samples() const;
  std::vector<std::int32_t> missing_task1() const;  ///< classes without a single sample
  std::vector<std::int32_t> missing_task2() const;
};

struct ReadOptions {
  bool lenient = false;  ///< accept files in which more than 1 % of the lines are bad
  bool hashes = true;    ///< compute sha256 of each file
};

/// Name of the file that marks a directory of synthetic recordings.
inline constexpr std::string_view synthetic_marker = "SYNTHETIC.txt";

/// Reads data set `id` ("sleep", "mhealth", "wisdm", or one's own as "csv") from a directory, searched with its subdirectories,
/// or from one file.
///
/// Throws InputError, naming file and line, when: the path is not there; no file has the format's name; a file of that name is a
/// directory, is empty or has no usable line; more than 1 % of a file's lines are bad and `lenient` is off; a posture or position
/// name is unknown; two files are the same subject and device. Fewer bad lines are skipped and counted in the report.
RawDataset read_raw(std::string_view id, const std::filesystem::path& path, const ReadOptions& options = {});

/// Hexadecimal sha256 of a file's bytes, and of a text's.
std::string sha256_of_file(const std::filesystem::path& path);
std::string sha256_of_text(std::string_view text);

}  // namespace retort
