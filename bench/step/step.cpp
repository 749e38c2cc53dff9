// Times a whole training step (gather, forward, backward, losses, Adam, teacher) as `retort train` does it, and with --peer the
// same work in PyTorch, taking turns in one run:
//
//   bench_step_step --form mtl-net --threads 2 --peer "/usr/bin/python3 bench/peers/torch_step.py"
//
// Steps are too long for a micro-benchmark library and their spread matters, so this counts them itself.
#include "retort/bench/step/meter.h"
#include "retort/bench/suite/machine.h"
#include "retort/bench/suite/peer.h"
#include "retort/bench/suite/replicas.h"
#include "retort/bench/suite/step_runner.h"
#include "retort/core/version.h"
#include "retort/kernels/registry.h"
#include "retort/kernels/thread_team.h"

#include <fmt/ranges.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <iostream>

namespace {

using namespace retort;

struct Options {
  std::string form = "mtl-net", method = "smooth-distill", device = "cpu", impl, peer, json;
  int batch = 64, steps = 100, warm_up = 10, threads = 0, rounds = 3, replicas = 0;
  bool breakdown = false, no_kernels = false, tf32 = false, no_graph = false, launches = false;
};

/// Milliseconds of a step. A GPU works on its own, as in training, where the host waits once an epoch: its steps are timed in
/// groups that are waited for once.
std::vector<double> time_steps(bench::StepRunner& runner, const Options& o) {
  std::vector<double> ms;
  const int group = o.device == "cuda" ? std::min(o.steps, 20) : 1;
  for (int i = 0; i < o.warm_up + o.steps; i += group) {
    const auto begin = std::chrono::steady_clock::now();
    runner.steps(group);
    const double spent = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
    if (i >= o.warm_up) ms.push_back(spent / group);
  }
  return ms;
}

/// Where the time went, kernel by kernel, with the floor of each; the same as JSON.
Json print_breakdown(bench::StepRunner& runner, const Options& o, int threads) {
  const bench::Meters meters(bench::Metering::time, threads);
  const double step = bench::stats(time_steps(runner, o)).median, steps = o.steps + o.warm_up;
  const char* layout = "{:<28}{:>18}{:>7.0f}{:>10.3f}{:>9.1f}{:>9.1f}{:>10.3f}{:>7.2f}\n";
  fmt::print("\n{:<28}{:>18}{:>7}{:>10}{:>9}{:>9}{:>10}{:>7}\n", "medians", "layer", "calls", "ms/step", "GFLOP/s", "GB/s",
             "floor ms", "times");
  double kernels = 0, small = 0, floor = 0, small_floor = 0;
  Json list = Json::array();
  for (const auto& m : bench::Meters::rows()) {
    const double calls = static_cast<double>(m.seconds.size()) / steps, ms = bench::stats(m.seconds).median * calls * 1e3,
                 least = m.floor / steps * 1e3;
    kernels += ms, floor += least;
    list.push_back({{"kernel", m.name}, {"from", m.from}, {"to", m.to}, {"calls", calls}, {"ms", ms}, {"floor_ms", least}});
    if (ms < 0.002 * step)
      small += ms, small_floor += least;
    else
      fmt::print(fmt::runtime(layout), m.name, fmt::format("{} > {}", m.from, m.to), calls, ms, m.flops / steps / ms / 1e6,
                 m.bytes / steps / ms / 1e6, least, ms / least);
  }
  const double flops = bench::Meters::machine()->flops() / 1e9, bytes = bench::Meters::machine()->bandwidth(1e9) / 1e9;
  fmt::print("{:<53}{:>10.3f}{:>28.3f}\n", "others", small, small_floor);
  fmt::print("{:<53}{:>10.3f}{:>28.3f}\n", "all kernels", kernels, floor);
  fmt::print("{:<53}{:>10.3f}\n", "between kernels", step - kernels);
  fmt::print("roof {:.0f} GFLOP/s, {:.1f} GB/s\n", flops, bytes);
  return {{"roof_gflops", flops}, {"roof_gbs", bytes}, {"floor_ms", floor}, {"step_ms", step}, {"kernels", list}};
}

/// What the captured step consists of, in order; the same as JSON. Depth: how many pieces of work have to be done one after
/// another up to this one.
Json print_launches(bench::StepRunner& runner) {
  runner.steps(StepGraph::warm_up + 1);
  const std::vector<WorkNode> nodes = runner.graph().nodes();
  check<InputError>(!nodes.empty(), "--launches: this device does not tell what it has captured; use --device cuda_sim");
  fmt::print("{:<4}{:<34}{:>16}{:>10}{:>8}{:>10}{:>7}\n", "", "", "grid", "blocks", "threads", "bytes", "depth");
  Json list = Json::array();
  std::size_t kernels = 0, fills = 0, depth = 0;
  for (const WorkNode& n : nodes) {
    const unsigned blocks = n.grid[0] * n.grid[1] * n.grid[2], threads = n.block[0] * n.block[1] * n.block[2];
    fmt::print("{:<4}{:<34}{:>16}{:>10}{:>8}{:>10}{:>7}\n", n.beside ? "  |" : "", n.name,
               n.is_kernel() ? fmt::format("{}", fmt::join(n.grid, " x ")) : "", blocks, threads, n.bytes, n.depth);
    list.push_back(
        {{"name", n.name}, {"grid", n.grid}, {"block", n.block}, {"bytes", n.bytes}, {"beside", n.beside}, {"depth", n.depth}});
    kernels += n.is_kernel(), fills += n.name == "fill", depth = std::max(depth, n.depth);
  }
  const std::size_t copies = nodes.size() - kernels - fills;
  fmt::print("{} kernels, {} copies, {} fills; the longest chain of dependent ones: {}\n", kernels, copies, fills, depth);
  return {{"kernels", kernels}, {"copies", copies}, {"fills", fills}, {"depth", depth}, {"nodes", list}};
}

/// What was measured, and on what.
Json description(const Options& o, Device device, int threads) {
  return {{"method", o.method},
          {"form", o.form},
          {"batch", o.batch},
          {"threads", threads},
          {"machine", describe(device)},
          {"compiler", compiler()},
          {"device", o.device},
          {"impl", o.impl},
          {"tf32", o.tf32},
          {"graph", device != Device::cpu && !o.no_graph},
          {"steps", o.rounds * o.steps}};
}

/// How many more windows a second runs side by side learn from than one after another.
Json print_replicas(const Options& o, Device device, int threads) {
  const bench::ReplicaTimes times = bench::time_replicas(device, o.tf32, {o.form, o.method, o.batch, !o.no_graph}, o.replicas,
                                                         o.threads, o.steps, o.warm_up, o.rounds);
  const bench::Stats alone = bench::stats(times.alone), beside = bench::stats(times.side_by_side);
  const double ratio = alone.median / beside.median;
  fmt::print("{} {}, batch {}, {}\n", o.method, o.form, o.batch, describe(device));
  fmt::print("one run, {} host threads:                       {:8.3f} ms a step (fastest {:.3f})\n", threads, alone.median,
             alone.fastest);
  fmt::print("{} runs side by side, {} host threads each:      {:8.3f} ms a step of each, divided by {} (fastest {:.3f})\n",
             times.together, times.threads, beside.median, times.together, beside.fastest);
  fmt::print("so many times the throughput: {:.2f}\n", ratio);
  Json result = description(o, device, threads);
  result.update({{"replicas", o.replicas},
                 {"together", times.together},
                 {"threads_each", times.threads},
                 {"alone_ms", alone.median},
                 {"alone_min_ms", alone.fastest},
                 {"beside_ms", beside.median},
                 {"beside_min_ms", beside.fastest},
                 {"throughput_ratio", ratio}});
  return result;
}

int run(const Options& o) {
  const Device device = parse_device(o.device);
  use_implementations(o.impl, device);
  if (o.replicas > 0) {
    check<InputError>(o.peer.empty() && !o.breakdown && !o.no_kernels && !o.launches,
                      "--replicas goes with none of --peer, --breakdown, --no-kernels and --launches");
    const Json result = print_replicas(o, device, o.threads > 0 ? o.threads : ThreadTeam::available());
    if (!o.json.empty()) std::ofstream(o.json) << result.dump(2) << "\n";
    return 0;
  }
  Context context(device, o.threads);
  context.stream().set_tf32(o.tf32);
  const int threads = o.threads > 0 ? o.threads : ThreadTeam::available();
  bench::StepRunner runner(context, {o.form, o.method, o.batch, !o.no_graph});

  check<InputError>(device == Device::cpu || (!o.breakdown && !o.no_kernels && o.peer.empty()),
                    "--breakdown, --no-kernels and --peer are for --device cpu; on a GPU the peer is bench/peers/torch_gpu.py");
  if (o.no_kernels) bench::Meters(bench::Metering::skip, threads);
  if (o.launches) {
    const Json launches = print_launches(runner);
    if (!o.json.empty()) std::ofstream(o.json) << launches.dump(2) << "\n";
    return 0;
  }

  bench::Peer peer(o.peer.empty() ? ""
                                  : fmt::format("{} --form {} --method {} --batch {} --steps {} --threads {} --json -", o.peer,
                                                o.form, o.method, o.batch, o.steps, threads));
  std::vector<double> ours, round_trips;
  for (int round = 0; round < o.rounds; ++round) {
    if (device == Device::cpu && threads > 1) round_trips.push_back(bench::line_round_trip_ns());
    const auto ms = time_steps(runner, o);
    ours.insert(ours.end(), ms.begin(), ms.end());
    peer.take_turn();
  }
  const bench::Stats mine = bench::stats(ours);
  const bench::Columns columns{7, 2};
  fmt::print("{} {}, batch {}, {} threads, {}\n", o.method, o.form, o.batch, threads, describe(device));
  bench::print_ours(mine, columns, static_cast<std::size_t>(o.rounds) * static_cast<std::size_t>(o.steps), "steps");
  Json result = description(o, device, threads);
  result.update({{"median_ms", mine.median},
                 {"median_us", 1e3 * mine.median},
                 {"min_ms", mine.fastest},
                 {"p90_ms", mine.p90},
                 {"round_trip_ns", round_trips}});
  if (!round_trips.empty()) {
    const auto [nearest, farthest] = std::minmax_element(round_trips.begin(), round_trips.end());
    fmt::print("a cache line from one processor to another and back, before each turn: {:.0f} to {:.0f} ns\n", *nearest,
               *farthest);
  }
  peer.report(mine, columns, result);
  if (o.breakdown) {
    result["breakdown"] = print_breakdown(runner, o, threads);
    const double floor = result["breakdown"]["floor_ms"].get<double>();
    fmt::print("floor {:.2f} ms: the step's median is {:.2f} x, its minimum {:.2f} x\n", floor, mine.median / floor,
               mine.fastest / floor);
  }
  if (!o.json.empty()) std::ofstream(o.json) << result.dump(2) << "\n";
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  Options o;
  CLI::App app{"One training step, timed; with --peer beside PyTorch's, taking turns"};
  app.option_defaults()->always_capture_default();
  app.add_option("--form", o.form, "Model");
  app.add_option("--method", o.method, "Training method");
  app.add_option("--batch", o.batch, "Windows a step");
  app.add_option("--steps", o.steps, "Timed steps a round");
  app.add_option("--warm-up", o.warm_up, "Steps before that");
  app.add_option("--rounds", o.rounds, "Turns");
  app.add_option("--threads", o.threads, "0: all that this process may use");
  app.add_option("--replicas", o.replicas,
                 "Instead: so many runs side by side (as `retort train --ensemble`) beside one that has all threads, in turns");
  app.add_option("--device", o.device, "cpu, cuda or cuda_sim");
  app.add_option("--impl", o.impl,
                 "Kernels instead of the defaults: eigen for all ops that have it, or conv2d=cudnn,linear=cublaslt");
  app.add_flag("--tf32", o.tf32, "Matrix products and convolutions on tensor cores, in TF32");
  app.add_flag("--launches", o.launches, "Only list the kernels, copies and fills of the captured step (--device cuda_sim)");
  app.add_flag("--no-graph", o.no_graph, "Launch every kernel instead of replaying the captured step");
  app.add_option("--peer", o.peer, "Command of the peer, e.g. \"/usr/bin/python3 bench/peers/torch_step.py\"");
  app.add_option("--json", o.json, "Also write the result here");
  app.add_flag("--breakdown", o.breakdown, "Then also: the time of each kernel, and the least that the machine's roof allows");
  app.add_flag("--no-kernels", o.no_kernels, "Kernels do nothing: the time of the engine alone");
  CLI11_PARSE(app, argc, argv);
  try {
    return run(o);
  } catch (const std::exception& error) {
    fmt::print(stderr, "bench_step: {}\n", error.what());
    return 2;
  }
}
