#include "retort/examples/reproduce/reproduce.h"

#include "retort/core/error.h"
#include "retort/data/recording.h"

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>
#include <CLI/CLI.hpp>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <map>
#include <sstream>
#include <string>
#include <vector>

extern char** environ;

namespace retort {
namespace {

namespace fs = std::filesystem;

struct Options {
  std::string raw, out, effort = "hour", preset = "strict";
  std::vector<std::string> more;
  bool synthetic = false, unverified = false;
};

fs::path retort_program() { return fs::read_symlink("/proc/self/exe").parent_path() / "retort"; }

std::vector<std::string> announced(std::vector<std::string> arguments) {
  fmt::print("\n$ retort {}\n", fmt::join(arguments, " "));
  std::fflush(stdout);
  arguments.insert(arguments.begin(), retort_program().string());
  return arguments;
}

std::vector<char*> pointers_to(std::vector<std::string>& arguments) {
  std::vector<char*> out;
  for (std::string& argument : arguments) out.push_back(argument.data());
  out.push_back(nullptr);
  return out;
}

[[noreturn]] void cannot_start(int reason) {
  fail<InputError>("{} cannot be started: {}; it belongs beside this program", retort_program().string(), std::strerror(reason));
}

/// Runs `retort` to its end and gives its exit code; what went wrong it has said itself.
int run_step(std::vector<std::string> arguments) {
  arguments = announced(std::move(arguments));
  std::signal(SIGCHLD, SIG_DFL);  // ignored by whoever started us, it would keep us from waiting
  pid_t child = 0;
  if (const int error = posix_spawn(&child, arguments[0].c_str(), nullptr, nullptr, pointers_to(arguments).data(), environ))
    cannot_start(error);
  int status = 0;
  while (waitpid(child, &status, 0) != child) check(errno == EINTR, "waitpid: {}", std::strerror(errno));
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/// Becomes `retort`, so that Ctrl-C, signals and the exit code are its own.
[[noreturn]] void become(std::vector<std::string> arguments) {
  arguments = announced(std::move(arguments));
  execv(arguments[0].c_str(), pointers_to(arguments).data());
  cannot_start(errno);
}

/// The first place that is there: the argument, RETORT_DATA, ./data/NAME, ~/.cache/retort/NAME.
fs::path find_raw(const PublishedData& data, const std::string& argument) {
  if (!argument.empty()) return argument;
  std::vector<fs::path> places;
  if (const char* named = std::getenv("RETORT_DATA"); named && *named) {
    places.push_back(fs::path(named) / data.dataset);
    places.push_back(named);
  }
  places.push_back(fs::path("data") / data.dataset);
  const char* cache = std::getenv("XDG_CACHE_HOME");
  const char* home = std::getenv("HOME");
  if (cache && *cache)
    places.push_back(fs::path(cache) / "retort" / data.dataset);
  else if (home && *home)
    places.push_back(fs::path(home) / ".cache" / "retort" / data.dataset);
  for (const fs::path& place : places)
    if (fs::is_directory(place)) return place;
  std::string list;
  for (const fs::path& place : places) list += (list.empty() ? "" : ", ") + place.string();
  fail<InputError>("no raw {0} files in {1}; get them with examples/fetch_data.sh {0}, name their directory, or try --synthetic",
                   data.dataset, list);
}

/// Compares the files that have a published hash with it. Refuses others unless the user will have them.
void verify(const PublishedData& data, const fs::path& raw, bool unverified) {
  if (data.hashes.empty()) {
    fmt::print("no hashes are published for {}: its files are taken as they are\n", data.dataset);
    return;
  }
  std::map<std::string, std::string> published;  // file name -> sha256
  std::istringstream lines{std::string(data.hashes)};
  for (std::string sum, name; lines >> sum >> name;) published[fs::path(name).filename().string()] = sum;
  std::size_t same = 0;
  std::string different;
  check<InputError>(fs::is_directory(raw), "{}: no such directory", raw.string());
  for (const auto& entry : fs::recursive_directory_iterator(raw, fs::directory_options::follow_directory_symlink)) {
    const auto expected = published.find(entry.path().filename().string());
    if (expected == published.end() || !entry.is_regular_file()) continue;
    if (sha256_of_file(entry.path()) == expected->second)
      ++same;
    else if (different.empty())
      different = entry.path().string();
  }
  fmt::print("{}: {} of {} files are there as published\n", raw.string(), same, published.size());
  if (unverified) return;
  check<InputError>(different.empty(), "{} is not the published file (sha256); --unverified goes on with it", different);
  check<InputError>(
      same == published.size(),
      "{}: {} of the {} published files are missing; examples/fetch_data.sh {} gets them, --unverified goes on without",
      raw.string(), published.size() - same, published.size(), data.dataset);
}

int run(const PublishedData& data, const Options& o) {
  const fs::path out = o.out.empty() ? fmt::format("results-{}", data.dataset) : o.out;
  const std::string dataset(data.dataset), prepared = (out / fmt::format("{}-{}.safetensors", dataset, o.preset)).string();
  std::error_code error;
  fs::create_directories(out, error);
  check<InputError>(fs::is_directory(out), "{}: cannot make this directory{}{}", out.string(), error ? ": " : "",
                    error ? error.message() : "");
  fs::path raw = out / "raw-synthetic";
  if (o.synthetic) {
    if (const int code = run_step({"data", "synth", "--dataset", dataset, "--out", raw.string()})) return code;
  } else {
    raw = find_raw(data, o.raw);
    if (fs::exists(raw / synthetic_marker))
      fmt::print("{}: SYNTHETIC recordings, nothing to compare with\n", raw.string());
    else
      verify(data, raw, o.unverified);
  }
  if (const int code =
          run_step({"data", "prepare", "--dataset", dataset, "--raw", raw.string(), "--out", prepared, "--preset", o.preset}))
    return code;
  std::vector<std::string> last{"experiment", "table5", "--data", prepared, "--out", out.string(), "--effort", o.effort};
  last.insert(last.end(), o.more.begin(), o.more.end());
  become(std::move(last));
}

}  // namespace

int reproduce(const PublishedData& data, int argc, char** argv) {
  Options o;
  const std::string program = fmt::format("reproduce_{}", data.dataset);
  CLI::App app{fmt::format("The paper's table 5 for {0}: finds and checks the raw files, prepares them, trains five methods,\n"
                           "writes the tables and the page. Stop it with Ctrl-C; the same command goes on.\n"
                           "DIRECTORY holds the raw files; without it: $RETORT_DATA/{0}, $RETORT_DATA, data/{0},\n"
                           "~/.cache/retort/{0}.",
                           data.dataset),
               program + " [DIRECTORY]"};
  app.option_defaults()->always_capture_default();
  app.add_option("--effort", o.effort, "How much: smoke (minutes), hour, full (the paper's 5 folds x 5 seeds x 300 epochs)")
      ->check(CLI::IsMember({"smoke", "hour", "full"}));
  app.add_option("--preset", o.preset, "strict, paper or released")->check(CLI::IsMember({"strict", "paper", "released"}));
  app.add_option("--out", o.out, "Directory for results")->default_str(fmt::format("results-{}", data.dataset));
  app.add_flag("--synthetic", o.synthetic, "Made-up recordings in the place of real ones");
  app.add_flag("--unverified", o.unverified, "Go on with files that differ from the published ones, or without some of them");
  app.allow_extras()->footer("Further options are those of `retort experiment`: --jobs 2, --device cuda, --set epochs=5.");
  try {
    app.parse(argc, argv);
    o.more = app.remaining();
    if (!o.more.empty() && !o.more.front().starts_with("-")) {
      o.raw = o.more.front();
      o.more.erase(o.more.begin());
    }
    check<InputError>(!o.synthetic || o.raw.empty(), "--synthetic makes its own recordings; leave {} out", o.raw);
    return run(data, o);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);
    fmt::print(stderr, "{}: {} (see --help)\n", program, error.what());
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}: {}\n", program, error.what());
  }
  return 2;
}

}  // namespace retort
