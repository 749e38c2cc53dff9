// How numbers and text are spelled in tables, on pages and in the terminal.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace retort {

inline constexpr const char* kNoValue = "–";

/// 0.92216 → "92.22"; no value or NaN → "–".
std::string percent(std::optional<double> fraction);
/// 1797519 → "1 797 519" with `separator` between the groups.
std::string grouped(std::int64_t value, std::string_view separator);
/// 4368 → "1 h 13 min", 95 → "1 min 35 s", 7.25 → "7.2 s".
std::string duration(double seconds);
/// Kilowatt hours: 0.485 → "0.485 kWh", 0.0123 → "12.3 Wh".
std::string energy_text(double kilowatt_hours);
/// Columns a UTF-8 text takes in a terminal, a code point each.
std::size_t text_width(std::string_view text);
/// `text` as HTML text or attribute value.
std::string escape_html(std::string_view text);
/// Without control characters, so that a name from a file cannot steer the terminal; cut to `width` columns with "…".
std::string terminal_text(std::string_view text, std::size_t width);

}  // namespace retort
