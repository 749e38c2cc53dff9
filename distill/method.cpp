#include "retort/distill/method.h"

#include "retort/distill/cross_task.h"
#include "retort/distill/multi_task.h"
#include "retort/distill/sd_dropout.h"
#include "retort/distill/single_task.h"
#include "retort/distill/smooth_distill.h"

namespace retort {

std::vector<std::string> method_names() {
  return {"single-task", "multi-task", "sd-dropout", "born-again", "smooth-distill", "cross-task"};
}

MethodOptions default_options(std::string_view method) {
  if (method == "sd-dropout") return {.alpha = 0.5f, .lambda = 1.0f, .tau = 2.0f};
  return {};
}

std::unique_ptr<Method> make_method(Context& context, std::string_view name, const MethodOptions& options,
                                    std::int64_t features) {
  if (name == "single-task") return std::make_unique<SingleTask>(options);
  if (name == "multi-task") return std::make_unique<MultiTask>(options);
  if (name == "sd-dropout") return std::make_unique<SdDropout>(options);
  if (name == "born-again") return std::make_unique<BornAgain>(options);
  if (name == "smooth-distill") return std::make_unique<SmoothDistill>(options);
  if (name == "cross-task") return std::make_unique<CrossTask>(context, options, features);
  fail<InputError>("unknown method '{}'; known are {}", name, fmt::join(method_names(), ", "));
}

std::unique_ptr<nn::TwoTaskModel> make_method_model(Context& context, std::string_view method, const nn::ModelSpec& spec) {
  return make_method(context, method, {}, /*features=*/1)->make_model(context, spec);  // which is the same for any features
}

Tensor logged_values(const Tensor& total, const Tensor& ce1, const Tensor& ce2, const Tensor& kl1, const Tensor& kl2) {
  const Tensor values = Tensor::zeros(total.context(), {5});
  std::int64_t slot = 0;
  for (const Tensor* scalar : {&total, &ce1, &ce2, &kl1, &kl2}) {
    if (scalar->defined()) values.alias(slot, Shape{}).copy_from(scalar->detach());
    ++slot;
  }
  return values;
}

}  // namespace retort
