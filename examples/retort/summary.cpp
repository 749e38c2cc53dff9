// retort summary
#include "retort/distill/method.h"
#include "retort/examples/retort/command.h"

namespace retort::command {

namespace {

struct SummaryOptions {
  std::string arch = "mtl-net", method = "multi-task";
  std::vector<std::int64_t> input{1, 1, 3, 100}, classes{12, 3};
  bool json = false;
};

int summarise(const SummaryOptions& o) {
  check<InputError>(o.input.size() == 4, "--input takes four sizes, e.g. 1,1,3,100, not {}", o.input.size());
  const auto sensible = [](std::int64_t size) { return size > 0 && size <= 1'000'000; };
  check<InputError>(o.classes.size() == 2 && std::ranges::all_of(o.classes, sensible),
                    "--classes takes two numbers from 1 to a million, e.g. 12,3");
  check<InputError>(std::ranges::all_of(o.input, sensible), "--input: every size must lie between 1 and a million, not ({})",
                    fmt::join(o.input, ", "));
  Context context;
  const nn::ModelSpec spec{o.arch, Shape(std::span(o.input).subspan(1)), {o.classes[0], o.classes[1]}, 0};
  const auto model = make_method_model(context, o.method, spec);
  const std::int64_t parameters = model->parameter_count(), flops = model->flops() * o.input[0];
  if (o.json) {
    Json layers = Json::array();
    for (const auto& layer : model->summary())
      layers.push_back({{"name", layer.name},
                        {"kind", layer.kind},
                        {"output", std::vector(layer.output.sizes().begin(), layer.output.sizes().end())},
                        {"parameters", layer.parameters},
                        {"flops", layer.flops * o.input[0]}});
    const Json json = {{"arch", o.arch},   {"method", o.method},       {"input", o.input}, {"classes", o.classes},
                       {"layers", layers}, {"parameters", parameters}, {"flops", flops}};
    fmt::print("{}\n", dump(json, 2));
    return ok;
  }
  fmt::print("{}, input ({}), classes {} and {}\n\n", o.arch, fmt::join(o.input, ", "), o.classes[0], o.classes[1]);
  std::vector<std::vector<std::string>> rows;
  auto number = [](std::int64_t n) { return n ? fmt::format("{}", n) : std::string(); };
  for (const auto& layer : model->summary())
    rows.push_back({layer.name, layer.kind, layer.output.str(), number(layer.parameters), number(layer.flops * o.input[0])});
  rows.push_back({"all", "", "", number(parameters), number(flops)});
  print_columns({"layer", "kind", "output", "parameters", "FLOPs"}, rows);
  fmt::print(
      "\nFLOPs: two for each multiply-add of convolutions, linear and recurrent layers, as table 7 of the paper counts them.\n");
  return ok;
}

}  // namespace

void add_summary(CLI::App& root, Command& command) {
  auto* app = root.add_subcommand("summary", "Layers, parameters and FLOPs of a model");
  auto o = std::make_shared<SummaryOptions>();
  add_choice(*app, "--arch", o->arch, nn::architectures(), "Model");
  add_choice(*app, "--method", o->method, method_names(), "single-task has two nets, all others one");
  app->add_option("--input", o->input, "Sizes of the input: batch, 1, axes, length")->delimiter(',')->type_name("N,1,A,L");
  app->add_option("--classes", o->classes, "Classes of the two tasks")->delimiter(',')->type_name("C1,C2");
  app->add_flag("--json", o->json, "As one JSON object");
  app->callback([=, &command] { command.run = [=] { return summarise(*o); }; });
}

}  // namespace retort::command
