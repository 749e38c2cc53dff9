// Lesson 6: MTL-net, layer by layer, and where its 1.798 million parameters and 5,008,128 FLOPs come from.
//
// FLOPs are counted as the paper's table 7 does: two for each multiply-add of convolutions and linear layers, nothing for the
// rest.
#include "lesson.h"
#include "retort/nn/models/model.h"

int main() {
  retort::Context context;
  retort::nn::ModelSpec spec;  // windows (1, 3, 100), 12 postures and 3 positions: the Sleep data
  spec.architecture = "mtl-net-released";
  const auto net = retort::nn::make_model(context, spec);
  for (const auto& layer : net->summary())
    fmt::print("  {:<6} {:<24} {:<12} {:>10} parameters {:>10} FLOPs\n", layer.name, layer.kind, layer.output, layer.parameters,
               layer.flops);

  course::Lesson lesson;
  const double conv1 = 32 * (9 + 1), conv2 = 64 * (32 * 9 + 1), fc1 = 1024 * (1216 + 1), fc2 = 512 * (1024 + 1);
  lesson.expect("parameters", static_cast<double>(net->parameter_count()), conv1 + conv2 + fc1 + fc2 + 12 * 513 + 3 * 513, 0);
  lesson.expect("FLOPs of a (1, 3, 100) window", static_cast<double>(net->flops()), 6514944, 0);
  spec.window = {1, 1, 100};
  lesson.expect("FLOPs of a (1, 1, 100) window, as published",
                static_cast<double>(retort::nn::make_model(context, spec)->flops()), 5008128, 0);

  // Three rows go in, but rows 1 and 2 never reach the classifier (lesson 4), which is why the published count is that of one
  // row.
  spec.window = {1, 3, 100};
  spec.architecture = "mtl-net";
  const auto ours = retort::nn::make_model(context, spec);
  lesson.expect("parameters with axes as channels and batch norm", static_cast<double>(ours->parameter_count()), 1798287, 0);
  return lesson.end();
}
