// Synthetic recordings in the raw formats of the three data sets, for tests, demos and benchmarks without the real ones.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace retort {

struct SyntheticOptions {
  std::string dataset = "sleep";  ///< "sleep", "mhealth" or "wisdm"
  std::int32_t subjects = 0;      ///< 0: as many as the real data set has (24, 10, 51)
  double seconds = 0;             ///< of each posture or activity; 0: as the real one (60, 60, 180)
  std::uint64_t seed = 0;
};

struct SyntheticSummary {
  std::int64_t files = 0, bytes = 0, rows = 0;
};

/// Writes raw files below `directory` (made when it is not there) from a physical model: the direction of gravity for each
/// posture and sensor position, each person's mounting error, pace and habits, harmonics of each activity, the sensor's noise,
/// range and resolution. Neighbouring postures overlap, so no method reaches 100 %. The same options give the same files.
///
/// A SYNTHETIC.txt lies in every directory that gets files: people see it, and the parsers mark what they read there as
/// synthetic. Sleep files come in both line formats; a quarter of the WISDM phone files is at 50 Hz.
///
/// Throws InputError for impossible options, for a directory that holds anything but the result of the same options, and when
/// writing fails. Nothing is ever removed.
SyntheticSummary write_synthetic(const std::filesystem::path& directory, const SyntheticOptions& options);

}  // namespace retort
