#include "retort/data/synthetic.h"

#include "catch.h"
#include "retort/core/error.h"
#include "retort/core/file.h"
#include "retort/data/split.h"
#include "retort/data/windowing.h"
#include "temp_directory.h"

#include <fmt/format.h>

#include <array>
#include <cmath>
#include <map>

using namespace retort;
using namespace retort_test;

namespace {

std::map<std::string, std::string> contents(const std::filesystem::path& directory) {
  std::map<std::string, std::string> out;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory))
    if (entry.is_regular_file()) out[entry.path().lexically_relative(directory).string()] = read_file(entry.path());
  return out;
}

}  // namespace

TEST_CASE("synthetic files of each data set are read by its parser and known to be synthetic") {
  for (const char* id : {"sleep", "mhealth", "wisdm"}) {
    CAPTURE(id);
    const TempDirectory dir;
    const SyntheticSummary written = write_synthetic(dir / "out", {.dataset = id, .subjects = 7, .seconds = 6, .seed = 3});
    const RawDataset data = read_raw(id, dir / "out");
    CHECK(data.synthetic);
    CHECK(contains(read_file(dir / "out/SYNTHETIC.txt"), "SYNTHETIC. No person was measured."));
    CHECK(data.report.skipped_lines == 0);
    CHECK(data.report.ignored_files == 0);
    CHECK(data.report.rows == written.rows);
    CHECK(static_cast<std::int64_t>(data.sources.size()) == written.files);
    CHECK(data.missing_task1().empty());
    CHECK(data.missing_task2().empty());
    const WindowSet set = make_windows(data, window_preset("strict", id));
    CHECK(set.info.synthetic);
    CHECK(set.info.subjects.size() == 7);
    for (const float value : set.windows) REQUIRE(std::abs(value) < 100);
    CHECK(make_split(set, {.kind = SplitKind::subject, .seed = 1}).warnings.empty());
  }
}

TEST_CASE("the formats' traps are in the synthetic files") {
  const TempDirectory dir;
  write_synthetic(dir / "sleep", {.dataset = "sleep", .subjects = 2, .seconds = 1});
  CHECK(read_file(dir / "sleep/01_UpRight_nguc.txt").starts_with("0.00,"));
  CHECK(read_file(dir / "sleep/02_UpRight_nguc.txt").starts_with("ax,ay,az\n"));
  write_synthetic(dir / "wisdm", {.dataset = "wisdm", .subjects = 4, .seconds = 20});
  const std::string phone = read_file(dir / "wisdm/raw/phone/accel/data_1600_accel_phone.txt");
  CHECK(contains(phone, "E-4"));
  CHECK(contains(phone, ";\n1600,B,"));
  CHECK_FALSE(contains(phone, "1600,N,"));
  CHECK(std::filesystem::exists(dir / "wisdm/raw/watch/accel/SYNTHETIC.txt"));
  const RawDataset data = read_raw("wisdm", dir / "wisdm");
  CHECK(data.report.runs_by_rate == std::map<int, std::int64_t>{{20, 7 * 18}, {50, 18}});
}

TEST_CASE("the same options give the same bytes, another seed others, more subjects leave the first alone") {
  for (const char* id : {"sleep", "mhealth", "wisdm"}) {
    CAPTURE(id);
    const TempDirectory dir;
    SyntheticOptions options = {.dataset = id, .subjects = 1, .seconds = 0.5, .seed = 9};
    write_synthetic(dir / "a", options);
    write_synthetic(dir / "b", options);
    const auto a = contents(dir / "a");
    CHECK(a == contents(dir / "b"));
    CHECK_NOTHROW(write_synthetic(dir / "b", options));  // over the same again
    options.subjects = 2;
    write_synthetic(dir / "c", options);
    const auto c = contents(dir / "c");
    for (const auto& [name, text] : a)
      if (!contains(name, "SYNTHETIC")) CHECK(c.at(name) == text);
    options.subjects = 1;
    options.seed = 10;
    write_synthetic(dir / "d", options);
    CHECK(a != contents(dir / "d"));
  }
}

TEST_CASE("sleep: gravity points where the posture says") {
  const TempDirectory dir;
  write_synthetic(dir / "s", {.dataset = "sleep", .subjects = 24, .seconds = 2, .seed = 1});
  const RawDataset data = read_raw("sleep", dir / "s");
  std::array<std::array<double, 3>, 12> mean{};
  for (const Recording& r : data.recordings) {
    if (r.task2 != 1) continue;  // the chest lies flattest
    for (std::size_t i = 0; i < r.xyz.size(); ++i)
      mean[static_cast<std::size_t>(r.task1[0])][i % 3] += r.xyz[i] / (24.0 * static_cast<double>(r.samples()));
  }
  const std::array<double, 12> degrees = {90, 60, 30, 0, 330, 300, 270, 240, 210, 180, 150, 120};
  for (std::size_t c = 0; c < 12; ++c) {
    CAPTURE(c);
    const double angle = degrees[c] * std::acos(-1.0) / 180;
    CHECK(mean[c][0] == Approx(std::cos(angle)).margin(0.12));
    CHECK(mean[c][2] == Approx(std::sin(angle)).margin(0.12));
  }
}

TEST_CASE("synthetic data never overwrites anything else") {
  const TempDirectory dir;
  dir.write("mine/07_Up_co.txt", "0,1,2,3;\n");
  const auto refusal = [&](const char* where, SyntheticOptions options) {
    return message_of<InputError>([&] { write_synthetic(dir / where, options); });
  };
  CHECK(contains(refusal("mine", {.subjects = 1, .seconds = 1}), "holds files that were not made here"));
  CHECK(read_file(dir / "mine/07_Up_co.txt") == "0,1,2,3;\n");
  write_synthetic(dir / "s", {.subjects = 1, .seconds = 1});
  CHECK(contains(refusal("s", {.subjects = 2, .seconds = 1}), "synthetic recordings of other options"));
  CHECK(contains(refusal("mine/07_Up_co.txt", {}), "a directory is needed"));
  CHECK(contains(refusal("x", {.dataset = "x"}), "unknown data set 'x'"));
  CHECK(contains(refusal("x", {.subjects = -1}), "-1 subjects"));
  CHECK(contains(refusal("x", {.seconds = -1}), "-1 seconds"));
}
