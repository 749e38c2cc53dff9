// Weights on disk: a safetensors file with PyTorch's names and layout, and in its metadata what is needed to use them again
// without the run that made them.
#pragma once

#include "retort/data/windowing.h"
#include "retort/distill/method.h"
#include "retort/distill/run_record.h"

#include <memory>

namespace retort {

struct WeightsInfo {
  std::string method, arch, dataset, version;
  bool synthetic = false;                                 ///< trained on made-up recordings
  std::array<std::int64_t, 3> window{1, 3, 100};          ///< one input
  std::vector<std::string> task1_classes, task2_classes;  ///< names in label order
  WindowOptions options;                                  ///< how the training windows were cut
};

/// Of a run on these windows.
WeightsInfo weights_info(const RunConfig& config, const WindowSet& windows);
nn::ModelSpec model_spec(const WeightsInfo& info, std::uint64_t seed = 0);

/// Atomically; InputError when that fails.
void save_weights(const std::filesystem::path& path, const nn::Module& model, const WeightsInfo& info);

/// Module::load, which also refuses weights that are not finite: InputError naming file and tensor.
void load_finite(nn::Module& model, const SafetensorsFile& file);

struct LoadedModel {
  WeightsInfo info;
  std::unique_ptr<nn::TwoTaskModel> model;  ///< in evaluation mode
};
/// InputError naming the file when it is not one of ours, or its weights do not fit the model it names.
LoadedModel load_weights(Context& context, const std::filesystem::path& path);

}  // namespace retort
