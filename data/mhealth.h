// MHEALTH (UCI 319): mHealth_subject<N>.log, 24 columns separated by blanks, 50 Hz.
#pragma once

#include "retort/data/recording.h"

namespace retort {

/// Of the 24 columns the three accelerometers are used: 0-2 chest, 5-7 left ankle, 14-16 right lower arm, and 23, the label
/// (0 = Null). Each gives a recording of its own; all chest recordings come first, then all ankle, then all arm, each in the
/// order of the subjects' numbers: that order makes the 60,786 windows of the paper. A stream that is zero throughout (a file
/// made from a single sensor) is left out and noted in the report.
RawDataset read_mhealth(const std::filesystem::path& path, const ReadOptions& options = {});

}  // namespace retort
