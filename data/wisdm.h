// WISDM 2019 (UCI 507): data_<subject>_accel_{phone,watch}.txt, `subject,activity,timestamp,x,y,z;` a line.
#pragma once

#include "retort/data/recording.h"

namespace retort {

/// Reads phone and watch files: task 1 is the activity (18 classes, codes A to S without N), task 2 the device. All phone
/// recordings come first, then all watch recordings, each by subject. Timestamps (nanoseconds) become seconds since the file's
/// first line; they rise within an activity and jump between activities. The rate is not always the nominal 20 Hz: the report
/// counts the runs of each. Activities that a file lacks and a file that repeats itself are in the report too.
RawDataset read_wisdm(const std::filesystem::path& path, const ReadOptions& options = {});

}  // namespace retort
