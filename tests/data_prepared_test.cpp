#include "retort/data/prepared.h"

#include "catch.h"
#include "retort/core/version.h"
#include "retort/core/error.h"
#include "retort/core/safetensors.h"
#include "temp_directory.h"

#include <cmath>
#include <limits>

using namespace retort;
using namespace retort_test;

namespace {

RawDataset small_dataset(std::size_t samples = 400) {
  RawDataset data;
  data.id = "sleep";
  data.task1_names = {"up", "down \"quoted\""};
  data.task2_names = {"neck", "chest"};
  data.nominal_hz = 50;
  data.synthetic = true;
  data.report.notes = {"a note"};
  for (std::int32_t i = 0; i < 3; ++i) {
    Recording r;
    for (std::size_t k = 0; k < 3 * samples; ++k) r.xyz.push_back(static_cast<float>(i) + 0.001f * static_cast<float>(k));
    r.task1.assign(samples, i % 2);
    r.task2 = i / 2;
    r.subject = std::to_string(i);
    r.source = i;
    r.repeat_begin = samples;
    data.recordings.push_back(std::move(r));
    data.sources.push_back({"dir/f" + std::to_string(i) + ".txt", 123, std::string(64, 'a')});
  }
  return data;
}

/// The arrays of a sound prepared file, to be spoilt one at a time.
struct Parts {
  std::vector<float> windows = std::vector<float>(2 * 300, 1.0f);
  std::vector<std::int32_t> task1 = {0, 1}, task2 = {0, 0}, subject = {0, 1}, recording = {0, 1};
  Shape shape{2, 1, 3, 100};
  Metadata metadata;

  void write(const std::filesystem::path& path) const {
    const Shape n{static_cast<std::int64_t>(task1.size())};
    const std::array arrays = {named_array("windows", shape, std::span(windows)), named_array("task1", n, std::span(task1)),
                               named_array("task2", {2}, std::span(task2)), named_array("subject", {2}, std::span(subject)),
                               named_array("recording", {2}, std::span(recording))};
    write_safetensors(path, arrays, metadata);
  }
};

}  // namespace

TEST_CASE("a prepared file gives back windows, labels and everything known about them") {
  const TempDirectory dir;
  WindowOptions options = window_preset("released", "sleep");
  options.resample_hz = 12.5;
  options.max_gap = 0.25;
  const WindowSet made = make_windows(small_dataset(), options);
  save_prepared(dir / "d.safetensors", made);
  const WindowSet read = load_prepared(dir / "d.safetensors", ValueCheck::all);
  CHECK(read.count() == made.count());
  CHECK(std::ranges::equal(read.windows, made.windows));
  CHECK(std::ranges::equal(read.task1, made.task1));
  CHECK(std::ranges::equal(read.task2, made.task2));
  CHECK(std::ranges::equal(read.subject, made.subject));
  CHECK(std::ranges::equal(read.recording, made.recording));
  CHECK(read.info.dataset == "sleep");
  CHECK(read.info.synthetic);
  CHECK(read.info.nominal_hz == 50);
  CHECK(read.info.task1_names == made.info.task1_names);
  CHECK(read.info.task2_names == made.info.task2_names);
  CHECK(read.info.subjects == made.info.subjects);
  CHECK(read.info.recordings == made.info.recordings);
  CHECK(read.info.notes == made.info.notes);
  CHECK(read.info.version == std::string(version()));
  REQUIRE(read.info.sources.size() == 3);
  CHECK(read.info.sources[2].name == "dir/f2.txt");
  CHECK(read.info.sources[2].bytes == 123);
  CHECK(read.info.sources[2].sha256 == std::string(64, 'a'));
  CHECK(read.info.options.preset == "released");
  CHECK(read.info.options.label == LabelRule::last);
  CHECK(read.info.options.axis_layout == AxisLayout::interleaved);
  CHECK(read.info.options.across_recordings);
  CHECK(read.info.options.resample_hz == 12.5);
  CHECK(read.info.options.max_gap == 0.25);
  CHECK_FALSE(read.info.options.drop_repeats);
  const Shape shape = SafetensorsFile(dir / "d.safetensors").shape("windows");
  CHECK(shape == Shape{made.count(), 1, 3, 100});
}

TEST_CASE("copies of a loaded set share the mapped file") {
  const TempDirectory dir;
  save_prepared(dir / "d", make_windows(small_dataset(), {}));
  WindowSet copy;
  {
    const WindowSet read = load_prepared(dir / "d");
    copy = read;
    CHECK(copy.windows.data() == read.windows.data());
  }
  std::filesystem::remove(dir / "d");
  CHECK(copy.window(copy.count() - 1)[0] >= 2.0f);
}

TEST_CASE("damaged, foreign and inconsistent files are refused by name") {
  const TempDirectory dir;
  const auto path = dir / "bad.safetensors";
  Parts good;
  {
    WindowSet set = make_windows(small_dataset(), {});
    save_prepared(path, set);
    good.metadata = SafetensorsFile(path).metadata();
    good.metadata["task1_counts"] = "[1,1]";
    good.metadata["task2_counts"] = "[2,0]";
    good.write(path);
    REQUIRE(load_prepared(path, ValueCheck::all).count() == 2);
  }
  const auto refusal = [&](auto spoil, ValueCheck values = ValueCheck::labels) {
    Parts parts = good;
    spoil(parts);
    parts.write(path);
    const std::string what = message_of<InputError>([&] { load_prepared(path, values); });
    CHECK(contains(what, "bad.safetensors: "));
    return what;
  };
  CHECK(contains(refusal([](Parts& p) { p.metadata.clear(); }), "not a prepared data set"));
  CHECK(contains(refusal([](Parts& p) { p.metadata.erase("label"); }), "lack 'label'"));
  CHECK(contains(refusal([](Parts& p) { p.metadata["label"] = "first"; }), "unknown label rule 'first'"));
  CHECK(contains(refusal([](Parts& p) { p.metadata["length"] = "10x"; }), "'length' = '10x' is not a number"));
  CHECK(contains(refusal([](Parts& p) { p.metadata["length"] = "99"; }), "(N, 1, 3, 99) is needed"));
  CHECK(contains(refusal([](Parts& p) { p.metadata["synthetic"] = "yes"; }), "not true or false"));
  CHECK(contains(refusal([](Parts& p) { p.metadata["subjects"] = "[1]"; }), "not the JSON it should be"));
  CHECK(contains(refusal([](Parts& p) { p.metadata["sources"] = "[{}]"; }), "'sources' needs name"));
  CHECK(contains(refusal([](Parts& p) { p.task1[1] = 2; }), "task1[1] is 2, it should be from 0 to 1"));
  CHECK(contains(refusal([](Parts& p) { p.task2[0] = -1; }), "task2[0] is -1"));
  CHECK(contains(refusal([](Parts& p) { p.subject[0] = 3; }), "subject[0] is 3"));
  CHECK(contains(refusal([](Parts& p) { p.task1[1] = 0; }), "do not add up to its 'task1_counts'"));
  CHECK(contains(refusal([](Parts& p) { p.task1.pop_back(); }), "task1 has shape (1,), (2,) is needed"));
  CHECK(contains(refusal([](Parts& p) { p.shape = {2, 3, 100}; }), "windows have shape (2, 3, 100)"));
  CHECK(contains(refusal([](Parts& p) { p.windows[301] = std::numeric_limits<float>::quiet_NaN(); }, ValueCheck::all),
                 "window 1 holds a value that is not finite"));
  dir.write("bad.safetensors", "garbage");
  CHECK(contains(message_of<InputError>([&] { load_prepared(path); }), "bad.safetensors: "));
}

TEST_CASE("a failed save leaves the earlier file") {
  const TempDirectory dir;
  const WindowSet set = make_windows(small_dataset(), {});
  std::filesystem::create_directories(dir / "d.safetensors");
  CHECK(contains(message_of<InputError>([&] { save_prepared(dir / "d.safetensors", set); }), "a directory is in the way"));
}
