#pragma once

#include <string_view>

namespace retort {

/// Of this library and its command: "0.1.0".
std::string_view version();

}  // namespace retort
