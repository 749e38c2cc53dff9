// A prepared data set: windows and labels in one safetensors file that trains, evaluates and can be opened in Python.
//
// Arrays: windows (N,1,3,length) F32; task1, task2, subject, recording (N) I32. Metadata (all strings): format =
// "retort-windows-1", dataset, synthetic ("true"/"false"), nominal_hz, version, preset, length, step, label, axis_layout,
// across_recordings, resample_hz, max_gap, drop_repeats, count; and as JSON text: task1_names, task2_names, task1_counts,
// task2_counts, subjects, recordings, sources [{name, bytes, sha256}], notes.
#pragma once

#include "retort/data/windowing.h"

#include <filesystem>

namespace retort {

/// Writes atomically; throws InputError naming the path when that fails, and leaves an earlier file as it was.
void save_prepared(const std::filesystem::path& path, const WindowSet& set);

enum class ValueCheck {
  labels,  ///< shapes, names, counts and every label; windows stay unread until they are used (a 12 GB file opens at once)
  all,     ///< and that every value of every window is finite
};

/// Maps a prepared file. Throws InputError naming the file (and the window) for a damaged or foreign one.
WindowSet load_prepared(const std::filesystem::path& path, ValueCheck values = ValueCheck::labels);

}  // namespace retort
