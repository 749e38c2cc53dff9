// Times prediction, a batch of windows that is ready in memory to the logits of both tasks, and with --peer the same in PyTorch,
// taking turns in one run:
//
//   bench_infer_infer --batch 1 --threads 1 --peer "/usr/bin/python3 bench/peers/torch_infer.py"
//
// By default the weights are random and the windows noise; --weights and --data take those of a run. Ours is faster with trained
// weights, for its products skip the zeros behind a ReLU; PyTorch's time does not depend on them.
//
// It first compares the fused path with the layers one by one and refuses to time a wrong result.
#include "retort/bench/suite/peer.h"
#include "retort/core/random.h"
#include "retort/core/version.h"
#include "retort/data/prepared.h"
#include "retort/distill/batches.h"
#include "retort/distill/weights.h"
#include "retort/kernels/registry.h"
#include "retort/nn/predict.h"

#include <fmt/core.h>
#include <CLI/CLI.hpp>

#include <chrono>
#include <cmath>
#include <cstdio>
#include <fstream>

namespace {

using namespace retort;

struct Options {
  std::string form = "mtl-net", weights, data, impl, peer, json;
  int batch = 1, calls = 200, threads = 1, rounds = 3;
};

Tensor noise(Context& context, std::int64_t windows) {
  std::vector<float> values(static_cast<std::size_t>(windows * 300));
  Random random(1);
  for (float& value : values) value = static_cast<float>(random.normal());
  return Tensor::from(context, {windows, 1, 3, 100}, values);
}

/// What is timed: a model, and windows for it.
struct Subject {
  std::unique_ptr<nn::TwoTaskModel> model;
  Tensor windows;
};

Subject random_subject(Context& context, const Options& o) {
  Subject subject{nn::make_model(context, {o.form, Shape{1, 3, 100}, {12, 3}, 0}), noise(context, o.batch)};
  subject.model->eval();
  return subject;
}

/// Trained weights, and windows from all over the file.
Subject trained_subject(Context& context, Options& o) {
  LoadedModel loaded = load_weights(context, o.weights);
  o.form = loaded.info.arch;
  const WindowSet windows = load_prepared(o.data);
  check<InputError>(windows.count() >= o.batch, "--batch {}: {} has {} windows", o.batch, o.data, windows.count());
  std::vector<std::int32_t> rows(static_cast<std::size_t>(o.batch));
  for (std::size_t i = 0; i < rows.size(); ++i)
    rows[i] = static_cast<std::int32_t>(static_cast<std::int64_t>(i) * windows.count() / o.batch);
  const DeviceData data(context, windows, o.batch);
  return {std::move(loaded.model), data.gather(rows).windows.clone()};
}

void check_result(const nn::TwoTaskModel& model, const Tensor& windows) {
  const std::vector<float> expected = model.forward(windows).task1.to_vector();  // with gradients: layer by layer
  const std::vector<float> got = nn::predict(model, windows).task1.to_vector();
  double difference = 0, size = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    difference += std::pow(got[i] - expected[i], 2);
    size += std::pow(expected[i], 2);
  }
  check(std::sqrt(difference) <= 1e-5 * std::sqrt(size), "the result is wrong by {}: not timed", std::sqrt(difference / size));
}

std::vector<double> time_calls(const nn::TwoTaskModel& model, const Tensor& windows, int calls) {
  std::vector<double> ms;
  for (int i = -calls / 5 - 2; i < calls; ++i) {  // the first ones warm up
    const auto begin = std::chrono::steady_clock::now();
    const nn::Logits logits = nn::predict(model, windows);
    windows.context().synchronize();
    if (i >= 0) ms.push_back(std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count());
  }
  return ms;
}

int run(Options o) {
  Context context(Device::cpu, o.threads);
  if (!o.impl.empty()) use_implementation("*", Device::cpu, o.impl);
  check<InputError>(o.weights.empty() == o.data.empty(), "give both --weights and --data, or neither");
  const auto [model, windows] = o.weights.empty() ? random_subject(context, o) : trained_subject(context, o);
  check_result(*model, windows);

  bench::Peer peer(o.peer.empty() ? ""
                                  : fmt::format("{} --form {} --batch {} --calls {} --threads {} --json -", o.peer, o.form,
                                                o.batch, o.calls, o.threads));
  std::vector<double> ours;
  for (int round = 0; round < o.rounds; ++round) {
    const auto ms = time_calls(*model, windows, o.calls);
    ours.insert(ours.end(), ms.begin(), ms.end());
    peer.take_turn();
  }
  const bench::Stats mine = bench::stats(ours);
  const bench::Columns columns{8, 3};
  fmt::print("prediction, {}, batch {}, {} thread(s), {}\n", o.form, o.batch, o.threads, describe(Device::cpu));
  bench::print_ours(mine, columns, ours.size(), "calls");
  Json result = {{"what", "prediction"},
                 {"form", o.form},
                 {"batch", o.batch},
                 {"threads", o.threads},
                 {"machine", describe(Device::cpu)},
                 {"compiler", compiler()},
                 {"impl", o.impl},
                 {"trained", !o.weights.empty()},
                 {"calls", ours.size()},
                 {"infer_median_ms", mine.median},
                 {"infer_min_ms", mine.fastest},
                 {"infer_p90_ms", mine.p90}};
  peer.report(mine, columns, result);
  if (!o.json.empty()) std::ofstream(o.json) << result.dump(2) << "\n";
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  Options o;
  CLI::App app{"Prediction, timed; with --peer beside PyTorch's, taking turns"};
  app.option_defaults()->always_capture_default();
  app.add_option("--form", o.form, "Model");
  app.add_option("--weights", o.weights,
                 "Weights of a run instead of random ones, e.g. RUN_DIR/best.safetensors; then also --data");
  app.add_option("--data", o.data, "Prepared file whose windows are predicted");
  app.add_option("--batch", o.batch, "Windows a call");
  app.add_option("--calls", o.calls, "Timed calls a round");
  app.add_option("--rounds", o.rounds, "Turns");
  app.add_option("--threads", o.threads, "Host threads");
  app.add_option("--impl", o.impl, "Kernels to use where they exist: eigen, simd, ref");
  app.add_option("--peer", o.peer, "Command of the peer, e.g. \"/usr/bin/python3 bench/peers/torch_infer.py\"");
  app.add_option("--json", o.json, "Also write the result here");
  CLI11_PARSE(app, argc, argv);
  try {
    return run(o);
  } catch (const std::exception& error) {
    fmt::print(stderr, "bench_infer: {}\n", error.what());
    return 2;
  }
}
