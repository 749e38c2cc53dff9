#pragma once

#include <string>
#include <string_view>

namespace retort {

/// Of this library and its command: "0.1.0".
std::string_view version();

/// What built it: "GCC 12.2.0, release".
std::string compiler();

}  // namespace retort
