// The Sleep data set: one text file a recording, 50 Hz, posture and sensor position in the file's name.
#pragma once

#include "retort/data/recording.h"

namespace retort {

/// Reads `*_<posture>_<position>.txt` (case-insensitive), e.g. 07_UpRight_nguc.txt; what stands before is the subject. Two line
/// formats, told apart by the first line:
///   <t>,<ax>,<ay>,<az>;          no header; t is not used, its unit is not known
///   <ax>,<ay>,<az>               after a header line with three names
/// Task 1: 12 postures in the order of the paper's table 2. Task 2: neck (co), chest (nguc), abdomen (bung).
/// A name with a known posture and an unknown position, or the other way round, is an error; with neither the file is ignored.
RawDataset read_sleep(const std::filesystem::path& path, const ReadOptions& options = {});

}  // namespace retort
