// A small labelled set of windows in memory, learnable but not trivially, for tests of training.
#pragma once

#include "retort/core/random.h"
#include "retort/data/windowing.h"

#include <cmath>
#include <memory>

namespace retort {

/// `count` windows of 6 subjects, 4 classes of task 1 (a frequency) and 2 of task 2 (a direction), with noise.
inline WindowSet toy_windows(std::int64_t count, std::uint64_t seed, std::int32_t length = 40) {
  struct Values {
    std::vector<float> windows;
    std::vector<std::int32_t> task1, task2, subject, recording;
  };
  auto values = std::make_shared<Values>();
  Random random(seed);
  for (std::int64_t i = 0; i < count; ++i) {
    const auto a = static_cast<std::int32_t>(random.below(4)), b = static_cast<std::int32_t>(random.below(2));
    for (int axis = 0; axis < 3; ++axis)
      for (int t = 0; t < length; ++t) {
        const double wave = std::sin(0.15 * (a + 1) * t + axis) + (b == 0 ? 0.4 : -0.4) * (axis - 1);
        values->windows.push_back(static_cast<float>(wave + 0.7 * random.normal()));
      }
    values->task1.push_back(a);
    values->task2.push_back(b);
    values->subject.push_back(static_cast<std::int32_t>(i % 6));
    values->recording.push_back(static_cast<std::int32_t>(i % 6));
  }
  WindowSet set;
  set.info.dataset = "toy";
  set.info.synthetic = true;
  set.info.nominal_hz = 50;
  set.info.task1_names = {"a", "b", "c", "d"};
  set.info.task2_names = {"left", "right"};
  set.info.subjects = set.info.recordings = {"1", "2", "3", "4", "5", "6"};
  set.info.options.length = length;
  set.info.options.step = length;
  set.windows = values->windows;
  set.task1 = values->task1, set.task2 = values->task2, set.subject = values->subject, set.recording = values->recording;
  set.owner = values;
  return set;
}

}  // namespace retort
