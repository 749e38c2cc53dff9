// A training method: how a batch becomes a loss. One small file each; the trainer knows nothing else about them.
#pragma once

#include "retort/nn/models/model.h"

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace retort {

/// What a step works on. windows: (N, 1, axes, length); labels: int32 (N).
struct Batch {
  Tensor windows, labels1, labels2;
};

/// The weights of the losses, in the paper's letters.
struct MethodOptions {
  float alpha = 0.5f;   ///< task 1 against task 2 (eq. 1)
  float lambda = 0.5f;  ///< distillation against labels (eq. 5)
  float tau = 3.0f;     ///< temperature (eq. 2)
};

/// What a method returns for a batch: a scalar to differentiate, the five logged values (total, ce1, ce2, kl1, kl2) outside the
/// graph, and the student's logits, for counting training accuracy.
struct StepLosses {
  Tensor total, values;
  nn::Logits logits;
};

enum class Teacher {
  none,
  ema,     ///< a moving average of the student, updated after every step (eq. 4)
  frozen,  ///< the selected weights of a first training stage
};

/// Parameters of a method's own (cross-task's attention vector) are parameters of this module and are trained with the model's.
class Method : public nn::Module {
 public:
  explicit Method(const MethodOptions& options) : options_(options) {}
  const MethodOptions& options() const { return options_; }

  virtual Teacher teacher() const { return Teacher::none; }
  /// The method of a stage that comes before and makes the frozen teacher; empty for none.
  virtual std::string_view first_stage() const { return {}; }
  virtual std::unique_ptr<nn::TwoTaskModel> make_model(Context& context, const nn::ModelSpec& spec) const {
    return nn::make_model(context, spec);
  }

  /// `teacher` is null when teacher() is none; it is in evaluation mode and takes no gradient.
  virtual StepLosses losses(const nn::TwoTaskModel& student, const nn::TwoTaskModel* teacher, const Batch& batch) = 0;

 protected:
  MethodOptions options_;
};

/// single-task multi-task sd-dropout born-again smooth-distill cross-task
std::vector<std::string> method_names();

/// The published settings: alpha 0.5, lambda 0.5, tau 3; sd-dropout lambda 1, tau 2.
MethodOptions default_options(std::string_view method);

/// Throws InputError listing the names for an unknown method. `features` is the model's feature_count.
std::unique_ptr<Method> make_method(Context& context, std::string_view name, const MethodOptions& options, std::int64_t features);

/// The model that a method trains, freshly initialised. Throws InputError for an unknown method or architecture.
std::unique_ptr<nn::TwoTaskModel> make_method_model(Context& context, std::string_view method, const nn::ModelSpec& spec);

}  // namespace retort
