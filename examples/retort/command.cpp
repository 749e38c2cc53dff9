#include "retort/examples/retort/command.h"

#include "retort/kernels/registry.h"

#include <csignal>

namespace retort::command {

const char* const tf32_help =
    "Matrix products and convolutions of CUDA devices on tensor cores: faster, with factors rounded to 10 bits";

void DeviceOptions::add(CLI::App& app) {
  add_choice(app, "--device", device, {"cpu", "cuda", "cuda_sim"}, "Where kernels run");
  app.add_option("--impl", impl, impl_help)->type_name("OP=NAME,...");
  app.add_option("--threads", threads, "Host threads for CPU kernels; 0: all that this process may use")
      ->check(CLI::Range(0, 1024));
  app.add_flag("--tf32", tf32, tf32_help);
}

std::unique_ptr<Context> DeviceOptions::context() const {
  use_implementations(impl, parse_device(device));
  auto made = std::make_unique<Context>(parse_device(device), threads);
  made->stream().set_tf32(tf32);
  return made;
}

namespace {
std::atomic<bool> interrupted_flag{false};  // a signal handler can reach nothing else
}  // namespace

const std::atomic<bool>& catch_interrupts() {
  struct sigaction action {};
  action.sa_handler = [](int) { interrupted_flag.store(true, std::memory_order_relaxed); };
  action.sa_flags = SA_RESETHAND;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  return interrupted_flag;
}

CLI::Option* add_choice(CLI::App& app, const std::string& name, std::string& value, const std::vector<std::string>& choices,
                        const std::string& help) {
  return app.add_option(name, value, help)->check(CLI::IsMember(choices))->type_name("NAME");
}

std::string dump(const Json& json, int indent) { return json.dump(indent, ' ', false, Json::error_handler_t::replace); }

namespace {

/// Terminal columns of UTF-8 text: continuation bytes take none.
std::size_t columns_of(const std::string& text) {
  return static_cast<std::size_t>(std::ranges::count_if(text, [](char c) { return (c & 0xC0) != 0x80; }));
}

bool is_number(const std::string& text) {
  return !text.empty() && text.find_first_not_of("0123456789.,+-%eE ") == std::string::npos;
}

}  // namespace

void print_columns(const std::vector<std::string>& headings, const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::size_t> widths;
  std::vector<bool> numeric(headings.size(), true);
  for (const auto& heading : headings) widths.push_back(columns_of(heading));
  for (const auto& row : rows)
    for (std::size_t i = 0; i < row.size(); ++i) {
      widths[i] = std::max(widths[i], columns_of(row[i]));
      if (!row[i].empty() && !is_number(row[i])) numeric[i] = false;
    }
  auto print_row = [&](const std::vector<std::string>& row) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
      const std::string gap(widths[i] - columns_of(row[i]), ' ');
      line += (i ? "  " : "") + (numeric[i] ? gap + row[i] : row[i] + gap);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    fmt::print("{}\n", line);
  };
  print_row(headings);
  for (const auto& row : rows) print_row(row);
}

}  // namespace retort::command
