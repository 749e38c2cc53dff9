// How fast raw files become recordings, recordings windows, and windows a prepared file: bytes per second over synthetic files in
// a temporary directory. One file is parsed by one thread, so the figures for a single file are those of one core; `all` uses
// every core. "From disk" first takes the raw files out of the system's cache; `disk` reads them and writes the prepared file's
// bytes and does nothing else, so it is what `prepare` cannot beat.
#include "retort/core/file.h"
#include "retort/data/prepared.h"
#include "retort/data/synthetic.h"
#include "retort/data/windowing.h"

#include <benchmark/benchmark.h>
#include <fcntl.h>
#include <unistd.h>

#include <filesystem>
#include <string>

namespace {

namespace fs = std::filesystem;

/// Made on first use, removed at the end of the program.
class Files {
 public:
  ~Files() {
    std::error_code ignored;
    fs::remove_all(root_, ignored);
  }
  fs::path output() const { return root_ / "prepared.safetensors"; }
  fs::path directory(const std::string& id) {
    const fs::path path = root_ / id;
    if (!fs::exists(path)) retort::write_synthetic(path, {id, id == "wisdm" ? 8 : id == "mhealth" ? 4 : 2, 180, 1});
    return path;
  }

 private:
  fs::path root_ = fs::temp_directory_path() / ("retort-bench-" + std::to_string(::getpid()));
};

Files& files() {
  static Files instance;
  return instance;
}

std::int64_t bytes_of(const retort::RawDataset& data) {
  std::int64_t bytes = 0;
  for (const auto& source : data.sources) bytes += static_cast<std::int64_t>(source.bytes);
  return bytes;
}

void parse(benchmark::State& state, const std::string& id, const std::string& file, bool hashes) {
  const fs::path path = files().directory(id) / file;
  std::int64_t bytes = 0, rows = 0;
  for (auto _ : state) {
    const retort::RawDataset data = retort::read_raw(id, path, {.hashes = hashes});
    bytes += bytes_of(data);
    rows += data.report.rows;
  }
  state.SetBytesProcessed(bytes);
  state.SetItemsProcessed(rows);
}

void windows(benchmark::State& state, const std::string& id, const std::string& preset) {
  const retort::RawDataset data = retort::read_raw(id, files().directory(id), {.hashes = false});
  std::int64_t count = 0;
  for (auto _ : state) count += retort::make_windows(data, retort::window_preset(preset, id)).count();
  state.SetItemsProcessed(count);
  state.SetBytesProcessed(count * 300 * 4);
}

std::vector<fs::path> files_under(const fs::path& directory) {
  std::vector<fs::path> found;
  for (const auto& entry : fs::recursive_directory_iterator(directory))
    if (entry.is_regular_file()) found.push_back(entry.path());
  return found;
}

/// Takes the files out of the system's cache: whoever reads them next waits for the disk.
void forget(const std::vector<fs::path>& paths) {
  for (const fs::path& path : paths) {
    const int fd = ::open(path.c_str(), O_RDONLY);
    if (fd < 0) continue;
    ::fdatasync(fd);
    ::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    ::close(fd);
  }
}

enum class From { cache, disk };

/// What `retort data prepare` does, bytes of the raw files a second; the prepared file is synced to the disk.
void prepare(benchmark::State& state, From from) {
  const fs::path raw = files().directory("wisdm");
  const std::vector<fs::path> paths = files_under(raw);
  std::int64_t bytes = 0;
  for (auto _ : state) {
    if (from == From::disk) {
      state.PauseTiming();
      forget(paths);
      state.ResumeTiming();
    }
    const retort::RawDataset data = retort::read_raw("wisdm", raw);
    bytes += bytes_of(data);
    retort::save_prepared(files().output(), retort::make_windows(data, retort::window_preset("strict", "wisdm")));
  }
  state.SetBytesProcessed(bytes);
}

/// Reads and writes as many bytes as `prepare` from disk.
void disk(benchmark::State& state) {
  const fs::path raw = files().directory("wisdm");
  const std::vector<fs::path> paths = files_under(raw);
  retort::save_prepared(files().output(),
                        retort::make_windows(retort::read_raw("wisdm", raw), retort::window_preset("strict", "wisdm")));
  const std::string prepared = retort::read_file(files().output());
  std::int64_t bytes = 0;
  for (auto _ : state) {
    state.PauseTiming();
    forget(paths);
    state.ResumeTiming();
    for (const fs::path& path : paths) bytes += static_cast<std::int64_t>(retort::read_file(path).size());
    retort::write_file_atomically(files().output(), prepared);
  }
  state.SetBytesProcessed(bytes);
}

const std::string wisdm_file = "raw/phone/accel/data_1600_accel_phone.txt";

BENCHMARK_CAPTURE(parse, sleep_timed, "sleep", "01_Up_co.txt", false);
BENCHMARK_CAPTURE(parse, sleep_header, "sleep", "02_Up_co.txt", false);
BENCHMARK_CAPTURE(parse, mhealth, "mhealth", "mHealth_subject1.log", false);
BENCHMARK_CAPTURE(parse, wisdm, "wisdm", wisdm_file, false);
BENCHMARK_CAPTURE(parse, wisdm_with_sha256, "wisdm", wisdm_file, true);
BENCHMARK_CAPTURE(parse, wisdm_all, "wisdm", "", false)->UseRealTime();
BENCHMARK_CAPTURE(windows, wisdm_released, "wisdm", "released");
BENCHMARK_CAPTURE(windows, wisdm_paper, "wisdm", "paper");
BENCHMARK_CAPTURE(windows, wisdm_strict, "wisdm", "strict");
BENCHMARK_CAPTURE(prepare, wisdm_from_cache, From::cache)->UseRealTime();
BENCHMARK_CAPTURE(prepare, wisdm_from_disk, From::disk)->UseRealTime();
BENCHMARK(disk)->Name("disk/wisdm")->UseRealTime();

}  // namespace

BENCHMARK_MAIN();
