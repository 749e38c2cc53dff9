// Everything that a training step changes: weights, teacher, optimiser. One object so that a checkpoint can say "all of it".
#pragma once

#include "retort/distill/method.h"
#include "retort/distill/run_record.h"
#include "retort/nn/optim/optimizers.h"

#include <functional>
#include <memory>

namespace retort {

/// Model and method, whose parameters are trained together.
class Trainee final : public nn::Module {
 public:
  Trainee(nn::TwoTaskModel& model, Method& method) {
    add_module("model", model);
    add_module("method", method);
  }
};

class TrainingState {
 public:
  /// Weights drawn from the seed, or read from config.init; the teacher is a copy of the student.
  TrainingState(Context& context, const RunConfig& config, const nn::ModelSpec& spec, std::string_view method_name);

  /// Forward, loss, backward, optimiser, teacher. The gradients of the step stay readable until the next. `note` gets the losses
  /// before there are gradients; where the device can, what it gives to the context is done beside them.
  StepLosses step(const Batch& batch, const std::function<void(const StepLosses&)>& note = {});

  nn::TwoTaskModel& model() { return *model_; }
  nn::TwoTaskModel* teacher() { return teacher_.get(); }
  Method& method() { return *method_; }

  /// The best weights so far, kept as a copy.
  void keep_best();
  bool has_best() const { return best_parameters_.defined(); }
  /// Exchanges the weights with the best ones; a second call puts things back.
  void swap_best();

  /// Gives the teacher (of a later stage) the weights of an earlier stage's best model.
  void teach_from(TrainingState& earlier);

  /// Names as they stand in checkpoint.safetensors: model.*, method.*, teacher.*, adam.m, adam.v, adam.step,
  /// best.parameters, best.buffers (the last four and two as flat arenas).
  void append_to(std::vector<nn::NamedTensor>& tensors);

 private:
  Context& context_;
  double beta_;
  nn::EmaBuffers ema_buffers_;
  std::unique_ptr<Method> method_;
  std::unique_ptr<nn::TwoTaskModel> model_, teacher_;
  std::unique_ptr<Trainee> trainee_;
  std::unique_ptr<nn::ParameterArena> arena_, teacher_arena_;
  std::unique_ptr<nn::Adam> adam_;
  Tensor best_parameters_, best_buffers_;
};

/// "average", "copy" or "frozen"; InputError for anything else.
nn::EmaBuffers parse_ema_buffers(const std::string& text);

}  // namespace retort
