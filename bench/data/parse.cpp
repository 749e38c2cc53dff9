// How fast raw files become recordings and recordings become windows: bytes per second over synthetic files in a temporary
// directory. One file is parsed by one thread, so the figures for a single file are those of one core; `all` uses every core.
#include "retort/data/synthetic.h"
#include "retort/data/windowing.h"

#include <benchmark/benchmark.h>
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

}  // namespace

BENCHMARK_MAIN();
