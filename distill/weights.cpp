#include "retort/distill/weights.h"

#include "retort/core/version.h"

#include <cmath>

namespace retort {

namespace {

constexpr const char* format = "retort-weights-1";

Json to_json(const WindowOptions& o) {
  return {{"preset", o.preset},
          {"length", o.length},
          {"step", o.step},
          {"label", name(o.label)},
          {"axis_layout", name(o.axis_layout)},
          {"across_recordings", o.across_recordings},
          {"resample_hz", o.resample_hz},
          {"max_gap", o.max_gap},
          {"drop_repeats", o.drop_repeats}};
}

WindowOptions window_options(const Json& j) {
  WindowOptions o;
  o.preset = j.at("preset").get<std::string>();
  o.length = j.at("length").get<std::int32_t>();
  o.step = j.at("step").get<std::int32_t>();
  o.label = parse_label_rule(j.at("label").get<std::string>());
  o.axis_layout = parse_axis_layout(j.at("axis_layout").get<std::string>());
  o.across_recordings = j.at("across_recordings").get<bool>();
  o.resample_hz = j.at("resample_hz").get<double>();
  o.max_gap = j.at("max_gap").get<double>();
  o.drop_repeats = j.at("drop_repeats").get<bool>();
  return o;
}

}  // namespace

WeightsInfo weights_info(const RunConfig& config, const WindowSet& windows) {
  const WindowInfo& info = windows.info;
  return {config.method,    config.arch,      info.dataset, std::string(version()), info.synthetic, {1, 3, info.options.length},
          info.task1_names, info.task2_names, info.options};
}

nn::ModelSpec model_spec(const WeightsInfo& info, std::uint64_t seed) {
  return {info.arch,
          Shape(info.window),
          {static_cast<std::int64_t>(info.task1_classes.size()), static_cast<std::int64_t>(info.task2_classes.size())},
          seed};
}

void save_weights(const std::filesystem::path& path, const nn::Module& model, const WeightsInfo& info) {
  const Json json = {{"method", info.method},
                     {"arch", info.arch},
                     {"dataset", info.dataset},
                     {"version", info.version},
                     {"synthetic", info.synthetic},
                     {"window", info.window},
                     {"task1_classes", info.task1_classes},
                     {"task2_classes", info.task2_classes},
                     {"options", to_json(info.options)}};
  model.save(path, {{"format", format}, {"retort", json.dump()}});
}

void load_finite(nn::Module& model, const SafetensorsFile& file) {
  model.load(file);
  for (const auto& [name, tensor] : model.state())
    for (const float value : file.floats(name))
      check<InputError>(std::isfinite(value), "{}: '{}' holds a value that is not finite", file.path().string(), name);
}

LoadedModel load_weights(Context& context, const std::filesystem::path& path) {
  const SafetensorsFile file(path);
  const auto& metadata = file.metadata();
  check<InputError>(metadata.contains("format") && metadata.at("format") == format && metadata.contains("retort"),
                    "{}: not a weights file of `retort train` (its metadata has no format '{}')", path.string(), format);
  LoadedModel loaded;
  try {
    const Json json = Json::parse(metadata.at("retort"));
    WeightsInfo& info = loaded.info;
    json.at("method").get_to(info.method);
    json.at("arch").get_to(info.arch);
    json.at("dataset").get_to(info.dataset);
    json.at("version").get_to(info.version);
    json.at("synthetic").get_to(info.synthetic);
    json.at("window").get_to(info.window);
    json.at("task1_classes").get_to(info.task1_classes);
    json.at("task2_classes").get_to(info.task2_classes);
    info.options = window_options(json.at("options"));
  } catch (const Json::exception& error) {
    fail<InputError>("{}: damaged metadata: {}", path.string(), error.what());
  }
  loaded.model = make_method_model(context, loaded.info.method, model_spec(loaded.info));
  load_finite(*loaded.model, file);
  loaded.model->eval();
  return loaded;
}

}  // namespace retort
