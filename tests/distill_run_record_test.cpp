#include "retort/distill/run_record.h"

#include "catch.h"
#include "fake_runs.h"
#include "retort/core/file.h"

#include <random>

namespace {

using namespace retort;

std::string error_of(const auto& action) {
  try {
    action();
  } catch (const InputError& error) {
    return error.what();
  }
  return "no InputError";
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

TEST_CASE("a run is read back as it was written") {
  const fake::TemporaryDirectory directory;
  const unsigned seed = std::random_device{}();
  CAPTURE(seed);
  const RunRecord written = fake::run(directory.path() / "run", fake::config("smooth-distill"), 0.9, seed);
  fake::write(written);
  const RunRecord read = load_run(directory.path() / "run");
  CHECK(read.name() == "run");
  CHECK(to_json(read.config) == to_json(written.config));
  REQUIRE(read.epochs.size() == written.epochs.size());
  REQUIRE(read.steps.size() == written.steps.size());
  for (std::size_t i = 0; i < read.epochs.size(); ++i) {
    CHECK(fields_to_json(read.epochs[i]) == fields_to_json(written.epochs[i]));
    CHECK(fields_to_json(read.steps[i]) == fields_to_json(written.steps[i]));
  }
  REQUIRE(read.finished());
  CHECK(fields_to_json(*read.summary) == fields_to_json(*written.summary));
}

TEST_CASE("a run without validation has no val figures") {
  const fake::TemporaryDirectory directory;
  RunRecord run = fake::run(directory.path() / "run", fake::config("multi-task"), 0.9, 3);
  run.epochs.resize(1);
  run.epochs[0].val_loss = run.epochs[0].val_acc1 = run.epochs[0].val_acc2 = std::nan("");
  run.summary->best.val.reset();
  fake::write(run);
  const RunRecord read = load_run(directory.path() / "run");
  CHECK(std::isnan(read.epochs[0].val_loss));
  CHECK_FALSE(read.summary->best.val.has_value());
  CHECK(read.summary->best.test.has_value());
}

TEST_CASE("a configuration from before a field existed has that field's default") {
  RunConfig config = fake::config("multi-task");
  config.impl = "", config.tf32 = false;
  Json json = to_json(config);
  CHECK(json.at("impl") == "");
  CHECK_FALSE(json.contains("tf32"));  // or runs from before it would have other names
  json.erase("impl");
  CHECK(to_json(run_config_from_json(json, "here")) == to_json(config));
  config.impl = "eigen", config.tf32 = true;
  const RunConfig read = run_config_from_json(to_json(config), "here");
  CHECK(read.impl == "eigen");
  CHECK(read.tf32);
}

TEST_CASE("a wrong configuration names file and key") {
  const fake::TemporaryDirectory directory;
  fake::write(fake::run(directory.path(), fake::config("multi-task"), 0.9, 3));
  const auto path = directory.path() / "config.json";
  const Json good = parse_json(read_file(path), "config");
  const auto complaint = [&](const auto& change) {
    Json json = good;
    change(json);
    write_file_atomically(path, json.dump());
    return error_of([&] { read_config(directory.path()); });
  };
  CHECK(complaint([](Json& j) { j["epocs"] = 3; }) == path.string() + ": unknown key 'epocs'");
  CHECK(complaint([](Json& j) { j.erase("tau"); }) == path.string() + ": 'tau' is missing");
  CHECK(complaint([](Json& j) { j["epochs"] = 2.5; }) == path.string() + ": 'epochs' must be a whole number, it is number");
  CHECK(complaint([](Json& j) { j["seed"] = -1; }) == path.string() + ": 'seed' is -1, which is out of range");
  CHECK(complaint([](Json& j) { j["shuffle"] = 1; }) == path.string() + ": 'shuffle' must be true or false, it is number");
  CHECK(complaint([](Json& j) { j["data"]["synthetic"] = "no"; }) ==
        path.string() + ": data: 'synthetic' must be true or false, it is string");
  write_file_atomically(path, "{\"method\": ");
  CHECK(contains(error_of([&] { read_config(directory.path()); }), path.string() + ": not valid JSON: "));
  write_file_atomically(path, "{\"lr\": 1e999}");
  CHECK(contains(error_of([&] { read_config(directory.path()); }), path.string() + ": not valid JSON: number overflow"));
}

TEST_CASE("a damaged line of the metrics is named, a torn last line is not a fault") {
  const fake::TemporaryDirectory directory;
  RunRecord run = fake::run(directory.path(), fake::config("multi-task"), 0.9, 3);
  run.epochs.resize(4), run.summary.reset();
  fake::write(run);
  const auto path = directory.path() / "metrics.jsonl";
  const std::string good = read_file(path);
  write_file_atomically(path, good + "{\"step\":12,\"epo");
  CHECK(load_run(directory.path()).epochs.size() == 4);
  CHECK_FALSE(load_run(directory.path()).finished());
  std::string damaged = good;
  damaged.replace(damaged.find('\n') + 1, 3, "\x01?!");
  write_file_atomically(path, damaged);
  CHECK(contains(error_of([&] { load_run(directory.path()); }), path.string() + ":2: not valid JSON"));
  write_file_atomically(path, "[]\n");
  CHECK(error_of([&] { load_run(directory.path()); }) == path.string() + ":1: expected a JSON object, found array");
}

TEST_CASE("a directory that holds no run is said to be so") {
  const fake::TemporaryDirectory directory;
  CHECK(contains(error_of([&] { load_run(directory.path()); }), "holds no run"));
  CHECK(contains(error_of([&] { load_run(directory.path() / "nowhere"); }), "not a directory"));
}

TEST_CASE("a resumed log equals an uninterrupted one") {
  const fake::TemporaryDirectory directory;
  const unsigned seed = std::random_device{}();
  CAPTURE(seed);
  std::mt19937 random(seed);
  const std::int64_t epochs = 5, steps_per_epoch = 7, all = epochs * steps_per_epoch;
  const auto write_from = [&](MetricsLog& log, std::int64_t first, std::int64_t last) {
    for (std::int64_t s = first; s <= last; ++s) {
      const std::int64_t epoch = (s - 1) / steps_per_epoch + 1;
      log.append(StepRecord{.step = s, .epoch = epoch, .loss = 1.0 / static_cast<double>(s)});
      if (s % steps_per_epoch == 0) log.append(EpochRecord{.epoch = epoch, .step = s, .train_loss = 0.1});
    }
    log.flush();
  };
  {
    auto log = MetricsLog::create(directory.path());
    write_from(log, 1, all);
  }
  const std::string whole = read_file(directory.path() / "metrics.jsonl");
  for (int trial = 0; trial < 20; ++trial) {
    // A checkpoint after `saved` steps, a crash after `reached`, in the middle of a line.
    const auto reached = std::uniform_int_distribution<std::int64_t>(1, all)(random);
    const auto saved = std::uniform_int_distribution<std::int64_t>(0, reached)(random);
    CAPTURE(reached, saved);
    {
      auto log = MetricsLog::create(directory.path());
      write_from(log, 1, reached);
    }
    const std::string torn = read_file(directory.path() / "metrics.jsonl") + "{\"step\":";
    write_file_atomically(directory.path() / "metrics.jsonl", torn);
    {
      auto log = MetricsLog::resume(directory.path(), {.step = saved, .epoch = saved / steps_per_epoch});
      write_from(log, saved + 1, all);
    }
    CHECK(read_file(directory.path() / "metrics.jsonl") == whole);
  }
}

TEST_CASE("a log that is gone cannot be resumed, unless there was nothing in it") {
  const fake::TemporaryDirectory directory;
  CHECK_THROWS_AS(MetricsLog::resume(directory.path(), {.step = 3, .epoch = 0}), InputError);
  CHECK_NOTHROW(MetricsLog::resume(directory.path(), {}));
}

TEST_CASE("a log in a directory that does not exist names the path") {
  const fake::TemporaryDirectory directory;
  CHECK(contains(error_of([&] { MetricsLog::create(directory.path() / "no" / "such"); }), "metrics.jsonl: cannot be opened"));
}

}  // namespace
