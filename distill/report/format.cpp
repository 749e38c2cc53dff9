#include "retort/distill/report/format.h"

#include <fmt/format.h>

#include <cmath>

namespace retort {

std::string percent(std::optional<double> fraction) {
  return fraction && std::isfinite(*fraction) ? fmt::format("{:.2f}", 100 * *fraction) : kNoValue;
}

std::string grouped(std::int64_t value, std::string_view separator) {
  const std::string digits = std::to_string(value < 0 ? -value : value);
  std::string out = value < 0 ? "-" : "";
  for (std::size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % 3 == 0) out += separator;
    out += digits[i];
  }
  return out;
}

std::string duration(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0) return kNoValue;
  if (seconds < 59.95) return fmt::format("{:.1f} s", seconds);
  const auto whole = static_cast<std::int64_t>(std::llround(seconds));
  if (whole < 3600) return fmt::format("{} min {:02} s", whole / 60, whole % 60);
  return fmt::format("{} h {:02} min", whole / 3600, whole % 3600 / 60);
}

std::string energy_text(double kilowatt_hours) {
  if (kilowatt_hours >= 0.1) return fmt::format("{:.3f} kWh", kilowatt_hours);
  return fmt::format("{:.{}f} Wh", 1000 * kilowatt_hours, kilowatt_hours >= 0.001 ? 1 : 3);
}

std::size_t text_width(std::string_view text) {
  std::size_t width = 0;
  for (const char c : text) width += (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  return width;
}

std::string escape_html(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

std::string terminal_text(std::string_view text, std::size_t width) {
  const bool cut = text_width(text) > width;
  std::string out;
  std::size_t used = 0;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool starts = (byte & 0xC0) != 0x80;
    if (starts && cut && used + 1 >= width) break;
    used += starts;
    out += byte < 0x20 || byte == 0x7F ? '?' : c;
  }
  return cut && width > 0 ? out + "…" : out;
}

}  // namespace retort
