// Training from prepared files of any size: how long a file of n windows takes to open, split and shuffle, how long a batch takes
// to gather beside the step that uses it, and what the process holds in memory meanwhile.
//
//   bench_data_loader --windows 1000,10000,100000 --directory /tmp          10^7 windows are a file of 12 GB
//
// The files are written by the bench and removed again. Each is dropped from the system's cache before it is trained on, so the
// first touch of a window reads the disk.
#include "retort/data/loader.h"
#include "retort/bench/suite/machine.h"
#include "retort/bench/suite/peer.h"
#include "retort/bench/suite/step_runner.h"
#include "retort/core/random.h"
#include "retort/data/prepared.h"
#include "retort/data/split.h"
#include "retort/distill/presets.h"
#include "retort/kernels/thread_team.h"

#include <fcntl.h>
#include <fmt/ranges.h>
#include <sys/mman.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <optional>

namespace {

using namespace retort;
namespace fs = std::filesystem;

struct Options {
  std::vector<std::int64_t> windows{1000, 10'000, 100'000};
  std::string directory = fs::temp_directory_path().string(), json, form = "mtl-net";
  int steps = 300, batch = 64, threads = 0;
};

double seconds() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

/// Runs `work` and returns its seconds.
template <class Work>
double timed(Work&& work) {
  const double begin = seconds();
  work();
  return seconds() - begin;
}

/// MB of a line of /proc/self/status, e.g. "RssAnon".
double status_mb(const std::string& key) {
  std::ifstream file("/proc/self/status");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with(key + ":")) return std::stod(line.substr(key.size() + 1)) / 1024;
  return 0;
}

/// A block of random windows, mapped again and again until n are there: 12 GB of them take 30 MB of memory.
class RepeatedWindows {
 public:
  explicit RepeatedWindows(std::int64_t n) : bytes_(static_cast<std::size_t>(n * 1200)) {
    const int fd = ::memfd_create("windows", 0);
    check(fd >= 0 && ::ftruncate(fd, block) == 0, "no memory for a block of windows");
    base_ = static_cast<char*>(::mmap(nullptr, bytes_ + block, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    check(base_ != MAP_FAILED, "no address space for {} bytes", bytes_);
    for (std::size_t at = 0; at < bytes_; at += block)
      check(::mmap(base_ + at, block, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) != MAP_FAILED, "mmap failed");
    ::close(fd);
    Random random(1);
    auto* values = reinterpret_cast<float*>(base_);
    for (std::size_t i = 0; i < block / sizeof(float); ++i) values[i] = static_cast<float>(random.normal());
  }
  ~RepeatedWindows() { ::munmap(base_, bytes_ + block); }
  RepeatedWindows(const RepeatedWindows&) = delete;
  RepeatedWindows& operator=(const RepeatedWindows&) = delete;
  std::span<const float> values() const { return {reinterpret_cast<const float*>(base_), bytes_ / sizeof(float)}; }

 private:
  static constexpr std::size_t block = 1200 * 4096 * 6;  // whole windows and whole pages
  std::size_t bytes_;
  char* base_;
};

/// A prepared file of n windows of 40 subjects, on the disk and not in the cache.
void write_file(const fs::path& path, std::int64_t n) {
  const RepeatedWindows windows(n);
  std::vector<std::int32_t> labels[4];
  const int limits[] = {12, 3, 40, 40};
  for (int k = 0; k < 4; ++k) {
    labels[k].resize(static_cast<std::size_t>(n));
    for (std::int64_t i = 0; i < n; ++i)
      labels[k][static_cast<std::size_t>(i)] = static_cast<std::int32_t>(i / (k < 2 ? 7 * (k + 1) : 1) % limits[k]);
  }
  WindowSet set;
  set.info.dataset = "bench", set.info.synthetic = true, set.info.version = "bench";
  for (int i = 0; i < 40; ++i) {
    if (i < 12) set.info.task1_names.push_back(fmt::format("class{}", i));
    if (i < 3) set.info.task2_names.push_back(fmt::format("position{}", i));
    set.info.subjects.push_back(fmt::format("s{}", i));
    set.info.recordings.push_back(fmt::format("r{}", i));
  }
  set.windows = windows.values();
  set.task1 = labels[0], set.task2 = labels[1], set.subject = labels[2], set.recording = labels[3];
  save_prepared(path, set);
  const int fd = ::open(path.c_str(), O_RDONLY);
  if (fd >= 0) ::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), ::close(fd);
}

/// Trains `steps` steps as the trainer does, with the time of each part.
Json train(const Options& o, const WindowSet& windows, Loader& loader) {
  Context context(Device::cpu, o.threads);
  const DeviceData data(context, windows, o.batch);
  TrainingState state(context, default_config("strict", "smooth-distill"), {o.form, Shape{1, 3, 100}, {12, 3}, 0},
                      "smooth-distill");
  std::vector<double> gathers, steps;
  std::optional<ReadAhead> ahead;
  const double ahead_s = timed([&] { ahead.emplace(data.read_ahead(loader.order())); });
  for (int i = 0; i < o.steps; ++i) {
    if (loader.size() - loader.cursor().position < o.batch) {
      loader.start_epoch(loader.cursor().epoch + 1);
      ahead.emplace(data.read_ahead(loader.order()));
    }
    Batch batch;
    gathers.push_back(timed([&] {
      ahead->advance(loader.cursor().position);
      batch = data.gather(loader.next());
    }));
    steps.push_back(timed([&] { state.step(batch), context.synchronize(); }));
  }
  const bench::Stats gather = bench::stats(gathers);
  return {{"steps", o.steps},
          {"ahead_s", ahead_s},
          {"gather_us", gather.median * 1e6},
          {"step_ms", bench::stats(steps).median * 1e3},
          {"gather_p90_us", gather.p90 * 1e6},
          {"rss_file_mb", status_mb("RssFile")},
          {"rss_anon_mb", status_mb("RssAnon")}};
}

Json measure(const Options& o, std::int64_t n) {
  const fs::path path = fs::path(o.directory) / fmt::format("retort-bench-{}-{}.safetensors", ::getpid(), n);
  Json row = {{"windows", n}, {"file_mb", static_cast<double>(n) * 1216e-6}};
  row["write_s"] = timed([&] { write_file(path, n); });
  {
    WindowSet windows;
    row["open_s"] = timed([&] { windows = load_prepared(path); });
    Split split;
    row["split_s"] = timed([&] { split = make_split(windows, {}); });
    std::unique_ptr<Loader> loader;
    row["loader_s"] = timed([&] { loader = std::make_unique<Loader>(split.train, o.batch, true, 1); });
    row["shuffle_s"] = timed([&] { loader->start_epoch(1); });
    row.update(train(o, windows, *loader));
    loader->start_epoch(1);  // the same windows in the same order, now in the system's cache
    const Json cached = train(o, windows, *loader);
    row["gather_cached_us"] = cached.at("gather_us"), row["step_cached_ms"] = cached.at("step_ms");
  }
  std::error_code ignored;
  fs::remove(path, ignored);
  return row;
}

int run(const Options& o) {
  Json rows = Json::array();
  fmt::print("{:>10} {:>8} {:>8} {:>8} {:>9} {:>8} {:>10} {:>10} {:>9} {:>10} {:>10}\n", "windows", "write s", "open s",
             "split s", "shuffle s", "ahead s", "gather us", "cached", "step ms", "file MB", "anon MB");
  for (const std::int64_t n : o.windows) {
    const Json row = rows.emplace_back(measure(o, n));
    const auto number = [&](const char* key) { return row.at(key).get<double>(); };
    fmt::print("{:>10} {:>8.2f} {:>8.3f} {:>8.3f} {:>9.3f} {:>8.2f} {:>10.1f} {:>10.1f} {:>9.2f} {:>10.0f} {:>10.0f}\n", n,
               number("write_s"), number("open_s"), number("split_s"), number("shuffle_s"), number("ahead_s"),
               number("gather_us"), number("gather_cached_us"), number("step_ms"), number("rss_file_mb"), number("rss_anon_mb"));
    std::fflush(stdout);
  }
  const int threads = o.threads > 0 ? o.threads : ThreadTeam::available();
  if (!o.json.empty())
    bench::write_json(
        o.json, {{"what", "loader"}, {"machine", bench::machine(Device::cpu, threads)}, {"batch", o.batch}, {"results", rows}});
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  Options o;
  CLI::App app{"Training from prepared files of growing size"};
  app.option_defaults()->always_capture_default();
  app.add_option("--windows", o.windows, "Sizes, separated by commas")->delimiter(',');
  app.add_option("--directory", o.directory, "Where the files are written");
  app.add_option("--steps", o.steps, "Steps for each size");
  app.add_option("--batch", o.batch, "Windows a step");
  app.add_option("--threads", o.threads, "0: all that this process may use");
  app.add_option("--json", o.json, "Also write the results here");
  CLI11_PARSE(app, argc, argv);
  try {
    return run(o);
  } catch (const std::exception& error) {
    fmt::print(stderr, "bench_data_loader: {}\n", error.what());
    return 2;
  }
}
