#include "retort/bench/suite/bench.h"

#include "retort/bench/suite/machine.h"
#include "retort/bench/suite/op_bench.h"
#include "retort/bench/suite/step_runner.h"
#include "retort/kernels/thread_team.h"
#include "retort/nn/models/model.h"

#include <benchmark/benchmark.h>

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <regex>

namespace retort::bench {
namespace {

/// One bench: what is timed, by whom, and what it needs.
struct Entry {
  std::string op, name, implementation;
  double flops = 0, bytes = 0;
  std::string full_name() const { return name + "/" + implementation; }
};

struct Result {
  Entry entry;
  std::vector<double> seconds;  ///< of each repetition, rising
  std::string error;
  double median() const { return seconds[seconds.size() / 2]; }
  bool finished(int repetitions) const { return !error.empty() || seconds.size() == static_cast<std::size_t>(repetitions); }
};

std::regex parse_filter(const std::string& text) {
  try {
    return std::regex(text);
  } catch (const std::regex_error& error) {
    fail<InputError>("bench: --filter '{}' is not a regular expression: {}", text, error.what());
  }
}

struct Suite {
  Suite(const Options& o, const Twins& t)
      : options(o),
        device(parse_device(o.device)),
        stream(device, o.threads),
        filter(parse_filter(o.filter)),
        twins(t),
        table(op_table(o.batch, t)) {}

  const Options& options;
  Device device;
  Stream stream;
  std::regex filter;
  Twins twins;
  std::vector<OpBench> table;
  Roof roof;
  std::vector<Result> results;

  bool wanted(const Entry& entry) const {
    return (options.impl.empty() || entry.implementation == options.impl) && std::regex_search(entry.full_name(), filter);
  }
  int threads() const { return device == Device::cpu ? stream.threads().size() : 0; }
};

/// The one bench that is being timed: its arrays and what came out when it was checked. Google Benchmark calls a bench's function
/// several times, and again for each repetition.
struct Prepared {
  std::string name, error;
  std::optional<DeviceArrays> arrays;
  Run run;
};

/// Time per call. A device that can replay captured work gets many calls as one graph, like those of a captured training step:
/// the time that the host needs to launch them, often longer than theirs, is not in it.
void time_calls(benchmark::State& state, Stream& stream, const std::function<void()>& call) {
  if (!stream.queue().can_capture()) {
    for (auto _ : state) call(), stream.synchronize();
    return;
  }
  const benchmark::IterationCount group = stream.device() == Device::cuda ? 50 : 1;
  Capture capture(stream);
  for (benchmark::IterationCount i = 0; i < group; ++i) call();
  const std::unique_ptr<WorkGraph> graph = capture.finish();
  stream.queue().launch(*graph);  // the first launch also brings the graph to the GPU
  stream.synchronize();
  while (state.KeepRunningBatch(group)) {
    stream.queue().launch(*graph);
    stream.synchronize();
  }
}

void enlist(Suite& suite, const Entry& entry, std::function<void(benchmark::State&)> run) {
  benchmark::RegisterBenchmark(entry.full_name().c_str(), std::move(run))
      ->UseRealTime()
      ->Unit(benchmark::kMicrosecond)
      ->MinTime(suite.options.seconds)
      ->Repetitions(suite.options.repetitions);
}

void add_op(Suite& suite, const OpBench& row, const Entry& entry, std::function<Run()> make) {
  static Prepared prepared;
  enlist(suite, entry, [&suite, &row, entry, make](benchmark::State& state) {
    try {
      if (prepared.name != entry.full_name()) {
        Draw draw;
        const Arrays before = row.make(draw);
        prepared.name = entry.full_name();
        prepared.error.clear();
        prepared.run = make();
        prepared.arrays.emplace(suite.device, before);
        prepared.error = check_row(row, before, prepared.run, suite.stream, *prepared.arrays);
      }
      if (prepared.error.empty()) time_calls(state, suite.stream, [&] { prepared.run(suite.stream, *prepared.arrays); });
    } catch (const Error& error) {  // a library may have nothing for a shape: the others are still measured
      prepared.error = error.what();
    }
    if (!prepared.error.empty()) state.SkipWithError(prepared.error.c_str());
  });
}

/// Enters a bench into the results when it is wanted.
bool take(Suite& suite, const Entry& entry) {
  if (!suite.wanted(entry)) return false;
  suite.results.push_back({entry, {}, {}});
  return true;
}

void add_ops(Suite& suite) {
  for (const OpBench& row : suite.table) {
    for (const std::string& implementation : row.implementations(suite.device)) {
      const Entry entry{row.op, row.name, implementation, row.flops, row.bytes};
      if (implementation != "ref" && take(suite, entry))
        add_op(suite, row, entry, [&suite, &row, implementation] { return row.bind(suite.device, implementation); });
    }
    if (suite.device != Device::cpu) continue;
    for (const Twin& twin : row.twins) {
      const Entry entry{row.op, row.name, twin.name, row.flops, row.bytes};
      if (take(suite, entry)) add_op(suite, row, entry, [&suite, &twin] { return twin.make(suite.threads()); });
    }
  }
}

/// Whole steps with the kernels in use (--impl chooses among them for one op at a time, not here).
void add_steps(Suite& suite) {
  for (const char* form : {"mtl-net", "mtl-net-released", "mtl-net-paper"})
    for (const char* method : {"smooth-distill", "multi-task", "sd-dropout"}) {
      const StepSpec spec{form, method, suite.options.batch};
      Entry entry{"step", fmt::format("step_{}/{}/{}", suite.options.batch, form, method), "default"};
      if (!suite.wanted(entry)) continue;
      const auto make = [&suite] { return std::make_unique<Context>(suite.device, suite.options.threads); };
      {
        const auto context = make();
        const StepNeeds needs = StepRunner(*context, spec).needs();
        entry.flops = needs.flops, entry.bytes = needs.bytes;
      }
      take(suite, entry);
      enlist(suite, entry, [make, spec](benchmark::State& state) {
        const auto context = make();
        StepRunner runner(*context, spec);
        for (int i = 0; i < 5; ++i) runner.steps();  // the first ones ask for memory
        for (auto _ : state) runner.steps();
      });
    }
}

/// The share of what the machine can do at best. Ops: the nearer of the two roofs. A step has a part under each, one after the
/// other.
double share_of_roof(const Suite& suite, const Entry& e, double seconds) {
  const double compute = e.flops / suite.roof.flops, memory = e.bytes / suite.roof.bytes;
  return (e.op == "step" ? compute + memory : std::max(compute, memory)) / seconds;
}

/// What a bench gave to SkipWithError; empty when it ran. Google Benchmark 1.8 has other names for it.
template <class Run>
std::string error_of(const Run& run) {
  if constexpr (requires { run.error_occurred; })
    return run.error_occurred ? run.error_message : std::string();
  else
    return static_cast<bool>(run.skipped) ? run.skip_message : std::string();
}

void save(const Suite& suite);

/// Collects every repetition instead of printing.
class Collector final : public benchmark::BenchmarkReporter {
 public:
  explicit Collector(Suite& suite) : suite_(suite) {}
  bool ReportContext(const Context&) override { return true; }
  void ReportRuns(const std::vector<Run>& runs) override {
    for (const Run& run : runs) {
      if (run.run_type != Run::RT_Iteration) continue;
      // "name/min_time:0.050/repeats:5/real_time"
      const auto at = std::ranges::find_if(
          suite_.results, [&](const Result& r) { return run.benchmark_name().starts_with(r.entry.full_name() + "/"); });
      if (at == suite_.results.end()) continue;
      if (std::string error = error_of(run); !error.empty())
        at->error = std::move(error);
      else
        at->seconds.push_back(run.real_accumulated_time / static_cast<double>(run.iterations));
      if (at->finished(suite_.options.repetitions)) finish(*at);
    }
  }

 private:
  void finish(Result& r) {
    if (!r.error.empty()) {
      fmt::print("{:<52} {}\n", r.entry.full_name(), r.error);
      save(suite_);
      return;
    }
    std::ranges::sort(r.seconds);
    const double time = r.median();
    const auto rate = [&](double amount) { return amount > 0 ? fmt::format("{:.1f}", amount * 1e-9 / time) : std::string("-"); };
    const auto share = suite_.roof.flops > 0 ? fmt::format("{:.2f}", share_of_roof(suite_, r.entry, time)) : std::string("-");
    fmt::print("{:<52} {:10.2f} {:10.2f} {:9} {:8} {:>6}\n", r.entry.full_name(), time * 1e6, r.seconds.front() * 1e6,
               rate(r.entry.flops), rate(r.entry.bytes), share);
    std::fflush(stdout);
    save(suite_);
  }
  Suite& suite_;
};

Json to_json(const Suite& suite) {
  Json results = Json::array();
  for (const Result& r : suite.results) {
    if (!r.finished(suite.options.repetitions)) continue;
    Json item = {{"op", r.entry.op}, {"name", r.entry.name}, {"impl", r.entry.implementation}};
    if (!r.error.empty()) {
      item["error"] = r.error;
    } else {
      item.update({{"median_us", r.median() * 1e6},
                   {"min_us", r.seconds.front() * 1e6},
                   {"max_us", r.seconds.back() * 1e6},
                   {"flops", r.entry.flops},
                   {"bytes", r.entry.bytes}});
      if (suite.roof.flops > 0) item["of_roof"] = share_of_roof(suite, r.entry, r.median());
    }
    results.push_back(std::move(item));
  }
  Json json = {{"what", "bench"},
               {"machine", machine(suite.device, suite.threads())},
               {"batch", suite.options.batch},
               {"repetitions", suite.options.repetitions},
               {"seconds", suite.options.seconds},
               {"twins", suite.twins.versions ? suite.twins.versions() : std::vector<std::string>{}}};
  if (suite.roof.flops > 0) json["roof"] = {{"flops", suite.roof.flops}, {"bytes", suite.roof.bytes}};
  json["results"] = std::move(results);
  return json;
}

/// What is finished so far: whoever is cut off leaves that.
void save(const Suite& suite) {
  if (!suite.options.json.empty() && suite.options.json != "-") write_json(suite.options.json, to_json(suite));
}

}  // namespace

int run(const Options& options, const Twins& twins) {
  Suite suite(options, twins);
  add_ops(suite);
  add_steps(suite);
  check<InputError>(!suite.results.empty(), "bench: no bench on {} matches --filter '{}'{}", options.device, options.filter,
                    options.impl.empty() ? std::string() : fmt::format(" --impl {}", options.impl));
  if (options.list) {
    for (const Result& result : suite.results) fmt::print("{}\n", result.entry.full_name());
    return 0;
  }
  fmt::print("{}\n", describe(suite.device));
  if (suite.device == Device::cpu) {
    suite.roof = measure_roof(suite.threads());
    fmt::print("{} threads, batch {}; roof, measured now: {:.0f} GFLOP/s, {:.1f} GB/s\n", suite.threads(), options.batch,
               suite.roof.flops * 1e-9, suite.roof.bytes * 1e-9);
  }
  fmt::print("{:<52} {:>10} {:>10} {:9} {:8} {:>6}\n", "", "median us", "min us", "GFLOP/s", "GB/s", "roof");
  int count = 1;
  char name[] = "retort";
  char* arguments[] = {name, nullptr};
  benchmark::Initialize(&count, arguments);
  Collector collector(suite);
  benchmark::RunSpecifiedBenchmarks(&collector);
  if (!options.json.empty()) write_json(options.json, to_json(suite));
  return std::ranges::any_of(suite.results, [](const Result& r) { return !r.error.empty(); }) ? 1 : 0;
}

}  // namespace retort::bench
