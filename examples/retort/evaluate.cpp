// retort evaluate
#include "retort/data/prepared.h"
#include "retort/distill/batches.h"
#include "retort/distill/trainer.h"
#include "retort/distill/weights.h"
#include "retort/examples/retort/command.h"

#include <numeric>

namespace retort::command {

namespace {

struct EvaluateOptions {
  std::string run, weights, data;
  bool json = false;
  DeviceOptions device;
};

/// A named part of a data set and what the model does on it.
struct Part {
  std::string name;
  Measured measured;
};

void print_task(const std::string& part, int task, const TaskMetrics& metrics, const std::vector<std::string>& names) {
  fmt::print("\n{}, task {}: accuracy {:.2f} %, macro F1 {:.2f} %, {} windows\n", part, task, 100 * metrics.accuracy,
             100 * metrics.macro_f1, metrics.windows());
  std::vector<std::vector<std::string>> rows;
  auto percent = [](double x) { return fmt::format("{:.2f}", 100 * x); };
  for (std::size_t c = 0; c < metrics.per_class.size() && c < names.size(); ++c) {
    const ClassMetrics& m = metrics.per_class[c];
    rows.push_back({names[c], std::to_string(m.support), percent(m.accuracy), percent(m.sensitivity), percent(m.ppv),
                    percent(m.npv), percent(m.f1)});
  }
  print_columns({"class", "windows", "accuracy", "sensitivity", "PPV", "NPV", "F1"}, rows);
}

int evaluate_command(const EvaluateOptions& o) {
  check<InputError>(o.run.empty() != o.weights.empty(), "give either --run, or --weights with --data");
  std::string weights = o.weights, data = o.data;
  std::optional<RunConfig> config;
  if (!o.run.empty()) {
    config = read_config(o.run);
    weights = (std::filesystem::path(o.run) / run_files::best).string();
    if (data.empty()) data = config->data.path;
  }
  check<InputError>(!data.empty(), "--data is required with --weights");
  const auto context = o.device.context();
  const LoadedModel loaded = load_weights(*context, weights);
  const WindowSet windows = with_axis_layout(load_prepared(data, ValueCheck::all), loaded.info.options.axis_layout);
  check<InputError>(
      loaded.info.task1_classes == windows.info.task1_names && loaded.info.task2_classes == windows.info.task2_names,
      "{}: its classes are not those of {}", data, weights);
  check<InputError>(loaded.info.window[2] == windows.info.options.length, "{}: windows of {} samples, the model takes {}", data,
                    windows.info.options.length, loaded.info.window[2]);
  const DeviceData device_data(*context, windows, 256);
  std::vector<Part> parts;
  auto add = [&](const std::string& name, const std::vector<std::int32_t>& indices) {
    if (!indices.empty()) parts.push_back({name, evaluate(*loaded.model, device_data, indices, 0.5f)});
  };
  if (config && sha256_of_file(data) == config->data.sha256 && config->split != "all") {
    const Split split = run_split(windows, *config);
    add("val", split.val);
    add("test", split.test);
  } else {
    std::vector<std::int32_t> all(static_cast<std::size_t>(windows.count()));
    std::iota(all.begin(), all.end(), 0);
    add("all windows", all);
  }
  if (o.json) {
    Json json = {{"weights", weights}, {"data", data}, {"synthetic", windows.info.synthetic}};
    for (const Part& part : parts)
      json[part.name] = {
          {"loss", part.measured.loss}, {"task1", to_json(part.measured.task1)}, {"task2", to_json(part.measured.task2)}};
    fmt::print("{}\n", dump(json, 2));
    return ok;
  }
  fmt::print("{}{} on {}\n", windows.info.synthetic ? "SYNTHETIC data: " : "", weights, data);
  for (const Part& part : parts) {
    print_task(part.name, 1, part.measured.task1, windows.info.task1_names);
    print_task(part.name, 2, part.measured.task2, windows.info.task2_names);
  }
  return ok;
}

}  // namespace

void add_evaluate(CLI::App& root, Command& command) {
  auto* app =
      root.add_subcommand("evaluate", "Measure trained weights: the val and test parts of their run, or any prepared file");
  auto o = std::make_shared<EvaluateOptions>();
  app->add_option("--run", o->run, "Run directory: its best weights on its own val and test parts");
  app->add_option("--weights", o->weights, "Weights file, with --data");
  app->add_option("--data", o->data, "Prepared file; every window is measured");
  app->add_flag("--json", o->json, "As one JSON object");
  o->device.add(*app);
  app->callback([=, &command] { command.run = [=] { return evaluate_command(*o); }; });
}

}  // namespace retort::command
