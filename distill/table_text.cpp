#include "retort/distill/table_text.h"

#include "retort/distill/report/format.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace retort {

static std::string csv_field(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string out = "\"";
  for (const char c : text) out += c == '"' ? "\"\"" : std::string(1, c);
  return out + "\"";
}

std::string csv_line(const Fields& fields) {
  std::string out;
  for (const std::string& field : fields) out += (&field == &fields.front() ? "" : ",") + csv_field(field);
  return out + "\n";
}

std::string number(double value, int decimals) {
  if (std::isnan(value)) return "";
  const std::string text = fmt::format("{:.{}f}", value, decimals);
  return text.starts_with('-') && text.find_first_not_of("-0.") == text.npos ? text.substr(1) : text;  // no "-0.0000"
}

std::string significant(double value) { return std::isnan(value) ? "" : fmt::format("{:.6g}", value); }

Fields operator+(Fields a, const Fields& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

std::string plus_minus(const MeanDeviation& value, const char* sign) {
  if (std::isnan(value.mean)) return kNoValue;
  return std::isnan(value.deviation) ? number(value.mean, 2) : number(value.mean, 2) + sign + number(value.deviation, 2);
}

std::string tex_text(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (std::string_view("_&%#${}").find(c) != std::string_view::npos)
      out += std::string("\\") + c;
    else if (c == '\\' || c == '~' || c == '^')
      out += fmt::format("\\char{}{{}}", static_cast<int>(c));
    else
      out += c;
  }
  return out;
}

std::string tex_line(const Fields& cells) { return fmt::format("{} \\\\\n", fmt::join(cells, " & ")); }

std::string aligned(const std::vector<Fields>& lines) {
  std::vector<std::size_t> widths;
  for (const Fields& line : lines)
    for (std::size_t i = 0; i < line.size(); ++i) {
      widths.resize(std::max(widths.size(), i + 1));
      widths[i] = std::max(widths[i], text_width(line[i]));
    }
  std::string out;
  for (const Fields& line : lines) {
    std::string text;
    for (std::size_t i = 0; i < line.size(); ++i) {
      const std::string space(widths[i] - text_width(line[i]), ' ');
      text += (i == 0 ? " " : "  ") + (i == 0 ? line[i] + space : space + line[i]);
    }
    text.erase(text.find_last_not_of(' ') + 1);
    out += text + "\n";
  }
  return out;
}

}  // namespace retort
