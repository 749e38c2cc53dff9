// What a training run shows on stderr: on a terminal a bar that redraws itself, elsewhere (a file, a CI log) a line an epoch.
#pragma once

#include "retort/distill/run_record.h"

#include <chrono>
#include <optional>
#include <ostream>
#include <string>

namespace retort {

struct ProgressStyle {
  bool bar = false;     ///< redraw one line; else a line per epoch and nothing between
  int fixed_width = 0;  ///< columns; 0: ask the terminal
};

/// For stderr as it is: a bar on a terminal.
ProgressStyle progress_style();

/// Where the run stands now.
struct ProgressPosition {
  std::int64_t epoch = 0, epochs = 0;  ///< epoch counted from 1
  std::int64_t step = 0, steps = 0;    ///< within the epoch, counted from 1
  double loss = 0;                     ///< of the latest step whose loss was read; 0: none yet
};

/// One line without colour or line end, at most `width` columns: what does not fit is left out from the right.
std::string progress_line(const ProgressPosition& position, const EpochRecord* last_epoch, double seconds_left,
                          std::size_t width);

class Progress {
 public:
  /// `first_step` of `total_steps` over the whole run is where a resumed run starts: the time left is judged by what this process
  /// did.
  Progress(std::ostream& out, const ProgressStyle& style, std::string title, std::int64_t first_step, std::int64_t total_steps);
  ~Progress();  ///< leaves the cursor at the start of a fresh line
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// Call it after every step; it draws at most ten times a second. `done_steps`: of the whole run.
  void step(const ProgressPosition& position, std::int64_t done_steps);
  /// Call it after validation; without a bar this prints the epoch's line.
  void epoch(const EpochRecord& record, std::int64_t epochs);

 private:
  void clear();
  std::ostream& out_;
  ProgressStyle style_;
  std::string title_;
  std::int64_t first_step_, total_steps_;
  std::chrono::steady_clock::time_point started_, drawn_;
  std::optional<EpochRecord> last_epoch_;
  bool line_open_ = false;
};

}  // namespace retort
