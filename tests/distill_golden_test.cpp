// The methods' losses and the metrics against PyTorch and numpy in double precision (fixtures by golden/make_golden.py).
#include "catch.h"
#include "golden.h"

#include "retort/distill/cross_task.h"
#include "retort/distill/metrics.h"
#include "retort/distill/sd_dropout.h"

#include <fstream>

namespace {

using namespace retort;

constexpr std::int64_t rows = 64, width = 512;

/// A model whose heads, and features and labels for them, are the formula's numbers under the name of the method.
struct HeadsOnly {
  Context context{Device::cpu, 2};
  std::unique_ptr<nn::TwoTaskModel> model = nn::make_model(context, {});
  Tensor features;
  Batch batch;

  explicit HeadsOnly(const std::string& unit) {
    for (const auto& [name, tensor] : model->named_parameters())
      if (name.starts_with("head")) {
        const std::vector<float> values = golden::parameter(unit + "." + name, tensor.count(), width);
        tensor.copy_from_host(std::span<const float>(values));
      }
    std::vector<float> f = golden::signed_units(unit + ".features", rows * width);
    for (float& v : f) v = std::max(v, 0.0f);
    features = Tensor::from(context, {rows, width}, f);
    features.set_requires_grad();
    batch.labels1 = labels(unit + ".task1", 12);
    batch.labels2 = labels(unit + ".task2", 3);
  }

  Tensor labels(const std::string& name, std::uint32_t classes) {
    const golden::Hashed hashed(name);
    std::vector<std::int32_t> y;
    for (std::uint64_t i = 0; i < rows; ++i) y.push_back(static_cast<std::int32_t>(hashed.word(i) % classes));
    return Tensor::from(context, {rows}, y);
  }

  /// Losses and the gradients of features and heads, within a relative error.
  void compare(const SafetensorsFile& file, const StepLosses& losses) {
    CHECK(golden::relative_error(losses.values.to_vector(), file.floats("losses")) <= 2e-6);
    losses.total.backward();
    CHECK(golden::relative_error(features.grad().to_vector(), file.floats("grad.features")) <= 1e-5);
    for (const auto& [name, tensor] : model->named_parameters()) {
      if (!name.starts_with("head")) continue;
      INFO(name);
      REQUIRE(tensor.grad().defined());
      CHECK(golden::relative_error(tensor.grad().to_vector(), file.floats("grad." + name)) <= 1e-5);
    }
  }
};

TEST_CASE("SD-Dropout with four given masks agrees with PyTorch: losses, gradients of features and heads") {
  const SafetensorsFile file = golden::open("sd_dropout.safetensors");
  const auto hyper = nlohmann::json::parse(file.metadata().at("hyper"));
  HeadsOnly made("sd_dropout");
  SdDropout::Masks masks;
  for (std::size_t k = 0; k < masks.size(); ++k) {
    const golden::Hashed hashed("sd_dropout.mask" + std::to_string(k));
    std::vector<float> mask(rows * width);
    for (std::size_t i = 0; i < mask.size(); ++i) mask[i] = hashed.unit(i) >= 0.5f ? 2.0f : 0.0f;
    masks[k] = Tensor::from(made.context, {rows, width}, mask);
  }
  const SdDropout method({hyper["alpha"].get<float>(), hyper["lambda"].get<float>(), hyper["tau"].get<float>()});
  made.compare(file, method.losses(*made.model, made.features, masks, made.batch));
}

TEST_CASE("cross-task agrees with PyTorch: losses, gradients of features, heads and attention") {
  const SafetensorsFile file = golden::open("cross_task.safetensors");
  HeadsOnly made("cross_task");
  CrossTask method(made.context, default_options("cross-task"), width);
  std::vector<float> a = golden::signed_units("cross_task.a", width);
  for (float& v : a) v = 0.5f + 0.25f * v;
  method.attention().copy_from_host(std::span<const float>(a));
  made.compare(file, method.losses(*made.model, made.features, made.batch));
  CHECK(golden::relative_error(method.attention().grad().to_vector(), file.floats("grad.a")) <= 1e-5);
}

TEST_CASE("metrics agree with numpy, also for a class that is never predicted or never there") {
  const auto cases = nlohmann::json::parse(std::ifstream(std::string(RETORT_GOLDEN_DIR) + "/metrics.json"));
  CHECK(cases.size() == 4);
  for (const auto& [name, want] : cases.items()) {
    INFO(name);
    std::vector<std::int64_t> confusion;
    for (const auto& row : want["confusion"])
      for (const auto& count : row) confusion.push_back(count.get<std::int64_t>());
    const auto classes = static_cast<std::int64_t>(want["confusion"].size());
    const TaskMetrics got = task_metrics(std::span<const std::int64_t>(confusion), classes);
    CHECK(std::abs(got.accuracy - want["accuracy"].get<double>()) <= 1e-12);
    CHECK(std::abs(got.macro_f1 - want["macro_f1"].get<double>()) <= 1e-12);
    REQUIRE(got.per_class.size() == static_cast<std::size_t>(classes));
    for (std::size_t k = 0; k < got.per_class.size(); ++k) {
      INFO("class " << k);
      const ClassMetrics& c = got.per_class[k];
      CHECK(std::abs(c.accuracy - want["class_accuracy"][k].get<double>()) <= 1e-12);
      CHECK(std::abs(c.sensitivity - want["class_sensitivity"][k].get<double>()) <= 1e-12);
      CHECK(std::abs(c.ppv - want["class_ppv"][k].get<double>()) <= 1e-12);
      CHECK(std::abs(c.npv - want["class_npv"][k].get<double>()) <= 1e-12);
      CHECK(std::abs(c.f1 - want["class_f1"][k].get<double>()) <= 1e-12);
    }
  }
}

}  // namespace
