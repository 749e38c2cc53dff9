// Recordings cut into windows of fixed length with one label of each task.
#pragma once

#include "retort/data/recording.h"

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace retort {

/// Which label a window gets: the most frequent one (the smallest of equally frequent ones), or that of its last sample.
enum class LabelRule { majority, last };

/// How a window's 3 x length values are laid out. transposed: row 0 is the x axis, row 1 y, row 2 z. interleaved: the samples
/// x,y,z,x,y,z,... run through the three rows, which is what the authors' released code feeds its net (a reshape for a
/// transpose).
enum class AxisLayout { transposed, interleaved };

std::string_view name(LabelRule rule);
std::string_view name(AxisLayout layout);
LabelRule parse_label_rule(std::string_view text);    ///< throws InputError naming the choices
AxisLayout parse_axis_layout(std::string_view text);  ///< throws InputError naming the choices

struct WindowOptions {
  std::string preset = "strict";  ///< for the record only
  std::int32_t length = 100;      ///< samples
  std::int32_t step = 60;         ///< samples between the starts of two windows
  LabelRule label = LabelRule::majority;
  AxisLayout axis_layout = AxisLayout::transposed;
  /// Lay all recordings end to end and cut across their borders (as the paper's counts demand); a window's subject, recording and
  /// position are then chosen by the label rule too. Off: a window lies within one recording.
  bool across_recordings = false;
  /// 0 leaves the rows as they are. Otherwise values are interpolated linearly at this rate (Hz), by timestamp where the format
  /// has one and by the nominal rate where not. Nothing is interpolated across a break (see max_gap) or a change of activity.
  double resample_hz = 0;
  /// Seconds. A step in the timestamps that is longer than this, or backwards, breaks the recording: no window straddles it.
  /// 0: no breaks. Formats without timestamps have none. Without effect when across_recordings is on.
  double max_gap = 0;
  /// Leave out rows that repeat their own file's beginning.
  bool drop_repeats = false;
};

/// "released", "paper" or "strict" for a data set; throws InputError for another name. strict resamples to the nominal rate the
/// data sets that have timestamps (WISDM), breaks at gaps of 1 s and drops repeats; the others leave rows as they are.
WindowOptions window_preset(std::string_view preset, std::string_view dataset_id);

/// What is known about a set of windows beside the arrays.
struct WindowInfo {
  std::string dataset;  ///< "sleep", "mhealth", "wisdm", "csv"
  bool synthetic = false;
  double nominal_hz = 0;
  std::vector<std::string> task1_names, task2_names;
  std::vector<std::string> subjects;    ///< `subject` of a window is an index here
  std::vector<std::string> recordings;  ///< `recording` of a window is an index here: file name and position
  std::vector<SourceFile> sources;
  WindowOptions options;
  std::string version;             ///< of the program that made it
  std::vector<std::string> notes;  ///< from the parsers: skipped lines, missing sensors, mixed rates
};

/// Windows and labels, in memory or mapped from a prepared file; copies share them.
struct WindowSet {
  WindowInfo info;
  std::span<const float> windows;                                  ///< (N, 1, 3, length)
  std::span<const std::int32_t> task1, task2, subject, recording;  ///< (N)
  std::shared_ptr<const void> owner;                               ///< keeps the spans alive

  std::int64_t count() const { return static_cast<std::int64_t>(task1.size()); }
  std::int64_t window_size() const { return 3 * static_cast<std::int64_t>(info.options.length); }
  /// The (1, 3, length) values of window i.
  std::span<const float> window(std::int64_t i) const {
    return windows.subspan(static_cast<std::size_t>(i * window_size()), static_cast<std::size_t>(window_size()));
  }
};

/// Windows per class of a label array; labels must lie in [0, classes).
std::vector<std::int64_t> count_labels(std::span<const std::int32_t> labels, std::size_t classes);

/// The same windows in another layout: `set` itself when it has that already, else with values of its own.
WindowSet with_axis_layout(const WindowSet& set, AxisLayout layout);

/// Cuts `data` into windows. Throws InputError for impossible options, for resampling rows of unknown rate, and when not one
/// window results.
WindowSet make_windows(const RawDataset& data, const WindowOptions& options);

}  // namespace retort
