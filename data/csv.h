// One's own recordings: CSV files with a header line.
#pragma once

#include "retort/data/recording.h"

namespace retort {

/// Reads `*.csv`. The header names the columns, in any order and case, between commas, semicolons or tabs:
///   x, y, z   acceleration in any unit (required)
///   time      seconds, from any origin; without it rows are taken to follow each other evenly, at an unknown rate
///   activity  name of the class of task 1
///   position  name of the class of task 2: where the sensor sits
///   subject   who wears it; without it a file is one person, named like the file
/// Other columns are passed over. A name may stand between double quotes. Rows of one subject and position in one file are one
/// recording, in the order of the file. The classes are the names that occur, sorted; a task without a column has the one class
/// "unlabelled".
///
/// Beside what read_raw() refuses, these are errors: a header without x, y or z or with one name twice; files of which some have
/// activity or position and others not; times that are more than a second apart as a rule (milliseconds?).
RawDataset read_csv(const std::filesystem::path& path, const ReadOptions& options = {});

}  // namespace retort
