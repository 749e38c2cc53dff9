// Twenty Smooth-Distill steps against PyTorch in float64 (fixtures by golden/make_golden.py), on whichever device. What float32
// can give is stated at each bound; `golden/make_golden.py --float32` prints what PyTorch's own float32 gives.
#pragma once

#include "catch.h"
#include "golden.h"

#include "retort/nn/models/model.h"
#include "retort/nn/optim/optimizers.h"

#include <map>
#include <memory>

namespace retort::golden {

/// Weights by formula into a model whose tensors are named as PyTorch names them.
inline void fill_by_formula(const nn::Module& model) {
  std::map<std::string, std::int64_t> fan_in;
  for (const auto& [name, tensor] : model.named_parameters())
    if (name.ends_with(".weight")) fan_in[name.substr(0, name.find('.'))] = tensor.count() / tensor.shape()[0];
  for (const auto& [name, tensor] : model.state())
    tensor.copy_from_host(std::span<const float>(parameter(name, tensor.count(), fan_in.at(name.substr(0, name.find('.'))))));
}

struct Batches {
  Tensor x, task1, task2;
};

inline Batches batch(Context& context, const Windows& all, std::size_t begin, std::int64_t size) {
  const auto n = static_cast<std::size_t>(size);
  return {Tensor::from(context, {size, 1, 3, 100}, std::span(all.x).subspan(begin * 300, n * 300)),
          Tensor::from(context, {size}, std::span(all.task1).subspan(begin, n)),
          Tensor::from(context, {size}, std::span(all.task2).subspan(begin, n))};
}

/// Twenty steps of the method, written out with the engine's parts; the losses of each step.
inline std::vector<std::vector<float>> smooth_distill(Context& context, nn::TwoTaskModel& student, nn::TwoTaskModel& teacher,
                                                      nn::EmaBuffers buffers, const nlohmann::json& hyper) {
  const std::int64_t size = hyper["batch"].get<std::int64_t>(), count = hyper["windows"].get<std::int64_t>();
  const float beta = hyper["beta"].get<float>();
  const Windows all = windows(12, 3, count);
  const nn::ParameterArena arena(context, student, true), teacher_arena(context, teacher, false);
  nn::Adam adam(context, arena, {.lr = hyper["lr"].get<float>(), .ema = beta});
  std::vector<std::vector<float>> losses;
  for (std::int64_t step = 0; step < hyper["steps"].get<std::int64_t>(); ++step) {
    const Batches b = batch(context, all, static_cast<std::size_t>(step * size % count), size);
    nn::Logits soft;
    {
      const NoGrad guard(context);
      soft = teacher.forward(b.x);
    }
    const nn::Logits z = student.forward(b.x);
    const auto loss =
        ops::multitask_distill_loss(z.task1, z.task2, soft.task1, soft.task2, b.task1, b.task2,
                                    {hyper["alpha"].get<float>(), hyper["lambda"].get<float>(), hyper["tau"].get<float>()});
    arena.zero_gradients();
    loss.total.backward();
    adam.step(&teacher_arena);
    nn::ema_buffers(arena, teacher_arena, beta, buffers);
    losses.push_back(loss.values.to_vector());
  }
  return losses;
}

/// Losses of the first `steps` steps against the fixture: relative within `early` for five steps and `late` after.
inline void compare_losses(const std::vector<std::vector<float>>& losses, std::span<const float> want, double early,
                           double late) {
  const std::string columns[] = {"total", "ce1", "ce2", "kl1", "kl2"};
  for (std::size_t step = 0; step < losses.size(); ++step)
    for (std::size_t i = 0; i < std::size(columns); ++i) {
      INFO("step " << step + 1 << " " << columns[i]);
      const double expected = want[step * 5 + i];
      // Teacher and student agree at first, so KL begins as a difference of nearly equal numbers: 1e-6 is rounding.
      CHECK(std::abs(losses[step][i] - expected) <= (step < 5 ? early : late) * std::abs(expected) + 1e-6);
    }
}

/// What float32 lets us ask of a tensor of the teacher or the student after twenty steps.
inline void compare_state(const SafetensorsFile& file, const std::string& how, const std::string& who, const nn::Module& model,
                          bool has_norm) {
  for (const auto& [name, tensor] : model.state()) {
    INFO(who << " " << name);
    const auto e = checksum_error(file, how + "." + who + ".", name, tensor.to_vector());
    const bool statistic = name.find("running") != std::string::npos;
    const bool averaged = who == "teacher" && (how == "average" || !statistic);
    // A convolution's bias in front of batch norm has a zero gradient, and Adam makes steps of up to lr of its rounding error;
    // they move nothing but the running mean behind, by as much. PyTorch's own float32 is off by 6e-3 there in the student.
    const bool idle = has_norm && ((name.starts_with("conv") && name.ends_with("bias")) || name.ends_with("running_mean"));
    if (averaged) {
      CHECK(e.samples_absolute <= 1e-4);
      if (!idle) CHECK(e.norm <= 1e-4);
    } else if (idle) {
      CHECK(e.samples_absolute <= 2.1e-2);  // twenty steps of lr
    } else {
      // One ReLU or pooling winner that rounding decides the other way moves single weights by some percent of lr * steps.
      CHECK(e.samples <= 3e-2);
      CHECK(e.norm <= 3e-3);
    }
  }
}

struct Pair {
  std::unique_ptr<nn::TwoTaskModel> student, teacher;
};

inline Pair make_pair(Context& context, const std::string& form) {
  Pair made{nn::make_model(context, {.architecture = form}), nn::make_model(context, {.architecture = form})};
  fill_by_formula(*made.student);
  fill_by_formula(*made.teacher);
  made.teacher->eval();
  return made;
}

/// Losses of every step, then student and teacher, of one form of MTL-net; how: "average" or "copy", what becomes of the
/// teacher's running statistics. False when the fixture does not have it: without batch norm there is nothing to copy.
inline bool check_twenty_steps(Context& context, const std::string& form, const std::string& how) {
  const SafetensorsFile file = open("smooth_distill_" + form + ".safetensors");
  if (!file.contains(how + ".losses")) return false;
  const auto [student, teacher] = make_pair(context, form);
  const auto losses =
      smooth_distill(context, *student, *teacher, how == "average" ? nn::EmaBuffers::average : nn::EmaBuffers::copy,
                     nlohmann::json::parse(file.metadata().at("hyper")));
  CHECK(losses.size() == 20);
  compare_losses(losses, file.floats(how + ".losses"), 5e-4, 1e-2);
  compare_state(file, how, "teacher", *teacher, form != "mtl-net-released");
  compare_state(file, how, "student", *student, form != "mtl-net-released");
  return true;
}

}  // namespace retort::golden
