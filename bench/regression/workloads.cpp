// The workloads whose instructions bench/regression.sh counts: `bench_regression_workloads NAME` prepares one from fixed seeds,
// warms up, and does it once more inside `measured_work`, the only function that callgrind collects. One thread; without a name
// it lists them.
#include "retort/bench/step/meter.h"
#include "retort/bench/suite/step_runner.h"
#include "retort/core/random.h"
#include "retort/data/synthetic.h"
#include "retort/data/windowing.h"
#include "retort/nn/predict.h"

#include <fmt/core.h>
#include <stdlib.h>

#include <cstdio>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

/// By this name callgrind finds it, so it must stay a function of its own, and the call in it must not become a jump.
extern "C" [[gnu::noinline]] void measured_work(const std::function<void()>& work) {
  work();
  asm volatile("" ::: "memory");
}

namespace {

using namespace retort;
namespace fs = std::filesystem;
using Work = std::function<void()>;

/// Smooth-Distill with mtl-net, batch 64. The steps that warm up ask for all memory, but their kernels do nothing: an emulated
/// multiply-add takes half a microsecond, a whole step most of a minute. Then `impl` takes over; without one, what is counted is
/// the engine around the kernels.
Work training(std::string_view impl, int steps) {
  auto context = std::make_shared<Context>(Device::cpu, 1);
  auto runner = std::make_shared<bench::StepRunner>(*context, bench::StepSpec{});
  bench::Meters(bench::Metering::skip, 1);
  runner->steps(2);
  use_implementations(impl, Device::cpu);
  return [context, runner, steps] { runner->steps(steps); };
}

Work warmed(Work work) {
  work();
  return work;
}

Work prediction(std::int64_t batch) {
  auto context = std::make_shared<Context>(Device::cpu, 1);
  std::shared_ptr<nn::TwoTaskModel> model = nn::make_model(*context, {"mtl-net", Shape{1, 3, 100}, {12, 3}, 0});
  model->eval();
  std::vector<float> values(static_cast<std::size_t>(batch * 300));
  Random random(1);
  for (float& value : values) value = static_cast<float>(random.normal());
  const Tensor windows = Tensor::from(*context, {batch, 1, 3, 100}, values);
  return warmed([context, model, windows] { nn::predict(*model, windows); });
}

/// One subject's synthetic recordings; removed with the last copy of the workload. One file is parsed by one thread.
struct Recordings {
  Recordings() {
    std::string name = (fs::temp_directory_path() / "retort-regression-XXXXXX").string();
    check(::mkdtemp(name.data()) != nullptr, "cannot make a directory {}", name);
    root = name;
    write_synthetic(root / "wisdm", {"wisdm", 1, 60, 1});
  }
  ~Recordings() {
    std::error_code ignored;
    fs::remove_all(root, ignored);
  }
  Recordings(const Recordings&) = delete;
  Recordings& operator=(const Recordings&) = delete;
  RawDataset read() const {
    return read_raw("wisdm", root / "wisdm/raw/watch/accel/data_1600_accel_watch.txt", {.hashes = false});
  }
  fs::path root;
};

Work parsing() {
  return warmed([recordings = std::make_shared<Recordings>()] { recordings->read(); });
}

Work windowing() {
  auto data = std::make_shared<RawDataset>(Recordings().read());
  return warmed([data] { make_windows(*data, window_preset("strict", "wisdm")); });
}

const std::vector<std::pair<std::string_view, Work (*)()>> workloads = {
    // Each list ends with what is wanted; before that stands what serves where it does not exist.
    {"step_simd", [] { return training("ref,eigen,simd", 1); }},
    {"step_eigen", [] { return training("ref,eigen", 1); }},
    {"engine_10_steps", [] { return training("", 10); }},
    {"predict_1", [] { return prediction(1); }},
    {"predict_64", [] { return prediction(64); }},
    {"parse_wisdm", parsing},
    {"windows_wisdm", windowing},
};

int run(std::string_view name) {
  for (const auto& [known, make] : workloads) {
    if (name.empty()) fmt::print("{}\n", known);
    if (name != known) continue;
    measured_work(make());
    return 0;
  }
  check<InputError>(name.empty(), "no workload '{}'; without a name, they are listed", name);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc > 1 ? argv[1] : "");
  } catch (const std::exception& error) {
    fmt::print(stderr, "bench_regression_workloads: {}\n", error.what());
    return 2;
  }
}
