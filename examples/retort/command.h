// What the subcommands share. Each has one file with one function that adds it to the command line.
#pragma once

#include "retort/core/context.h"
#include "retort/distill/run_record.h"

#include <CLI/CLI.hpp>

#include <atomic>
#include <functional>
#include <memory>

namespace retort::command {

/// Exit codes (docs/file_formats.md).
enum Exit : int { ok = 0, internal_error = 1, users_mistake = 2, device_trouble = 3, interrupted = 130 };

/// A subcommand sets `run` when it was chosen; main calls it after the command line was understood.
struct Command {
  std::function<int()> run;
};

void add_data(CLI::App& app, Command& command);
void add_train(CLI::App& app, Command& command);
void add_evaluate(CLI::App& app, Command& command);
void add_predict(CLI::App& app, Command& command);
void add_report(CLI::App& app, Command& command);
void add_experiment(CLI::App& app, Command& command);
void add_summary(CLI::App& app, Command& command);
void add_bench(CLI::App& app, Command& command);
void add_info(CLI::App& app, Command& command);

inline constexpr const char* impl_help =
    "Kernels instead of the defaults, e.g. conv2d=eigen,linear=simd; `retort info` lists them";

/// --device, --impl, --threads and --tf32.
struct DeviceOptions {
  std::string device = "cpu", impl;
  int threads = 0;
  bool tf32 = false;

  void add(CLI::App& app);
  std::unique_ptr<Context> context() const;
};

/// What --tf32 says of itself in --help.
extern const char* const tf32_help;

/// Set by Ctrl-C and SIGTERM once `catch_interrupts` was called; a second Ctrl-C ends the process at once.
const std::atomic<bool>& catch_interrupts();

/// Options that name a choice show the choices in --help and in the error.
CLI::Option* add_choice(CLI::App& app, const std::string& name, std::string& value, const std::vector<std::string>& choices,
                        const std::string& help);

/// JSON as text; a user's file name may not be UTF-8, so what is not becomes a replacement character instead of an error.
std::string dump(const Json& json, int indent = -1);

/// "12 x 3" style columns for people: right-aligned numbers under left-aligned headings.
void print_columns(const std::vector<std::string>& headings, const std::vector<std::vector<std::string>>& rows);

}  // namespace retort::command
