// What reproduce_sleep, reproduce_mhealth and reproduce_wisdm share: from raw files to the paper's table 5 for one data set. Each
// step is a call of `retort`, printed before it is made, so that anyone can make it alone.
#pragma once

#include <string_view>

namespace retort {

struct PublishedData {
  std::string_view dataset;  ///< "sleep", "mhealth", "wisdm"
  std::string_view hashes;   ///< lines "sha256  name" of the published files; empty when none are known
};

/// The whole program. Returns its exit code (docs/file_formats.md).
int reproduce(const PublishedData& data, int argc, char** argv);

}  // namespace retort
