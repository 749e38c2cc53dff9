#include "retort/data/windowing.h"

#include "catch.h"
#include "retort/core/error.h"
#include "temp_directory.h"

#include <fmt/format.h>

#include <cmath>

using namespace retort;
using namespace retort_test;

namespace {

/// A recording whose values tell where they come from: 1000 * recording + sample + axis / 10.
Recording numbered(std::size_t samples, int recording, std::int32_t task2) {
  Recording r;
  for (std::size_t i = 0; i < samples; ++i)
    for (int axis = 0; axis < 3; ++axis)
      r.xyz.push_back(static_cast<float>(1000 * recording + static_cast<int>(i)) + 0.1f * static_cast<float>(axis));
  r.task1.assign(samples, recording % 2);
  r.task2 = task2;
  r.subject = fmt::format("s{}", recording / 2);
  r.source = recording;
  r.repeat_begin = samples;
  return r;
}

RawDataset dataset(std::vector<Recording> recordings) {
  RawDataset data;
  data.id = "sleep";
  data.task1_names = {"zero", "one", "two"};
  data.task2_names = {"left", "right"};
  data.nominal_hz = 50;
  for (std::size_t i = 0; i < recordings.size(); ++i) data.sources.push_back({fmt::format("f{}", i), 1, "00"});
  data.recordings = std::move(recordings);
  return data;
}

}  // namespace

TEST_CASE("windows lie where they should, in both layouts") {
  const RawDataset data = dataset({numbered(25, 0, 0), numbered(9, 1, 1), numbered(10, 2, 1)});
  WindowOptions options;
  options.length = 10;
  options.step = 6;
  const WindowSet set = make_windows(data, options);
  // 25 samples: starts 0, 6, 12 (18 would pass the end); 9 samples: none; 10: one.
  REQUIRE(set.count() == 4);
  CHECK(set.window(1)[0] == 6.0f);
  CHECK(set.window(1)[9] == 15.0f);
  CHECK(set.window(1)[10] == Approx(6.1f));
  CHECK(set.window(1)[29] == Approx(15.2f));
  CHECK(set.window(3)[0] == 2000.0f);
  CHECK(std::vector<std::int32_t>(set.recording.begin(), set.recording.end()) == std::vector<std::int32_t>{0, 0, 0, 2});
  CHECK(std::vector<std::int32_t>(set.subject.begin(), set.subject.end()) == std::vector<std::int32_t>{0, 0, 0, 1});
  CHECK(std::vector<std::int32_t>(set.task2.begin(), set.task2.end()) == std::vector<std::int32_t>{0, 0, 0, 1});
  CHECK(set.info.subjects == std::vector<std::string>{"s0", "s1"});
  CHECK(set.info.recordings[2] == "f2:right");

  options.axis_layout = AxisLayout::interleaved;
  const WindowSet interleaved = make_windows(data, options);
  // Row 0 of the window is x y z x y z ...: the released code's reshape of (length, 3).
  for (std::size_t i = 0; i < 30; ++i) CHECK(interleaved.window(1)[i] == data.recordings[0].xyz[18 + i]);

  // One can be made of the other, without a copy when there is nothing to do.
  const WindowSet there = with_axis_layout(set, AxisLayout::interleaved), back = with_axis_layout(there, AxisLayout::transposed);
  CHECK(std::ranges::equal(there.windows, interleaved.windows));
  CHECK(std::ranges::equal(back.windows, set.windows));
  CHECK(std::ranges::equal(there.task1, set.task1));
  CHECK(there.info.options.axis_layout == AxisLayout::interleaved);
  CHECK(with_axis_layout(set, AxisLayout::transposed).windows.data() == set.windows.data());
}

TEST_CASE("across recordings everything is one stream") {
  const RawDataset data = dataset({numbered(25, 0, 0), numbered(9, 1, 1), numbered(10, 2, 1)});
  WindowOptions options;
  options.length = 10;
  options.step = 6;
  options.across_recordings = true;
  WindowSet set = make_windows(data, options);
  REQUIRE(set.count() == (44 - 10) / 6 + 1);
  // The window from 18 to 27 holds 7 samples of recording 0 and 3 of recording 1.
  CHECK(set.window(3)[6] == 24.0f);
  CHECK(set.window(3)[7] == 1000.0f);
  CHECK(set.task1[3] == 0);
  CHECK(set.task2[3] == 0);
  CHECK(set.recording[3] == 0);
  options.label = LabelRule::last;
  set = make_windows(data, options);
  CHECK(set.task1[3] == 1);
  CHECK(set.task2[3] == 1);
  CHECK(set.recording[3] == 1);
}

TEST_CASE("majority takes the smallest of equally frequent labels, last the last") {
  Recording r = numbered(10, 0, 0);
  const auto label_with = [&](std::vector<std::int32_t> labels, LabelRule rule) {
    r.task1 = std::move(labels);
    WindowOptions options;
    options.length = 10;
    options.label = rule;
    return make_windows(dataset({r}), options).task1[0];
  };
  CHECK(label_with({2, 2, 2, 2, 2, 1, 1, 1, 1, 1}, LabelRule::majority) == 1);
  CHECK(label_with({2, 2, 2, 2, 2, 2, 1, 1, 1, 1}, LabelRule::majority) == 2);
  CHECK(label_with({0, 0, 0, 0, 2, 2, 2, 2, 1, 1}, LabelRule::majority) == 0);
  CHECK(label_with({0, 0, 0, 0, 0, 0, 0, 0, 0, 2}, LabelRule::last) == 2);
}

TEST_CASE("resampling by timestamp interpolates lines exactly and keeps clear of breaks") {
  // 100 Hz, then a gap of 5 s, then 50 Hz, with the label changing in the middle of the second piece. The value is linear in
  // time.
  Recording r;
  double t = 0;
  const auto add = [&](int n, double step, std::int32_t label) {
    for (int i = 0; i < n; ++i, t += step) {
      r.time.push_back(t);
      r.task1.push_back(label);
      for (const double slope : {1.0, -2.0, 0.5}) r.xyz.push_back(static_cast<float>(slope * t));
    }
  };
  add(301, 0.01, 0);
  t += 5;
  add(76, 0.02, 0);
  add(76, 0.02, 1);
  r.subject = std::string("a");
  r.repeat_begin = r.samples();
  RawDataset data = dataset({r});
  data.nominal_hz = 20;
  WindowOptions options;
  options.length = 10;
  options.step = 10;
  options.max_gap = 1;
  options.resample_hz = 20;
  const WindowSet set = make_windows(data, options);
  // 3 s at 20 Hz are 61 samples, 1.5 s are 31: 6 + 3 + 3 windows.
  REQUIRE(set.count() == 12);
  CHECK(count_labels(set.task1, 3) == std::vector<std::int64_t>{9, 3, 0});
  for (std::int64_t w = 0; w < set.count(); ++w)
    for (std::size_t i = 0; i < 10; ++i) {
      const float x = set.window(w)[i];
      CHECK(set.window(w)[10 + i] == Approx(-2 * x).margin(1e-4));
      if (i > 0) CHECK(x - set.window(w)[i - 1] == Approx(0.05).margin(1e-4));
    }
  // Up-sampling works as well: nine tenths of the values are new.
  options.resample_hz = 1000;
  CHECK(make_windows(data, options).count() == 300 + 150 + 150);
}

TEST_CASE("a rate without timestamps is the nominal one; the same rate changes nothing") {
  const RawDataset data = dataset({numbered(101, 0, 0)});
  WindowOptions options;
  options.length = 10;
  options.step = 10;
  const WindowSet plain = make_windows(data, options);
  options.resample_hz = 50;
  const WindowSet same = make_windows(data, options);
  REQUIRE(same.count() == plain.count());
  for (std::size_t i = 0; i < plain.windows.size(); ++i) REQUIRE(same.windows[i] == Approx(plain.windows[i]).epsilon(1e-5));
  options.resample_hz = 25;
  CHECK(make_windows(data, options).count() == 5);
  CHECK(make_windows(data, options).window(0)[1] == Approx(2.0f));
}

TEST_CASE("a jump in time breaks only when asked; repeats are dropped only when asked") {
  Recording r = numbered(40, 0, 0);
  for (int i = 0; i < 40; ++i) r.time.push_back(i < 20 ? i * 0.05 : -100 + i * 0.05);
  r.repeat_begin = 30;
  const RawDataset data = dataset({r});
  WindowOptions options;
  options.length = 10;
  options.step = 5;
  CHECK(make_windows(data, options).count() == 7);
  options.max_gap = 1;
  CHECK(make_windows(data, options).count() == 6);
  options.drop_repeats = true;
  CHECK(make_windows(data, options).count() == 4);
}

TEST_CASE("the presets are those of the table") {
  const WindowOptions released = window_preset("released", "wisdm"), paper = window_preset("paper", "wisdm"),
                      strict = window_preset("strict", "wisdm");
  CHECK(released.label == LabelRule::last);
  CHECK(released.axis_layout == AxisLayout::interleaved);
  CHECK(released.across_recordings);
  CHECK(released.resample_hz == 0);
  CHECK(paper.label == LabelRule::majority);
  CHECK(paper.axis_layout == AxisLayout::transposed);
  CHECK(paper.across_recordings);
  CHECK_FALSE(strict.across_recordings);
  CHECK(strict.resample_hz == 20);
  CHECK(strict.axis_layout == AxisLayout::transposed);
  CHECK(window_preset("strict", "sleep").resample_hz == 0);
  CHECK_THROWS_AS(window_preset("loose", "sleep"), InputError);
  CHECK(parse_label_rule("last") == LabelRule::last);
  CHECK_THROWS_AS(parse_label_rule("first"), InputError);
  CHECK_THROWS_AS(parse_axis_layout("x"), InputError);
}

TEST_CASE("the published window counts follow from the published row counts") {
  // MHEALTH has 1,215,745 rows in each of three streams; 60,786 windows are only possible across recordings.
  std::vector<Recording> recordings;
  for (int s = 0; s < 3; ++s) {
    Recording r;
    r.xyz.assign(3 * 1215745, 1.0f);
    r.task1.assign(1215745, 0);
    r.task2 = s % 2;
    r.source = s;
    r.repeat_begin = r.samples();
    recordings.push_back(std::move(r));
  }
  CHECK(make_windows(dataset(std::move(recordings)), window_preset("paper", "mhealth")).count() == 60786);
}

TEST_CASE("impossible options are refused") {
  const RawDataset data = dataset({numbered(25, 0, 0)});
  const auto refusal = [&](auto change) {
    WindowOptions options;
    change(options);
    return message_of<InputError>([&] { make_windows(data, options); });
  };
  CHECK(contains(refusal([](WindowOptions& o) { o.length = 0; }), "window length 0"));
  CHECK(contains(refusal([](WindowOptions& o) { o.step = -1; }), "window step -1"));
  CHECK(contains(refusal([](WindowOptions& o) { o.resample_hz = std::nan(""); }), "resampling rate"));
  CHECK(contains(refusal([](WindowOptions&) {}), "not one window of 100 samples fits"));
}
