// What a grid may vary, and which method takes notice of it.
#pragma once

#include <string>
#include <string_view>

namespace retort {

/// The value of `arch` that stands for the preset's own form of MTL-net.
inline constexpr const char* preset_arch = "preset";

/// Whether a run of `method` comes out differently when `key` does: only distilling methods have lambda and tau, only
/// smooth-distill has a moving average.
bool method_uses(std::string_view method, std::string_view key);

}  // namespace retort
