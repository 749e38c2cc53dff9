#include "retort/distill/report/table.h"

#include "retort/distill/report/format.h"
#include "retort/distill/report/results.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <string_view>

namespace retort {
namespace {

enum class Emphasis { none, best, dim };

struct Cell {
  std::string text;
  Emphasis emphasis = Emphasis::none;
};
using Row = std::vector<Cell>;

const char* const kHeadings[] = {"run",   "method", "acc 1", "F1 1", "acc 2", "F1 2",
                                 "acc 1", "F1 1",   "acc 2", "F1 2", "epoch", "time"};
constexpr std::size_t kColumns = std::size(kHeadings), kTestFrom = 2, kValFrom = 6, kCostFrom = 10;

void add_figures(Row& row, const Figures& figures, const std::array<bool, 4>& best, Emphasis rest) {
  for (std::size_t i = 0; i < figures.size(); ++i) row.push_back({percent(figures[i]), best[i] ? Emphasis::best : rest});
}

std::vector<Row> table_rows(const RunGroup& group) {
  std::vector<Row> rows;
  for (const ResultRow& result : group.rows) {
    const RunRecord& run = *result.run;
    Row row = {{terminal_text(run.name(), 28)}, {terminal_text(run.config.method, 16)}};
    add_figures(row, result.test, result.test_best, Emphasis::none);
    add_figures(row, result.val, result.val_best, Emphasis::none);
    row.push_back({result.best_epoch ? std::to_string(*result.best_epoch) : kNoValue});
    row.push_back({duration(result.seconds)});
    rows.push_back(std::move(row));
    if (!result.published) continue;
    Row paper = {{run.config.data.synthetic ? "  paper, real data" : "  in the paper", Emphasis::dim}, {"", Emphasis::dim}};
    add_figures(paper, published_figures(result.published->test), {}, Emphasis::dim);
    add_figures(paper, published_figures(result.published->val), {}, Emphasis::dim);
    paper.resize(kColumns);
    rows.push_back(std::move(paper));
  }
  return rows;
}

std::string painted(const Cell& cell, const std::string& padded, const TableStyle& style) {
  if (!style.colour || cell.emphasis == Emphasis::none) return padded;
  return fmt::format("\x1b[{}m{}\x1b[0m", cell.emphasis == Emphasis::best ? "1;32" : "2", padded);
}

class Layout {
 public:
  Layout(const std::vector<Row>& rows, const TableStyle& style) : style_(style) {
    for (std::size_t c = 0; c < kColumns; ++c) {
      width_[c] = text_width(kHeadings[c]);
      for (const Row& row : rows) width_[c] = std::max(width_[c], text_width(row[c].text));
    }
    // A narrow terminal shows what counts, the test part.
    const std::size_t blocks =
        span(0, kTestFrom) + span(kTestFrom, kValFrom) + span(kValFrom, kCostFrom) + span(kCostFrom, kColumns);
    without_val_ = style.columns > 0 && 1 + blocks + 3 * 3 > style.columns;
  }

  std::string line(const Row& row) const {
    std::string out = " ";
    for (std::size_t c = 0; c < kColumns; ++c) {
      if (hidden(c)) continue;
      if (c > 0) out += starts_block(c) ? (style_.box ? " │ " : "   ") : "  ";
      const std::string space(width_[c] - text_width(row[c].text), ' ');
      out += painted(row[c], c < kTestFrom ? row[c].text + space : space + row[c].text, style_);
    }
    while (out.ends_with(' ')) out.pop_back();
    return out + "\n";
  }

  std::string rule() const {
    std::string out = style_.box ? "─" : "-";
    for (std::size_t c = 0; c < kColumns; ++c) {
      if (hidden(c)) continue;
      if (c > 0) out += starts_block(c) ? (style_.box ? "─┼─" : "---") : (style_.box ? "──" : "--");
      for (std::size_t i = 0; i < width_[c]; ++i) out += style_.box ? "─" : "-";
    }
    return out + "\n";
  }

  /// "test" and "validation" over their four columns.
  std::string blocks() const {
    std::string out(1 + span(0, kTestFrom), ' ');
    for (const auto& [title, from, to] :
         {std::tuple{"test", kTestFrom, kValFrom}, std::tuple{"validation", kValFrom, kCostFrom}}) {
      if (hidden(from)) continue;
      out += style_.box ? " │ " : "   ";
      out += fmt::format("{:^{}}", title, span(from, to));
    }
    return out + (style_.box ? " │\n" : "\n");
  }

 private:
  static bool starts_block(std::size_t c) { return c == kTestFrom || c == kValFrom || c == kCostFrom; }
  bool hidden(std::size_t c) const { return without_val_ && c >= kValFrom && c < kCostFrom; }
  std::size_t span(std::size_t from, std::size_t to) const {
    std::size_t total = 2 * (to - from - 1);
    for (std::size_t c = from; c < to; ++c) total += width_[c];
    return total;
  }
  TableStyle style_;
  bool without_val_ = false;
  std::array<std::size_t, kColumns> width_ = {};
};

}  // namespace

TableStyle table_style(int file_descriptor) {
  const bool terminal = isatty(file_descriptor) == 1;
  const char* no_colour = std::getenv("NO_COLOR");
  const char* term = std::getenv("TERM");
  const bool plain = (no_colour && *no_colour) || (term && std::string_view(term) == "dumb");
  winsize size{};
  const bool known = terminal && ioctl(file_descriptor, TIOCGWINSZ, &size) == 0;
  return {.box = terminal, .colour = terminal && !plain, .columns = known ? size.ws_col : std::size_t{0}};
}

void print_table(std::ostream& out, std::span<const RunRecord> runs, const TableStyle& style) {
  bool first = true;
  for (const RunGroup& group : group_runs(runs)) {
    const RunConfig& config = group.config();
    const std::vector<Row> rows = table_rows(group);
    const Layout layout(rows, style);
    Row headings;
    for (const char* heading : kHeadings) headings.push_back({heading});
    out << (first ? "" : "\n")
        << fmt::format("{}{}, split {}, fold {} of {}; percent\n", terminal_text(config.data.dataset, 40),
                       config.data.synthetic ? " (SYNTHETIC data)" : "", terminal_text(config.split, 40), config.fold,
                       config.folds)
        << layout.blocks() << layout.line(headings) << layout.rule();
    for (const Row& row : rows) out << layout.line(row);
    for (const ResultRow& result : group.rows)
      if (!result.run->finished()) out << fmt::format(" {}: {}\n", terminal_text(result.run->name(), 60), run_state(*result.run));
    first = false;
  }
}

}  // namespace retort
