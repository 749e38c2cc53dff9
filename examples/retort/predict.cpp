// retort predict
#include "retort/nn/predict.h"
#include "retort/data/windowing.h"
#include "retort/distill/batches.h"
#include "retort/distill/weights.h"
#include "retort/examples/retort/command.h"

#include <cmath>
#include <numeric>

namespace retort::command {

namespace {

struct PredictOptions {
  std::string weights, input, dataset;
  bool lenient = false;
  DeviceOptions device;
};

/// {"label": "Walking", "probability": 0.93, "probabilities": {...}} of one row of log-probabilities.
Json task_json(std::span<const float> log_probabilities, const std::vector<std::string>& names) {
  Json probabilities = Json::object();
  const auto best = static_cast<std::size_t>(std::ranges::max_element(log_probabilities) - log_probabilities.begin());
  auto rounded = [](float log_p) { return std::round(std::exp(static_cast<double>(log_p)) * 1e6) / 1e6; };
  for (std::size_t c = 0; c < log_probabilities.size(); ++c)
    probabilities[c < names.size() ? names[c] : fmt::format("output {}", c)] = rounded(log_probabilities[c]);
  return {{"label", best < names.size() ? names[best] : fmt::format("output {}", best)},
          {"probability", rounded(log_probabilities[best])},
          {"probabilities", std::move(probabilities)}};
}

int predict(const PredictOptions& o) {
  const auto context = o.device.context();
  const LoadedModel loaded = load_weights(*context, o.weights);
  const std::string dataset = o.dataset.empty() ? loaded.info.dataset : o.dataset;
  const RawDataset raw = read_raw(dataset, o.input, {.lenient = o.lenient, .hashes = false});
  if (raw.report.skipped_lines > 0)
    fmt::print(stderr, "skipped {} bad lines, the first: {}\n", raw.report.skipped_lines, raw.report.first_skipped);
  if (raw.report.ignored_files > 0)
    fmt::print(stderr, "ignored {} files with other names, e.g. {}\n", raw.report.ignored_files, raw.report.first_ignored);
  const WindowSet windows = make_windows(raw, loaded.info.options);
  constexpr std::int64_t batch_size = 256;
  const DeviceData data(*context, windows, batch_size);
  NoGrad no_grad(*context);
  std::vector<std::int32_t> indices(static_cast<std::size_t>(windows.count()));
  std::iota(indices.begin(), indices.end(), 0);
  for (std::size_t begin = 0; begin < indices.size();) {
    const std::size_t size = std::min<std::size_t>(batch_size, indices.size() - begin);
    const Batch batch = data.gather(std::span(indices).subspan(begin, size));
    const nn::Logits logits = nn::predict(*loaded.model, batch.windows);
    const auto p1 = ops::log_softmax(logits.task1).to_vector(), p2 = ops::log_softmax(logits.task2).to_vector();
    const std::size_t c1 = p1.size() / size, c2 = p2.size() / size;
    for (std::size_t i = 0; i < size; ++i) {
      const std::size_t w = begin + i;
      const Json line = {{"window", w},
                         {"recording", windows.info.recordings[static_cast<std::size_t>(windows.recording[w])]},
                         {"task1", task_json(std::span(p1).subspan(i * c1, c1), loaded.info.task1_classes)},
                         {"task2", task_json(std::span(p2).subspan(i * c2, c2), loaded.info.task2_classes)}};
      fmt::print("{}\n", dump(line));
    }
    begin += size;
  }
  return ok;
}

}  // namespace

void add_predict(CLI::App& root, Command& command) {
  auto* app = root.add_subcommand("predict", "Label the windows of a raw recording; a JSON line each");
  auto o = std::make_shared<PredictOptions>();
  app->add_option("--weights", o->weights, "Weights file of a run, e.g. RUN_DIR/best.safetensors")->required();
  app->add_option("--input", o->input, "Raw file (or directory of them)")->required();
  add_choice(*app, "--dataset", o->dataset, {"sleep", "mhealth", "wisdm", "csv"},
             "Format of the input; default: that of the weights' data");
  app->add_flag("--lenient", o->lenient, "Accept files in which more than 1 % of the lines are bad");
  o->device.add(*app);
  app->callback([=, &command] { command.run = [=] { return predict(*o); }; });
}

}  // namespace retort::command
