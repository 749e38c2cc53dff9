#include "retort/distill/report/page.h"

#include "retort/distill/report/format.h"
#include "retort/distill/report/page_style.h"

#include <fmt/format.h>

namespace retort {

std::string html_page(std::string_view title, const std::string& body, std::string_view version) {
  return fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{} – Retort</title>\n<style>{}</style>\n"
      "</head>\n<body>\n{}<footer>Written by Retort {}. This page is self-contained: keep it, mail it, print "
      "it.</footer>\n</body>\n</html>\n",
      escape_html(title), kPageStyle, body, escape_html(version));
}

std::string synthetic_notice(std::string_view which) {
  return fmt::format(
      "<p class=\"notice\"><strong>{}SYNTHETIC data.</strong> The recordings were generated from a physical model, nobody wore a "
      "sensor. The figures show that the program works and how methods compare here; they say nothing about real recordings and "
      "are not comparable with the paper’s.</p>\n",
      which);
}

std::string fact(std::string_view name, const std::string& html, bool wide) {
  return fmt::format("<div{}><dt>{}</dt><dd>{}</dd></div>\n", wide ? " class=\"wide\"" : "", name, html);
}

std::string colour_key(std::size_t index) {
  return fmt::format("<span class=\"key\" style=\"color:var(--c{})\"></span>", index % 8);
}

std::string with_badge(std::string_view text, std::string_view badge) {
  return fmt::format("{} <span class=\"badge\">{}</span>", escape_html(text), escape_html(badge));
}

std::string number_html(std::int64_t value) { return grouped(value, kThinSpace); }

std::string millions(std::int64_t value) { return fmt::format("{:.3f}{}M", static_cast<double>(value) / 1e6, kThinSpace); }

}  // namespace retort
