#include "retort/distill/report/progress.h"

#include "retort/distill/report/format.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace retort {
namespace {

using Clock = std::chrono::steady_clock;

std::size_t terminal_width(const ProgressStyle& style) {
  if (style.fixed_width > 0) return static_cast<std::size_t>(style.fixed_width);
  winsize size{};
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

/// A bar in eighths of a column.
std::string bar(double done, std::size_t columns) {
  static constexpr const char* kEighths[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
  const auto eighths = static_cast<std::size_t>(std::lround(std::clamp(done, 0.0, 1.0) * 8 * static_cast<double>(columns)));
  std::string out;
  for (std::size_t i = 0; i < eighths / 8; ++i) out += "█";
  out += kEighths[eighths % 8];
  for (std::size_t i = text_width(out); i < columns; ++i) out += " ";
  return out;
}

std::string accuracies(const EpochRecord& epoch) {
  if (std::isnan(epoch.val_acc1)) return fmt::format("train acc {} / {} %", percent(epoch.train_acc1), percent(epoch.train_acc2));
  return fmt::format("val acc {} / {} %", percent(epoch.val_acc1), percent(epoch.val_acc2));
}

std::string clock_time(double seconds) {
  const auto s = static_cast<std::int64_t>(std::lround(seconds));
  return s < 3600 ? fmt::format("{}:{:02}", s / 60, s % 60) : fmt::format("{}:{:02}:{:02}", s / 3600, s % 3600 / 60, s % 60);
}

std::string epoch_line(const EpochRecord& e, std::int64_t epochs) {
  std::string line = fmt::format("epoch {:>{}}/{}  loss {:.4f}", e.epoch, std::to_string(epochs).size(), epochs, e.train_loss);
  if (!std::isnan(e.val_loss)) line += fmt::format("  val loss {:.4f}", e.val_loss);
  line += "  " + accuracies(e) + "  " + duration(e.seconds);
  return e.best ? line + "  best" : line;
}

}  // namespace

ProgressStyle progress_style() { return {.bar = isatty(STDERR_FILENO) == 1, .fixed_width = 0}; }

std::string progress_line(const ProgressPosition& p, const EpochRecord* last_epoch, double seconds_left, std::size_t width) {
  const std::size_t digits = std::to_string(p.epochs).size();
  std::string line = fmt::format("epoch {:>{}}/{} ", p.epoch, digits, p.epochs);
  std::vector<std::string> parts;
  if (p.loss != 0) parts.push_back(fmt::format("loss {:.4f}", p.loss));
  if (last_epoch) parts.push_back(accuracies(*last_epoch));
  if (std::isfinite(seconds_left)) parts.push_back(clock_time(seconds_left) + " left");
  // The bar takes what the words leave, 10 to 30 columns.
  std::size_t words = 0;
  for (const std::string& part : parts) words += 2 + part.size();
  const std::size_t used = text_width(line) + words + 2;
  const std::size_t columns = std::clamp<std::size_t>(used < width ? width - used : 0, 10, 30);
  const double done = p.steps > 0 ? static_cast<double>(p.step) / static_cast<double>(p.steps) : 0;
  if (text_width(line) + columns + 2 <= width) line += "▕" + bar(done, columns) + "▏";
  for (const std::string& part : parts) {
    if (text_width(line) + 1 + part.size() > width) break;
    line += " " + part;
    if (&part != &parts.back() && text_width(line) < width) line += " ";
  }
  return terminal_text(line, width);
}

Progress::Progress(std::ostream& out, const ProgressStyle& style, std::string title, std::int64_t first_step,
                   std::int64_t total_steps)
    : out_(out),
      style_(style),
      title_(std::move(title)),
      first_step_(first_step),
      total_steps_(total_steps),
      started_(Clock::now()) {
  if (!title_.empty()) out_ << terminal_text(title_, 200) << "\n" << std::flush;
}

Progress::~Progress() { clear(); }

void Progress::clear() {
  if (!line_open_) return;
  out_ << "\r\x1b[2K" << std::flush;
  line_open_ = false;
}

void Progress::step(const ProgressPosition& position, std::int64_t done_steps) {
  const auto now = Clock::now();
  if (!style_.bar || (line_open_ && now - drawn_ < std::chrono::milliseconds(100))) return;
  drawn_ = now;
  const double elapsed = std::chrono::duration<double>(now - started_).count();
  const std::int64_t did = done_steps - first_step_;
  // A guess from less than a second of work would jump about.
  const double left = did > 0 && elapsed > 1 ? elapsed / static_cast<double>(did) * static_cast<double>(total_steps_ - done_steps)
                                             : std::numeric_limits<double>::quiet_NaN();
  const std::string line = progress_line(position, last_epoch_ ? &*last_epoch_ : nullptr, left, terminal_width(style_) - 1);
  // One write, text first and then "clear to the end of the line": nothing flickers.
  out_ << "\r" + line + "\x1b[K" << std::flush;
  line_open_ = true;
}

void Progress::epoch(const EpochRecord& record, std::int64_t epochs) {
  last_epoch_ = record;
  clear();  // so that whatever is printed next starts on a clean line; the next step draws the bar again
  if (!style_.bar) out_ << epoch_line(record, epochs) << "\n" << std::flush;
}

}  // namespace retort
