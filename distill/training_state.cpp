#include "retort/distill/training_state.h"

#include "retort/core/branch.h"
#include "retort/distill/weights.h"

namespace retort {

nn::EmaBuffers parse_ema_buffers(const std::string& text) {
  if (text == "average") return nn::EmaBuffers::average;
  if (text == "copy") return nn::EmaBuffers::copy;
  check<InputError>(text == "frozen", "--ema-buffers is average, copy or frozen, not '{}'", text);
  return nn::EmaBuffers::frozen;
}

TrainingState::TrainingState(Context& context, const RunConfig& config, const nn::ModelSpec& spec, std::string_view method_name)
    : context_(context), beta_(config.beta), ema_buffers_(parse_ema_buffers(config.ema_buffers)) {
  const MethodOptions options{static_cast<float>(config.alpha), static_cast<float>(config.lambda),
                              static_cast<float>(config.tau)};
  model_ = make_method_model(context, method_name, spec);
  method_ = make_method(context, method_name, options, model_->feature_count());
  if (!config.init.empty()) load_finite(*model_, SafetensorsFile(config.init));
  trainee_ = std::make_unique<Trainee>(*model_, *method_);
  arena_ = std::make_unique<nn::ParameterArena>(context, *trainee_, /*gradients=*/true);
  if (method_->teacher() != Teacher::none) {
    teacher_ = method_->make_model(context, spec);
    teacher_arena_ = std::make_unique<nn::ParameterArena>(context, *teacher_, /*gradients=*/false);
    teacher_arena_->copy_from(*arena_);
    teacher_->eval();
  }
  AdamHyper hyper;
  hyper.lr = static_cast<float>(config.lr);
  hyper.ema = static_cast<float>(config.beta);
  adam_ = std::make_unique<nn::Adam>(context, *arena_, hyper);
  context.seed(config.seed, adam_->steps().ints());
}

StepLosses TrainingState::step(const Batch& batch, const std::function<void(const StepLosses&)>& note) {
  const bool follows = method_->teacher() == Teacher::ema;
  context_.begin_step();
  Branch clearing(context_);  // nobody adds to gradients before the losses are there
  clearing.run([&] { arena_->zero_gradients(); });
  StepLosses losses = method_->losses(*model_, teacher_.get(), batch);
  clearing.join();
  Branch noting(context_);  // and nobody waits for the statistics and what is noted
  noting.run([&] {
    if (follows) nn::ema_buffers(*arena_, *teacher_arena_, static_cast<float>(beta_), ema_buffers_);
    if (note) note(losses);
  });
  losses.total.backward();
  adam_->step(follows ? teacher_arena_.get() : nullptr);
  noting.join();
  return losses;
}

void TrainingState::keep_best() {
  if (!has_best()) {
    best_parameters_ = arena_->parameters().clone();
    if (arena_->buffers().defined()) best_buffers_ = arena_->buffers().clone();
    return;
  }
  best_parameters_.copy_from(arena_->parameters());
  if (best_buffers_.defined()) best_buffers_.copy_from(arena_->buffers());
}

void TrainingState::swap_best() {
  check(has_best(), "swap_best: there are no best weights yet");
  auto swap = [](const Tensor& a, const Tensor& b) {
    if (!a.defined()) return;
    const Tensor kept = a.clone();
    a.copy_from(b);
    b.copy_from(kept);
  };
  swap(arena_->parameters(), best_parameters_);
  swap(arena_->buffers(), best_buffers_);
}

void TrainingState::teach_from(TrainingState& earlier) {
  check(teacher_ != nullptr, "teach_from: this method has no teacher");
  earlier.swap_best();
  teacher_->copy_from(earlier.model());
  earlier.swap_best();
}

void TrainingState::append_to(std::vector<nn::NamedTensor>& tensors) {
  for (auto& named : trainee_->state()) tensors.push_back(std::move(named));
  if (teacher_)
    for (const auto& [name, tensor] : teacher_->state()) tensors.push_back({"teacher." + name, tensor});
  tensors.push_back({"adam.m", adam_->m()});
  tensors.push_back({"adam.v", adam_->v()});
  tensors.push_back({"adam.step", adam_->steps()});
  if (has_best()) {
    tensors.push_back({"best.parameters", best_parameters_});
    if (best_buffers_.defined()) tensors.push_back({"best.buffers", best_buffers_});
  }
}

}  // namespace retort
