// Two measurements that the table of ops does not have, made for GPUs but running on any device: the fused Adam with the moving
// average over an arena far larger than any cache, against the bandwidth of a plain copy, and the fused two-task loss from 64 to
// 65,536 rows. A kernel whose result differs from the reference is reported and not timed.
//
//   bench_kernels_gpu_points --device cuda --json points.json
//
// A GPU works on its own, so a round launches many calls and waits once; times are of a call, the medians of rounds.
#include "retort/distill/run_record.h"  // Json
#include "retort/kernels/optimizer.h"
#include "retort/kernels/registry.h"
#include "retort/kernels/softmax.h"

#include <CLI/CLI.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <functional>
#include <random>
#include <vector>

namespace {

using namespace retort;
using Floats = std::vector<float>;

struct Options {
  std::string device = "cuda", json;
  std::int64_t parameters = 64'000'000, most_rows = 65'536;
  int rounds = 15;
};

/// Memory of one device, with values from the host.
template <class T>
class DeviceArray {
 public:
  DeviceArray(Device device, const std::vector<T>& values) : memory_(memory(device)), count_(values.size()) {
    pointer_ = static_cast<T*>(memory_.allocate(count_ * sizeof(T)));
    memory_.copy_from_host(pointer_, values.data(), count_ * sizeof(T));
  }
  ~DeviceArray() { memory_.release(pointer_); }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;

  operator T*() const { return pointer_; }
  std::vector<T> values() const {
    std::vector<T> host(count_);
    memory_.copy_to_host(host.data(), pointer_, count_ * sizeof(T));
    return host;
  }

 private:
  const DeviceMemory& memory_;
  std::size_t count_;
  T* pointer_;
};

Floats normal(std::int64_t n, bool positive = false) {
  static std::mt19937 random{20240717};
  std::normal_distribution<float> draw;
  Floats values(static_cast<std::size_t>(n));
  for (float& value : values) value = positive ? std::abs(draw(random)) : draw(random);
  return values;
}

void expect_close(const std::string& what, const Floats& actual, const Floats& expected) {
  double difference = 0, size = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const double e = static_cast<double>(expected[i]);
    difference += std::pow(static_cast<double>(actual[i]) - e, 2), size += e * e;
  }
  const double error = std::sqrt(difference / std::max(size, 1e-30));
  check(error <= 1e-5, "{}: off by {:.1e} from the reference; a wrong kernel is not timed", what, error);
}

/// Seconds of a call: the median of rounds of `calls` each. On a GPU a round is one graph, as in bench/suite: launching a kernel
/// takes the host longer than small ones run.
double time_calls(Stream& stream, int rounds, int calls, const std::function<void()>& call) {
  const auto all = [&] {
    for (int i = 0; i < calls; ++i) call();
  };
  call();
  stream.synchronize();
  std::unique_ptr<WorkGraph> graph;
  if (stream.device() == Device::cuda) {
    Capture capture(stream);
    all();
    graph = capture.finish();
  }
  const auto round_of_calls = [&] { graph ? stream.queue().launch(*graph) : all(); };
  for (int i = 0; i < 3; ++i) round_of_calls();
  stream.synchronize();
  std::vector<double> seconds;
  for (int round = 0; round < rounds; ++round) {
    const auto begin = std::chrono::steady_clock::now();
    round_of_calls();
    stream.synchronize();
    seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count() / calls);
  }
  std::ranges::nth_element(seconds, seconds.begin() + rounds / 2);
  return seconds[static_cast<std::size_t>(rounds / 2)];
}

/// Bytes a second, counting what is read and what is written.
double copy_bandwidth(Device device, Stream& stream, const Options& o) {
  const DeviceArray<float> from(device, normal(o.parameters)), to(device, Floats(static_cast<std::size_t>(o.parameters)));
  const std::size_t bytes = static_cast<std::size_t>(o.parameters) * sizeof(float);
  const double seconds = time_calls(stream, o.rounds, 10, [&] { memory(device).copy(to, from, bytes); });
  return 2.0 * static_cast<double>(bytes) / seconds;
}

void check_adam(Device device, Stream& stream, const AdamHyper& hyper) {
  constexpr std::int64_t n = (1 << 20) + 3;
  const Floats p = normal(n), g = normal(n), m = normal(n), v = normal(n, true), teacher = normal(n);
  const auto run = [&](Device on, Stream& s, const char* name) {
    const DeviceArray<float> dp(on, p), dg(on, g), dm(on, m), dv(on, v), dt(on, teacher);
    const DeviceArray<std::int32_t> step(on, {3});
    const auto& table = KernelTable<OptimizerKernels>::instance();
    (name != nullptr ? table.get(on, name) : table.get(on)).adam_ema(s, n, hyper, step, dp, dg, dm, dv, dt);
    s.synchronize();
    Floats all = dp.values();
    for (const Floats& more : {dm.values(), dv.values(), dt.values()}) all.insert(all.end(), more.begin(), more.end());
    return all;
  };
  Stream host(Device::cpu, 1);
  expect_close("adam_ema", run(device, stream, nullptr), run(Device::cpu, host, "ref"));
}

Json measure_adam(Device device, Stream& stream, const Options& o) {
  AdamHyper hyper;
  hyper.ema = 0.999f;
  hyper.lr = 1e-6f;  // so that many timed steps leave the weights where they are
  check_adam(device, stream, hyper);
  const std::int64_t n = o.parameters;
  const DeviceArray<float> p(device, normal(n)), g(device, normal(n)), m(device, normal(n)), v(device, normal(n, true)),
      teacher(device, normal(n));
  const DeviceArray<std::int32_t> step(device, {3});
  const double seconds = time_calls(
      stream, o.rounds, 10, [&] { kernel<OptimizerKernels>(device).adam_ema(stream, n, hyper, step, p, g, m, v, teacher); });
  // Reads the weights, their gradient, m, v and the teacher, and writes all but the gradient.
  const double gbs = 9.0 * sizeof(float) * static_cast<double>(n) / seconds * 1e-9;
  return {{"parameters", n}, {"us", seconds * 1e6}, {"gbs", gbs}};
}

/// 18 and 2 classes: WISDM's activities and its two devices.
Json measure_loss(Device device, Stream& stream, const Options& o, std::int64_t rows) {
  constexpr std::int64_t c1 = 18, c2 = 2;
  const Floats z1 = normal(rows * c1), z2 = normal(rows * c2), t1 = normal(rows * c1), t2 = normal(rows * c2);
  std::vector<std::int32_t> l1(static_cast<std::size_t>(rows)), l2 = l1;
  std::mt19937 random{7};
  for (auto& label : l1) label = static_cast<std::int32_t>(random() % c1);
  for (auto& label : l2) label = static_cast<std::int32_t>(random() % c2);
  const MultitaskShape shape{rows, c1, c2};
  double seconds = 0;
  const auto run = [&](Device on, Stream& s, const MultitaskDistillKernels& kernels, bool timed) {
    const DeviceArray<float> dz1(on, z1), dz2(on, z2), dt1(on, t1), dt2(on, t2);
    const DeviceArray<std::int32_t> dl1(on, l1), dl2(on, l2);
    const DeviceArray<float> losses(on, Floats(multitask_loss_count)), d1(on, Floats(z1.size())), d2(on, Floats(z2.size()));
    const auto call = [&] { kernels.forward(s, shape, dz1, dz2, dt1, dt2, dl1, dl2, losses, d1, d2); };
    call();
    s.synchronize();
    Floats all = losses.values();
    for (const Floats& more : {d1.values(), d2.values()}) all.insert(all.end(), more.begin(), more.end());
    if (timed) seconds = time_calls(s, o.rounds, device == Device::cuda ? 200 : 1, call);
    return all;
  };
  Stream host(Device::cpu, 1);
  const auto& table = KernelTable<MultitaskDistillKernels>::instance();
  const Floats expected = run(Device::cpu, host, table.get(Device::cpu, "ref"), false);
  expect_close(fmt::format("multitask_distill_loss of {} rows", rows), run(device, stream, table.get(device), true), expected);
  return {{"rows", rows}, {"classes", {c1, c2}}, {"us", seconds * 1e6}};
}

int run(const Options& o) {
  const Device device = parse_device(o.device);
  register_kernels();
  Stream stream(device);
  fmt::print("{}\n", describe(device));
  const double copy = copy_bandwidth(device, stream, o) * 1e-9;
  fmt::print("copy of {} floats: {:.1f} GB/s, read and written\n", o.parameters, copy);
  Json adam = measure_adam(device, stream, o);
  fmt::print("Adam with moving average, {} parameters: {:.1f} us, {:.1f} GB/s, {:.1f} % of the copy\n", o.parameters,
             adam["us"].get<double>(), adam["gbs"].get<double>(), 100 * adam["gbs"].get<double>() / copy);
  Json losses = Json::array();
  for (std::int64_t rows = 64; rows <= o.most_rows; rows *= 4) {
    losses.push_back(measure_loss(device, stream, o, rows));
    fmt::print("two-task loss and gradients, {} rows: {:.2f} us\n", rows, losses.back()["us"].get<double>());
  }
  const Json result = {
      {"what", "gpu points"}, {"machine", describe(device)}, {"copy_gbs", copy}, {"adam_ema", adam}, {"losses", losses}};
  if (!o.json.empty()) {
    std::ofstream file(o.json);
    file << result.dump(1) << "\n";
    check<InputError>(file.good(), "{}: cannot be written", o.json);
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  Options o;
  CLI::App app{"The fused optimiser against a copy, and the fused two-task loss by number of rows"};
  app.option_defaults()->always_capture_default();
  app.add_option("--device", o.device, "cuda; cpu and cuda_sim to try the program");
  app.add_option("--parameters", o.parameters, "Of the optimiser")->check(CLI::PositiveNumber);
  app.add_option("--most-rows", o.most_rows, "Of the loss: 64, 256, ... up to this")->check(CLI::PositiveNumber);
  app.add_option("--rounds", o.rounds, "Timed rounds, each waited for once")->check(CLI::PositiveNumber);
  app.add_option("--json", o.json, "Also write the result here");
  CLI11_PARSE(app, argc, argv);
  try {
    return run(o);
  } catch (const std::exception& error) {
    fmt::print(stderr, "bench_kernels_gpu_points: {}\n", error.what());
    return 2;
  }
}
