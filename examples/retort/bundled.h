// The experiments that come with the program: the text of examples/experiments/*.toml.
#pragma once

#include <span>
#include <string_view>

namespace retort::command {

struct BundledExperiment {
  std::string_view name, text;
};

std::span<const BundledExperiment> bundled_experiments();

}  // namespace retort::command
