#include "retort/data/windowing.h"

#include "retort/core/error.h"
#include "retort/core/version.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

namespace retort {

std::string_view name(LabelRule rule) { return rule == LabelRule::majority ? "majority" : "last"; }
std::string_view name(AxisLayout layout) { return layout == AxisLayout::transposed ? "transposed" : "interleaved"; }
LabelRule parse_label_rule(std::string_view text) {
  if (text == "majority") return LabelRule::majority;
  if (text == "last") return LabelRule::last;
  fail<InputError>("unknown label rule '{}'; known are majority and last", text);
}

AxisLayout parse_axis_layout(std::string_view text) {
  if (text == "transposed") return AxisLayout::transposed;
  if (text == "interleaved") return AxisLayout::interleaved;
  fail<InputError>("unknown axis layout '{}'; known are transposed and interleaved", text);
}

WindowOptions window_preset(std::string_view preset, std::string_view dataset_id) {
  WindowOptions options;
  options.preset = preset;
  if (preset == "released") {
    options.label = LabelRule::last;
    options.axis_layout = AxisLayout::interleaved;
    options.across_recordings = true;
  } else if (preset == "paper") {
    options.across_recordings = true;
  } else if (preset == "strict") {
    options.max_gap = 1.0;
    options.drop_repeats = true;
    if (dataset_id == "wisdm") options.resample_hz = 20;
  } else {
    fail<InputError>("unknown preset '{}'; known are released, paper and strict", preset);
  }
  return options;
}

std::vector<std::int64_t> count_labels(std::span<const std::int32_t> labels, std::size_t classes) {
  std::vector<std::int64_t> counts(classes);
  for (const std::int32_t label : labels) ++counts.at(static_cast<std::size_t>(label));
  return counts;
}

WindowSet with_axis_layout(const WindowSet& set, AxisLayout layout) {
  if (set.info.options.axis_layout == layout) return set;
  struct Values {
    std::vector<float> windows;
    std::shared_ptr<const void> labels;  // lie where they lay
  };
  auto values = std::make_shared<Values>(Values{std::vector<float>(set.windows.size()), set.owner});
  const auto length = static_cast<std::size_t>(set.info.options.length);
  for (std::int64_t w = 0; w < set.count(); ++w) {
    const std::span<const float> from = set.window(w);
    float* to = values->windows.data() + w * set.window_size();
    for (std::size_t i = 0; i < length; ++i)
      for (std::size_t axis = 0; axis < 3; ++axis)
        if (layout == AxisLayout::interleaved)
          to[3 * i + axis] = from[axis * length + i];
        else
          to[axis * length + i] = from[3 * i + axis];
  }
  WindowSet out = set;
  out.info.options.axis_layout = layout;
  out.windows = values->windows;
  out.owner = std::move(values);
  return out;
}

namespace {

/// Samples without a break between them, still in their recording.
struct Segment {
  std::int32_t recording;
  std::size_t begin, end;
};

/// Samples that windows are cut from: one segment, or everything end to end.
struct Stream {
  std::vector<float> xyz;
  std::vector<std::int32_t> task1, recording;
};

struct Arrays {
  std::vector<float> windows;
  std::vector<std::int32_t> task1, task2, subject, recording;
};

void check_options(const WindowOptions& o) {
  check<InputError>(o.length >= 1 && o.length <= 1'000'000, "window length {} is not between 1 and 1000000 samples", o.length);
  check<InputError>(o.step >= 1 && o.step <= 1'000'000, "window step {} is not between 1 and 1000000 samples", o.step);
  check<InputError>(o.resample_hz == 0 || (o.resample_hz >= 0.1 && o.resample_hz <= 10000),
                    "resampling rate {} Hz is not between 0.1 and 10000", o.resample_hz);
  check<InputError>(o.max_gap >= 0, "gap of {} s is negative", o.max_gap);
}

/// The unbroken pieces of a recording. Resampling adds a break at each change of activity, so that no value is a mixture of two.
std::vector<Segment> segments_of(const Recording& r, std::int32_t index, const WindowOptions& options) {
  const std::size_t end = options.drop_repeats ? std::min(r.repeat_begin, r.samples()) : r.samples();
  std::vector<Segment> out;
  std::size_t begin = 0;
  for (std::size_t i = 1; i <= end; ++i) {
    bool broken = i == end;
    if (!broken && !r.time.empty()) {
      const double step = r.time[i] - r.time[i - 1];
      broken = (options.max_gap > 0 && (step < 0 || step > options.max_gap)) ||
               (options.resample_hz > 0 && (step < 0 || r.task1[i] != r.task1[i - 1]));
    }
    if (broken) out.push_back({index, std::exchange(begin, i), i});
  }
  return out;
}

void append_rows(const Recording& r, const Segment& segment, Stream& out) {
  out.xyz.insert(out.xyz.end(), r.xyz.begin() + static_cast<std::ptrdiff_t>(3 * segment.begin),
                 r.xyz.begin() + static_cast<std::ptrdiff_t>(3 * segment.end));
  out.task1.insert(out.task1.end(), r.task1.begin() + static_cast<std::ptrdiff_t>(segment.begin),
                   r.task1.begin() + static_cast<std::ptrdiff_t>(segment.end));
  out.recording.resize(out.task1.size(), segment.recording);
}

/// Linear interpolation at t0, t0 + 1/hz, ... up to the segment's last sample; the label is that of the sample at or before.
void append_resampled(const Recording& r, const Segment& segment, double nominal_hz, double hz, Stream& out) {
  const auto time = [&](std::size_t i) { return r.time.empty() ? static_cast<double>(i) / nominal_hz : r.time[i]; };
  const double start = time(segment.begin), last = time(segment.end - 1);
  // A hundredth of a step of slack: a last sample that rounding puts a hair early still counts.
  const auto count = static_cast<std::size_t>((last - start) * hz + 0.01) + 1;
  // One broken timestamp must not become a million invented samples.
  check<InputError>(count <= 1000 * (segment.end - segment.begin) + 1,
                    "subject {}: {} samples span {:.0f} s; the timestamps are broken, prepare without resampling", r.subject,
                    segment.end - segment.begin, last - start);
  std::size_t i = segment.begin;
  for (std::size_t k = 0; k < count; ++k) {
    const double t = std::min(start + static_cast<double>(k) / hz, last);
    while (i + 1 < segment.end && time(i + 1) <= t) ++i;
    const std::size_t next = std::min(i + 1, segment.end - 1);
    const double span = time(next) - time(i);
    const auto weight = static_cast<float>(span > 0 ? (t - time(i)) / span : 0.0);
    for (std::size_t axis = 0; axis < 3; ++axis) {
      const float a = r.xyz[3 * i + axis], b = r.xyz[3 * next + axis];
      out.xyz.push_back(a + weight * (b - a));
    }
    out.task1.push_back(r.task1[i]);
    out.recording.push_back(segment.recording);
  }
}

/// The most frequent value of a window; the smallest of equally frequent ones.
class Majority {
 public:
  explicit Majority(std::size_t values) : counts_(values) {}
  std::int32_t operator()(std::span<const std::int32_t> labels) {
    if (std::ranges::all_of(labels, [&](std::int32_t label) { return label == labels[0]; })) return labels[0];
    for (const std::int32_t label : labels) ++counts_[static_cast<std::size_t>(label)];
    std::int32_t best = labels[0];
    for (const std::int32_t label : labels) {
      const std::int32_t here = counts_[static_cast<std::size_t>(label)], there = counts_[static_cast<std::size_t>(best)];
      if (here > there || (here == there && label < best)) best = label;
    }
    for (const std::int32_t label : labels) counts_[static_cast<std::size_t>(label)] = 0;
    return best;
  }

 private:
  std::vector<std::int32_t> counts_;
};

void copy_window(std::span<const float> xyz, AxisLayout layout, float* out) {
  if (layout == AxisLayout::interleaved) {
    std::ranges::copy(xyz, out);
    return;
  }
  const std::size_t length = xyz.size() / 3;
  for (std::size_t i = 0; i < length; ++i)
    for (std::size_t axis = 0; axis < 3; ++axis) out[axis * length + i] = xyz[3 * i + axis];
}

class Cutter {
 public:
  Cutter(const RawDataset& data, const WindowOptions& options, const std::vector<std::int32_t>& subject_of, Arrays& out)
      : data_(data),
        options_(options),
        subject_of_(subject_of),
        out_(out),
        majority_task1_(data.task1_names.size()),
        majority_task2_(data.task2_names.size()),
        majority_recording_(data.recordings.size()),
        task2_(static_cast<std::size_t>(options.length)) {}

  void cut(const Stream& stream) {
    const auto length = static_cast<std::size_t>(options_.length), step = static_cast<std::size_t>(options_.step);
    const std::size_t n = stream.task1.size();
    if (n < length) return;
    const std::size_t windows = (n - length) / step + 1, first = out_.task1.size();
    out_.windows.resize((first + windows) * 3 * length);
    for (std::size_t w = 0; w < windows; ++w) {
      const std::size_t begin = w * step;
      copy_window(std::span(stream.xyz).subspan(3 * begin, 3 * length), options_.axis_layout,
                  out_.windows.data() + (first + w) * 3 * length);
      label(std::span(stream.task1).subspan(begin, length), std::span(stream.recording).subspan(begin, length));
    }
  }

 private:
  std::int32_t task2_of(std::int32_t recording) const { return data_.recordings[static_cast<std::size_t>(recording)].task2; }

  void label(std::span<const std::int32_t> task1, std::span<const std::int32_t> recording) {
    std::int32_t r = recording.back(), t1 = task1.back(), t2 = task2_of(r);
    if (options_.label == LabelRule::majority) {
      t1 = majority_task1_(task1);
      r = majority_recording_(recording);
      std::ranges::transform(recording, task2_.begin(), [&](std::int32_t i) { return task2_of(i); });
      t2 = majority_task2_(task2_);
    }
    out_.task1.push_back(t1);
    out_.task2.push_back(t2);
    out_.recording.push_back(r);
    out_.subject.push_back(subject_of_[static_cast<std::size_t>(r)]);
  }

  const RawDataset& data_;
  const WindowOptions& options_;
  const std::vector<std::int32_t>& subject_of_;
  Arrays& out_;
  Majority majority_task1_, majority_task2_, majority_recording_;
  std::vector<std::int32_t> task2_;
};

WindowInfo make_info(const RawDataset& data, const WindowOptions& options, std::vector<std::int32_t>& subject_of) {
  WindowInfo info{data.id, data.synthetic, data.nominal_hz, data.task1_names,       data.task2_names, {},
                  {},      data.sources,   options,         std::string(version()), data.report.notes};
  std::map<std::string, std::int32_t> known;
  for (const Recording& recording : data.recordings) {
    const auto [at, added] = known.emplace(recording.subject, static_cast<std::int32_t>(info.subjects.size()));
    if (added) info.subjects.push_back(recording.subject);
    subject_of.push_back(at->second);
    info.recordings.push_back(data.sources.at(static_cast<std::size_t>(recording.source)).name);
    if (data.task2_names.size() > 1)
      info.recordings.back() += ":" + data.task2_names.at(static_cast<std::size_t>(recording.task2));
  }
  const ParseReport& report = data.report;
  if (report.skipped_lines > 0)
    info.notes.push_back(fmt::format("{} lines skipped, the first at {}", report.skipped_lines, report.first_skipped));
  if (report.runs_by_rate.size() > 1) {
    std::string rates;
    for (const auto& [rate, runs] : report.runs_by_rate)
      rates += fmt::format("{}{} Hz: {}", rates.empty() ? "" : ", ", rate, runs);
    info.notes.push_back("mixed sampling rates, runs of one activity at each: " + rates);
  }
  if (!report.missing.empty()) {
    std::string files;
    for (const auto& [source, label] : report.missing)
      files +=
          fmt::format("{}{} has no {}", files.empty() ? "" : "; ", source, data.task1_names[static_cast<std::size_t>(label)]);
    info.notes.push_back("missing classes: " + files);
  }
  return info;
}

}  // namespace

WindowSet make_windows(const RawDataset& data, const WindowOptions& options) {
  check_options(options);
  auto arrays = std::make_shared<Arrays>();
  std::vector<std::int32_t> subject_of;
  WindowSet set;
  set.info = make_info(data, options, subject_of);
  Cutter cutter(data, options, subject_of, *arrays);
  // Room for all windows at once: growing a gigabyte piece by piece copies it several times.
  if (options.resample_hz == 0) {
    const auto most = static_cast<std::size_t>(data.samples() / options.step + 1);
    arrays->windows.reserve(most * 3 * static_cast<std::size_t>(options.length));
  }

  Stream stream;
  for (std::size_t i = 0; i < data.recordings.size(); ++i) {
    const Recording& recording = data.recordings[i];
    check<InputError>(options.resample_hz == 0 || data.nominal_hz > 0 || !recording.time.empty(),
                      "{}: rows without times, at an unknown rate, cannot be resampled to {} Hz",
                      data.sources.at(static_cast<std::size_t>(recording.source)).name, options.resample_hz);
    for (const Segment& segment : segments_of(recording, static_cast<std::int32_t>(i), options)) {
      if (options.resample_hz > 0)
        append_resampled(recording, segment, data.nominal_hz, options.resample_hz, stream);
      else
        append_rows(recording, segment, stream);
      if (options.across_recordings) continue;
      cutter.cut(stream);
      stream.xyz.clear(), stream.task1.clear(), stream.recording.clear();
    }
  }
  if (options.across_recordings) cutter.cut(stream);
  check<InputError>(!arrays->task1.empty(),
                    "not one window of {} samples fits: the longest unbroken piece of {} recordings is shorter", options.length,
                    data.recordings.size());

  set.windows = arrays->windows;
  set.task1 = arrays->task1, set.task2 = arrays->task2, set.subject = arrays->subject, set.recording = arrays->recording;
  set.owner = arrays;
  return set;
}

}  // namespace retort
