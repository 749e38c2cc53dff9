// The real recordings, when RETORT_REAL_DATA names a directory that has them.
#include "catch.h"
#include "retort/core/error.h"
#include "retort/data/split.h"
#include "retort/data/windowing.h"
#include "temp_directory.h"

#include <fmt/format.h>

#include <cstdlib>
#include <fstream>
#include <iostream>
#include <numeric>

using namespace retort;
using namespace retort_test;

namespace {

/// The directory `name` below RETORT_REAL_DATA; empty, with a message, when it is not there.
std::filesystem::path real_data(const char* name) {
  const char* root = std::getenv("RETORT_REAL_DATA");
  const std::filesystem::path path = root && *root ? std::filesystem::path(root) / name : std::filesystem::path();
  if (!path.empty() && std::filesystem::exists(path)) return path;
  std::cout << "skipped: RETORT_REAL_DATA does not name a directory with " << name << "\n";
  return {};
}

std::int64_t windows_of(std::int64_t samples) { return (samples - 100) / 60 + 1; }

}  // namespace

TEST_CASE("real WISDM: rows, missing activities, mixed rates, windows") {
  const auto path = real_data("wisdm-dataset");
  if (path.empty()) return;
  const RawDataset data = read_raw("wisdm", path);
  CHECK(data.sources.size() == 24);
  CHECK(data.report.rows == 1567898);
  CHECK(data.samples() == 1567898);
  CHECK(data.report.skipped_lines == 0);
  CHECK(data.report.repeated_rows == 0);
  CHECK_FALSE(data.synthetic);
  CHECK(data.missing_task1().empty());
  std::vector<std::string> missing;
  for (const auto& item : data.report.missing)
    missing.push_back(std::filesystem::path(item.source).stem().string() + " " +
                      data.task1_names[static_cast<std::size_t>(item.label)]);
  CHECK(missing == std::vector<std::string>{"data_1607_accel_phone Eating Pasta", "data_1609_accel_phone Jogging",
                                            "data_1618_accel_phone Playing Catch w/Tennis Ball",
                                            "data_1618_accel_watch Playing Catch w/Tennis Ball"});
  CHECK(data.report.runs_by_rate.size() > 1);
  CHECK(data.report.runs_by_rate.contains(20));
  CHECK(data.report.runs_by_rate.contains(100));

  const WindowSet paper = make_windows(data, window_preset("paper", "wisdm"));
  CHECK(paper.count() == windows_of(1567898));
  CHECK(make_windows(data, window_preset("released", "wisdm")).count() == paper.count());
  const WindowSet strict = make_windows(data, window_preset("strict", "wisdm"));
  CHECK(strict.count() > 20000);
  CHECK(strict.count() < paper.count());
  for (const float value : strict.windows) REQUIRE(std::abs(value) < 200);
  const Split split = make_split(strict, {.kind = SplitKind::subject});
  CHECK(split.train.size() + split.val.size() + split.test.size() == static_cast<std::size_t>(strict.count()));
}

TEST_CASE("real WISDM: the files' hashes are the published ones") {
  const auto root = real_data("wisdm-dataset");
  const auto list = real_data("wisdm.sha256");
  if (root.empty() || list.empty()) return;
  std::ifstream lines(list);
  std::string sum, name, rest;
  int compared = 0;
  while (lines >> sum >> name && std::getline(lines, rest)) {
    const auto path = root / "raw" / name;
    if (!std::filesystem::exists(path)) continue;
    CHECK(sha256_of_file(path) == sum);
    ++compared;
  }
  CHECK(compared == 24);
}

TEST_CASE("real MHEALTH: the chest of all ten subjects") {
  const auto path = real_data("mhealth-chest");
  if (path.empty()) return;
  const RawDataset data = read_raw("mhealth", path);
  CHECK(data.report.rows == 344700);
  CHECK(data.recordings.size() == 10);
  CHECK(data.report.zero_streams == 20);
  CHECK(data.report.notes.size() == 2);
  CHECK(data.recordings.back().subject == "10");
  CHECK(data.missing_task2() == std::vector<std::int32_t>{1, 2});
  CHECK(make_windows(data, window_preset("paper", "mhealth")).count() == windows_of(344700));
}

TEST_CASE("real MHEALTH: the excerpt with all columns, separated by spaces") {
  const auto path = real_data("mhealth-excerpt");
  if (path.empty()) return;
  const RawDataset data = read_raw("mhealth", path);
  CHECK(data.report.rows == 72);
  CHECK(data.recordings.size() == 6);
  CHECK(data.recordings[0].xyz[0] == -9.7788f);
  CHECK(data.recordings[2].xyz[1] == -9.4517f);
  CHECK(data.recordings[4].xyz[0] == -2.8439f);
}
