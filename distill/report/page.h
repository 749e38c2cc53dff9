// What every page is made of.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace retort {

inline constexpr const char* kThinSpace = "\u202f";

/// The document around `body` (HTML: header and main).
std::string html_page(std::string_view title, const std::string& body, std::string_view version);

/// The warning that the recordings are made up; `which` begins the sentence ("", "2 of these 3 runs used ").
std::string synthetic_notice(std::string_view which);

/// A name and a value in a <dl class="facts">; `html` is not escaped.
std::string fact(std::string_view name, const std::string& html, bool wide = false);

/// The line that a legend or a row shows for curve `index`.
std::string colour_key(std::size_t index);

std::string with_badge(std::string_view text, std::string_view badge);

/// 1797519 → "1 797 519", and "1.798 M"
std::string number_html(std::int64_t value);
std::string millions(std::int64_t value);

}  // namespace retort
