#include "retort/bench/suite/step_runner.h"

#include "retort/core/random.h"
#include "retort/distill/presets.h"

#include <numeric>

namespace retort::bench {
namespace {

constexpr std::int64_t window_count = 4096;

}  // namespace

WindowSet noise(std::int64_t count) {
  auto values = std::make_shared<std::vector<float>>(static_cast<std::size_t>(count * 300));
  auto labels = std::make_shared<std::vector<std::int32_t>>(static_cast<std::size_t>(count));
  Random random(1);
  for (float& value : *values) value = static_cast<float>(random.normal());
  for (auto& label : *labels) label = static_cast<std::int32_t>(random.below(3));
  WindowSet set;
  set.info.task1_names.assign(12, "class");
  set.info.task2_names.assign(3, "class");
  set.windows = *values;
  set.task1 = set.task2 = set.subject = set.recording = *labels;
  set.owner = std::make_shared<std::pair<decltype(values), decltype(labels)>>(values, labels);
  return set;
}

StepRunner::StepRunner(Context& context, const StepSpec& spec)
    : spec_(spec),
      config_(default_config("strict", spec.method)),
      windows_(noise(window_count)),
      data_(context, windows_, spec.batch),
      feed_(data_, window_count, spec.batch),
      state_(context, config_, {spec.form, Shape{1, 3, 100}, {12, 3}, 0}, spec.method),
      confusion1_(Tensor::zeros(context, {12, 12}, DType::i32)),
      confusion2_(Tensor::zeros(context, {3, 3}, DType::i32)),
      order_(window_count),
      graph_(context, spec.graph) {
  check<InputError>(spec.batch >= 1 && spec.batch <= window_count, "--batch {}: between 1 and {}", spec.batch, window_count);
  std::iota(order_.begin(), order_.end(), 0);
}

void StepRunner::steps(int count) {
  for (int i = 0; i < count; ++i, --left_) {
    if (left_ == 0) {
      feed_.start(order_);
      left_ = window_count / spec_.batch;
    }
    graph_.run([this] {
      const Batch batch = feed_.next(spec_.batch);
      state_.step(batch, [this, &batch](const StepLosses& losses) {
        ops::count_confusion(losses.logits.task1, batch.labels1, confusion1_);
        ops::count_confusion(losses.logits.task2, batch.labels2, confusion2_);
        feed_.record(losses.values);
      });
    });
  }
  data_.context().synchronize();
}

StepNeeds StepRunner::needs() {
  double flops = 0, first = 0, parameters = 0;
  for (const auto& layer : state_.model().summary()) {
    if (first == 0) first = static_cast<double>(layer.flops);
    flops += static_cast<double>(layer.flops);
    parameters += static_cast<double>(layer.parameters);
  }
  const Teacher teacher = state_.method().teacher();
  // Forward, and backward two products a layer (the first needs no gradient of its input); the teacher's forward.
  const double passes = teacher == Teacher::none ? 3 : 4;
  // Adam reads and writes weights, m and v and reads the gradient; the moving average reads and writes the teacher.
  const double arrays = teacher == Teacher::ema ? 9 : 7;
  return {spec_.batch * (passes * flops - first), 4 * arrays * parameters};
}

}  // namespace retort::bench
